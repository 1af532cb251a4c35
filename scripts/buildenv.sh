#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/buildenv.sh [--run COMMAND [ARGUMENT…]]
#
# Makes the build environment, unless it is there already: a Debian 13 (trixie) system in a
# directory of the cache, with the compilers that Debian's kernel was built with, QEMU, and the
# tools that check this source. With SUITE=forky it is a system of Debian testing, with the
# compilers alone. Installs mmdebstrap on this machine if it is missing. Prints the
# directory. On an amd64 machine, the environment for arm64 has cross-compilers: its programs are
# those of amd64.
#
# With --run, runs COMMAND in it instead of printing the directory. COMMAND runs in the present
# directory if that is inside this source tree or the cache, which have the same paths inside as
# outside, and in / otherwise:
#
#     scripts/buildenv.sh --run make -C "$(scripts/kernel.sh)/build" M="$PWD" modules
#
# Environment: SUITE, trixie (the default) or forky. MIRROR, the Debian mirror to use (default: the
# one this machine uses). ARCH, the architecture to build for: amd64 or arm64 (default: the
# machine's).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

packages=(
	# the kernel and the module
	make bindgen rustc rust-src flex bison bc libelf-dev libssl-dev openssl
	pahole python3 xz-utils zstd lz4 cpio kmod rsync perl file
)
name=buildenv suites=$SUITE options=(--dpkgopt='path-exclude=/usr/share/doc/*') more=()
case $SUITE in
trixie)
	suites+=' trixie-backports'
	packages+=(
		gcc-14
		# the debug kernels
		clang-19 lld-19 llvm-19 libclang-19-dev
		# checking this source
		rustfmt rust-clippy shellcheck
		# the code that needs no kernel, in user space: its tests, fuzzing, mutants
		cargo ca-certificates libclang-rt-19-dev cargo-mutants
	) ;;
forky)
	name+=-forky
	packages+=(gcc-16) ;;
esac
case $SUITE-$ARCH in
# running what was built
trixie-amd64) packages+=(qemu-system-x86) ;;
trixie-arm64) packages+=(qemu-system-arm) ;;
esac
if [[ $ARCH == arm64 ]]; then
	name+=-arm64
	# A compiler for the part of the kernel that 32-bit programs see (the vDSO).
	packages+=(gcc-arm-linux-gnueabihf)
fi
[[ -z $cross ]] || more=(gcc-14-aarch64-linux-gnu)

install_host_tools() {
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		mmdebstrap debian-archive-keyring procps mount
}

if [[ ${1:-} == --run ]]; then
	begin
else
	begin "$@"
fi
mirror=$(mirror)

# Adds compilers for another architecture, and the package lists of that architecture, from which
# scripts/kernel.sh takes the kernel.
add_cross() {
	env=$part
	in_env / dpkg --add-architecture "$ARCH" || return
	in_env / apt-get -o APT::Update::Error-Mode=any update || return
	in_env / apt-get install -y "${more[@]}"
}

key="$mirror ${packages[*]} ${options[*]} $(declare -f make_system)"
[[ -z $cross ]] || key+=" ${more[*]} $(declare -f add_cross)"
if part_begin "$name" "$SUITE" "$key"; then
	need_space 12
	in_namespaces true 2>/dev/null ||
		die "this machine does not let root make mount and PID namespaces:" \
			"use a virtual machine, or a container with CAP_SYS_ADMIN"
	say "making the build environment${cross:+ for $cross} (once)"
	if ! type -P mmdebstrap pkill mount >/dev/null ||
		[[ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
		step "installing mmdebstrap on this machine" install_host_tools
	fi
	scratch run
	step "making a build environment of Debian's $SUITE" make_system "$part" "$suites" \
		"${options[@]}"
	[[ -z $cross ]] || step "adding compilers for $ARCH" add_cross
	# The keys of parts that are made with this environment contain this list.
	chroot "$part" dpkg-query -W >"$part/.packages"
	part_end
fi

if [[ ${1:-} == --run ]]; then
	shift
	[[ $# -gt 0 ]] || die "--run needs a command"
	env=$part
	dir=/
	[[ $PWD/ == "$tree"/* || $PWD/ == "$cache"/* ]] && dir=$PWD
	run_job in_env "$dir" "$@"
	exit
fi
echo "$part"
