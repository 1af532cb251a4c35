#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: KERNEL=kasan scripts/debug-kernel.sh
#
# Builds a kernel that looks for mistakes in memory and locking from the source of Debian's, with
# KUnit in it and without modules: scripts/debug.config and scripts/kasan.config. Prints the directory of the build;
# the kernel is its arch/x86/boot/bzImage. It is built with clang, since Rust does not have KASAN with gcc.
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
[[ $KERNEL != stock ]] || die "say in KERNEL which kernel: kasan"

call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"

configure() {
	mkdir -p "$part/build"
	cat "$scripts/debug.config" "$scripts/$KERNEL.config" >"$part/asked.config"
	in_env "$part" make -C "$kernel/source" O="$part/build" KCONFIG_ALLCONFIG="$part/asked.config" LLVM=-19 allnoconfig || return
	# Something that was asked for and did not come about would otherwise be noticed late, or never.
	local missing
	missing=$(grep '^CONFIG_' "$part/asked.config" | grep -vxFf "$part/build/.config") || return 0
	printf 'the configuration lacks what is asked for:\n%s\n' "$missing"
	return 1
}

# The in-tree module is only configured for what it selects: as part of this kernel it would be in the way of ours.
build() {
	in_env "$part" make -C "$part/build" -j "$(nproc)" LLVM=-19 CONFIG_WIREGUARD= bzImage modules
}

start_log "$KERNEL-$target"
if part_begin "$KERNEL-$target" "$(<"$kernel/version")" \
	"$kernel $(<"$scripts/debug.config") $(<"$scripts/$KERNEL.config") $(declare -f configure build)"; then
	need_space 5
	say "making a kernel with ${KERNEL^^}"
	step "configuring it" configure
	step "building it" build
	part_end
fi
echo "$part/build"
