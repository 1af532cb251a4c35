#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/patch.sh [KERNEL_SOURCE]
#
# Makes a patch series that adds this module to a kernel's source as drivers/net/wireguard_rust, and
# prints its directory, patches/ in the cache. Without KERNEL_SOURCE it is made for the source that
# scripts/kernel.sh fetches. The source is only read. The series is
#
#     0000  the cover letter, docs/cover-letter.md
#     0001  the faces of the networking core for Rust
#     0002  the protocol
#     0003  everything else of the module, Kconfig and Makefile
#     0004  the tests
#
# A kernel builds after each patch. Apply them with
#
#     git am --signoff 000[1-4]-*.patch
#
# The sign-off and an entry in MAINTAINERS are left to the person who sends them. The patches'
# author is GIT_AUTHOR_NAME and GIT_AUTHOR_EMAIL, or else the author that git knows on this machine.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

place=drivers/net/wireguard_rust
tests=tools/testing/selftests/wireguard_rust

command -v git >/dev/null || die "git is missing: install the package git, then run this again"
git var GIT_AUTHOR_IDENT >/dev/null 2>&1 ||
	die "git does not know who you are: set GIT_AUTHOR_NAME and GIT_AUTHOR_EMAIL"
# git asks for both. format-patch names the author alone.
[[ -z ${GIT_AUTHOR_NAME:-} ]] || export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME
[[ -z ${GIT_AUTHOR_EMAIL:-} ]] || export GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
source=${1:-}
if [[ -z $source ]]; then
	call kernel kernel.sh
	use_part "$kernel"
	source=$kernel/source
fi
for file in drivers/net/Kconfig drivers/net/Makefile; do
	[[ -e $source/$file ]] || die "$source has no $file: it is not a kernel's source"
done
[[ ! -e $source/$place ]] || die "$source has $place already: name an unchanged source"

scratch run
# A repository with the two files of the kernel that change.
repository=$run/repository
git_here() {
	git -C "$repository" -c core.autocrlf=false -c commit.gpgsign=false -c gc.auto=0 "$@"
}
git init --quiet "$repository"
mkdir -p "$repository/drivers/net"
cp "$source/drivers/net/Kconfig" "$source/drivers/net/Makefile" "$repository/drivers/net/"
git_here add .
git_here commit --quiet --no-verify --message base

# copy TO PATH…: copies files that git knows, and that are not in the repository yet, into it.
copy() {
	local to=$repository/$1 file
	shift
	while IFS= read -r -d '' file; do
		[[ ! -e $to/$file ]] || continue
		mkdir -p "$(dirname "$to/$file")"
		cp -p "$tree/$file" "$to/$file"
	done < <(git -C "$tree" ls-files -z -- "$@")
}

# commit: makes a commit of the changes, with the message from standard input.
commit() {
	git_here add --all .
	git_here commit --quiet --no-verify --file -
}

# insert FILE BEFORE LINE: inserts a line in front of the line BEFORE.
insert() {
	local file=$repository/$1
	grep -qxF "$2" "$file" || die "$source/$1 has no line \`$2\`: put the new one elsewhere"
	awk -v before="$2" -v line="$3" '$0 == before && !done { print line; done = 1 } { print }' \
		"$file" >"$run/changed"
	cp "$run/changed" "$file"
}

copy "$place" src/linux
commit <<'END'
wireguard: rust: add faces of the networking core

Safe faces, a file for each C header: socket buffers, network devices,
NAPI, UDP tunnels, netlink, timers, hash tables and the crypto library.
They contain all the unsafe code of the module. Their home is the kernel
crate; they are here until each has a second user.
END

copy "$place" src/protocol
commit <<'END'
wireguard: rust: add the protocol

The handshake, cookies, keypairs, the replay window and the timers' rules:
bytes, keys and a clock reading in, bytes and decisions out. The same
files are tested and fuzzed in user space.
END

copy "$place" src Kbuild Kconfig
insert drivers/net/Makefile "obj-\$(CONFIG_WIREGUARD) += wireguard/" \
	"obj-\$(CONFIG_WIREGUARD_RUST) += wireguard_rust/"
insert drivers/net/Kconfig 'config OVPN' "source \"$place/Kconfig\"
"
commit <<'END'
wireguard: rust: add the driver

WireGuard in Rust, in place of drivers/net/wireguard: the same kind of
link, the same netlink family, the same messages. Packets stay together
from the first byte in to the last byte out, a peer has no thread, ring or
NAPI of its own, and handshakes that cross end in one session.
END

copy "$tests" selftests
if [[ -d $repository/$tests/selftests ]]; then
	mv "$repository/$tests/selftests"/* "$repository/$tests/"
	rmdir "$repository/$tests/selftests"
fi
rm -rf "${repository:?}/$tests/mutants"
commit <<'END'
selftests: wireguard: rust: add tests

Traffic, time, netlink, hostile packets and requests, failing memory, and
the same requests to both modules.
END

patches=$cache/patches
remove_tree "$patches"
mkdir -p "$patches"
git_here config "branch.$(git_here symbolic-ref --short HEAD).description" \
	"$(sed 's/^# //' "$tree/docs/cover-letter.md")"
git_here format-patch --quiet --output-directory "$patches" --cover-letter \
	--cover-from-description=subject HEAD~4
echo "$patches"
