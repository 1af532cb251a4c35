#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: KERNEL=kasan|kcsan scripts/debug-kernel.sh
#
# Builds a kernel that looks for mistakes, from the source of Debian's kernel, with KUnit and
# without modules. kasan looks for mistakes in memory and locking, kcsan for data races between
# processors. scripts/debug.config and scripts/kasan.config or scripts/kcsan.config are the
# configuration. Prints the directory of the build; the kernel is its arch/x86/boot/bzImage. It is
# built with clang, since Rust has neither with gcc.
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
[[ $KERNEL != stock ]] || die "say in KERNEL which kernel: kasan or kcsan"

call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"

# Copies the source as hard links. KCSAN can watch Rust as it watches C, but the kernel does not yet
# tell the compiler that this target supports it; the copy does.
copy_source() {
	local target=scripts/generate_rust_target.rs
	cp -al "$kernel/source" "$part/source"
	sed 's/"kernel-address"\]/"kernel-address", "thread"]/' "$kernel/source/$target" \
		>"$part/target.rs"
	! cmp -s "$part/target.rs" "$kernel/source/$target" || return
	mv -f "$part/target.rs" "$part/source/$target"
}

# Prints the settings that are asked for, without the comments on them.
settings() {
	grep -hE '^(# )?CONFIG_' "$scripts/debug.config" "$scripts/$KERNEL.config"
}

configure() {
	mkdir -p "$part/build"
	settings >"$part/asked.config"
	in_env "$part" make -C "$part/source" O="$part/build" \
		KCONFIG_ALLCONFIG="$part/asked.config" LLVM=-19 allnoconfig || return
	# Kconfig drops a setting whose dependencies are missing, and says nothing.
	local missing
	missing=$(grep '^CONFIG_' "$part/asked.config" | grep -vxFf "$part/build/.config") ||
		return 0
	printf 'the configuration lacks what is asked for:\n%s\n' "$missing"
	return 1
}

# The in-tree module is configured only for the options that it selects: as part of this kernel it
# would be in the way of ours.
build() {
	in_env "$part" make -C "$part/build" -j "$(nproc)" LLVM=-19 CONFIG_WIREGUARD= \
		bzImage modules
}

start_log "$KERNEL-$target"
if part_begin "$KERNEL-$target" "$(<"$kernel/version")" \
	"$kernel $(settings) $(declare -f copy_source configure build)"; then
	need_space 5
	say "making a kernel with ${KERNEL^^}"
	step "copying its source" copy_source
	step "configuring it" configure
	step "building it" build
	part_end
fi
echo "$part/build"
