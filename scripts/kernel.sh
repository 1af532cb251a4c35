#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/kernel.sh
#
# Fetches the newest kernel of the series SERIES from Debian's trixie-backports, with SUITE=forky
# from forky, and prepares a tree in which modules in Rust can be built. Prints the directory it
# made, which holds
#
#     version     the kernel's release, such as 7.3.4+deb13-$FLAVOUR
#     source/     its source, from the package linux-source
#     build/      the prepared tree: make -C build M=<module> modules
#     stock/      the kernel as Debian ships it: boot stock/usr/lib/modules/<version>/vmlinuz
#
# The archive is asked for a newer kernel once a day at most. Without a network, the newest kernel
# in the cache is used.
#
# Environment: SUITE, SERIES, ARCH and FLAVOUR, the kernel (default: trixie, 7.3, the machine's
# architecture and cloud-$ARCH; the series of forky is 7.2).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

call env buildenv.sh
use_part "$env"

lists=$env/var/lib/apt/lists.updated

update_lists() {
	in_env / apt-get -o APT::Update::Error-Mode=any update && touch "$lists"
}

# Prints the releases of the kernels that the package lists know, the newest last. A second upload
# of the same kernel has a number behind the mark: 7.3.4+deb13+1-amd64 follows 7.3.4+deb13-amd64.
releases() {
	in_env / apt-cache search --names-only \
		"^linux-headers-[0-9.]+\\+${marks[$SUITE]}(\\+[0-9]+)?-$FLAVOUR\$" |
		sed -n "s/^linux-headers-\\([^ ]*\\)-$FLAVOUR .*/\\1/p" | sort -V | sed "s/\$/-$FLAVOUR/"
}

# package_version PACKAGE: prints its newest version in the package lists.
package_version() {
	in_env / apt-cache show --no-all-versions "$1" 2>/dev/null |
		sed -n 's/^Version: //p' | head -n 1
}

# The newest part of this series that is complete, if any.
present() {
	local at
	for at in "$cache/kernel-$target"/*/; do
		at=${at%/}
		[[ ! -e $at/.complete ]] || printf '%s %s\n' "$(basename "${at%"-$FLAVOUR-"*}")" "$at"
	done | sort -V -k 1,1 | tail -n 1 | cut -d ' ' -f 2-
}

# refresh MINUTES: updates the package lists if they are older than MINUTES.
refresh() {
	local found
	lock apt
	if [[ -z $(find "$lists" -mmin "-$1" 2>/dev/null) ]]; then
		if ! update_lists >>"$log" 2>&1; then
			found=$(present)
			if [[ -z $found ]]; then
				tail -n 5 "$log" | sed "s/^/${SAY:-}  | /" >&2
				die "the Debian archive $(mirror) cannot be reached:" \
					"check the network, or name another mirror in MIRROR," \
					"then run this again"
			fi
			say "  the Debian archive cannot be reached:" \
				"staying with the kernel that is here"
			use_part "$found"
			echo "$found"
			exit 0
		fi
	fi
	unlock apt
}

# Sets `version` and `package` to the newest kernel's release and the version of its packages.
find_newest() {
	local answer=$env/var/lib/apt/newest-$target
	if [[ $answer -nt $lists ]]; then
		read -r version package <"$answer"
		return
	fi
	version=$(releases | grep "^${SERIES//./\\.}\." | tail -n 1 || true)
	[[ -n $version ]] ||
		die "$archive has no kernel $SERIES for $FLAVOUR; it has" \
			"$(releases | cut -d . -f 1-2 | sort -Vu | xargs)"
	package=$(package_version "linux-headers-$version")
	[[ $(package_version "linux-source-$SERIES") == "$package" ]] ||
		die "the archive has linux-headers-$version in version $package, but not" \
			"linux-source-$SERIES in that version: try again later, or another SERIES"
	echo "$version $package" >"$answer"
}

download() {
	mkdir -p "$part/deb"
	in_env "$part/deb" apt-get download "linux-source-$SERIES=$package" \
		"linux-headers-$version=$package" "linux-binary-$version=$package" \
		"linux-modules-$version=$package" "linux-base-$version=$package"
}

# Unpacks the kernel as Debian ships it, and its header package, into stock/.
unpack_stock() {
	local deb
	for deb in headers binary modules base; do
		in_env "$part" dpkg-deb -x "$(cd "$part" && echo deb/linux-$deb-*.deb)" stock ||
			return
	done
	in_env "$part" depmod -b stock/usr "$version"
}

unpack_source() {
	in_env "$part" dpkg-deb -x "$(cd "$part" && echo deb/linux-source-*.deb)" unpacked || return
	mkdir "$part/source"
	in_env "$part" tar -C source --strip-components=1 \
		-xf "unpacked/usr/src/linux-source-$SERIES.tar.xz" || return
	rm -rf "$part/unpacked" "$part/deb"
}

# Prints the settings of a configuration that name Rust and the compilers. A Rust module can be
# built for the kernel only with the same ones.
compilers() {
	grep -E '^CONFIG_(RUST|CC_VERSION_TEXT|RUSTC_VERSION_TEXT|RUSTC_LLVM_VERSION)=' "$1"
}

# Debian's header package lacks files that modules in Rust need, so the tree is prepared from the
# source, with the configuration of that package. Its .kernelvariables name the release and the
# compiler, so that no caller of make has to name them.
prepare() {
	local headers=$part/stock/usr/src/linux-headers-$version
	mkdir "$part/build"
	cp "$headers/.config" "$headers/.kernelvariables" "$part/build/"
	in_env "$part" make -C source O="$part/build" -j "$(nproc)" olddefconfig || return
	in_env "$part" make -C source O="$part/build" -j "$(nproc)" prepare modules_prepare ||
		return
	cp "$headers/Module.symvers" "$part/build/"
	diff "$headers/.config" "$part/build/.config"
	if ! cmp <(compilers "$headers/.config") <(compilers "$part/build/.config"); then
		echo "the compilers of the build environment are not those of the kernel: remove $(dirname "$env") and run this again"
		return 1
	fi
	[[ $(<"$part/build/include/config/kernel.release") == "$version" ]]
}

start_log "kernel-$target"
refresh 1440
find_newest
if [[ ! -e $(echo "$cache/kernel-$target/$version"-*/.complete) ]]; then
	# Before the download, look again for the newest kernel, in lists that are at most
	# 10 minutes old.
	refresh 10
	find_newest
fi

if part_begin "kernel-$target" "$version" "$package $(<"$env/.packages") $(
	declare -f unpack_stock unpack_source compilers prepare)"; then
	need_space 8
	say "preparing the kernel $version"
	step "downloading the kernel and its source" download
	step "unpacking the kernel" unpack_stock
	step "unpacking the source" unpack_source
	step "preparing the tree for modules" prepare
	echo "$version" >"$part/version"
	part_end
fi
echo "$part"
