#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: KERNEL=kasan|kcsan scripts/debug-kernel.sh
#
# Builds a kernel that looks for mistakes, from the source of Debian's kernel, with KUnit and
# without modules. kasan looks for mistakes in memory and locking, kcsan for data races between
# processors. scripts/debug.config, scripts/debug-amd64.config or scripts/debug-arm64.config, and
# scripts/kasan.config or scripts/kcsan.config are the configuration. Prints the directory of the
# build; beside it, the kernel is called image. It is built with clang, since Rust has neither with
# gcc.
#
# Environment: SERIES, ARCH and FLAVOUR, the kernel (default: 7.3, the machine's architecture and
# cloud-$ARCH).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
[[ $KERNEL != stock ]] || die "say in KERNEL which kernel: kasan or kcsan"

call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"

# The architecture and its image, as the kernel's make calls them.
case $ARCH in
amd64) machine=x86 image=bzImage ;;
arm64) machine=arm64 image=Image ;;
esac

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
	grep -hE '^(# )?CONFIG_' "$scripts"/{debug,"debug-$ARCH","$KERNEL"}.config
}

configure() {
	mkdir -p "$part/build"
	settings >"$part/asked.config"
	in_env "$part" make -C "$part/source" O="$part/build" \
		KCONFIG_ALLCONFIG="$part/asked.config" ARCH="$machine" LLVM=-19 allnoconfig || return
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
	in_env "$part" make -C "$part/build" -j "$(nproc)" ARCH="$machine" LLVM=-19 \
		CONFIG_WIREGUARD= "$image" modules || return
	ln -f "$part/build/arch/$machine/boot/$image" "$part/image"
}

start_log "$KERNEL-$target"
if part_begin "$KERNEL-$target" "$(<"$kernel/version")" \
	"$kernel $ARCH $(settings) $(declare -f copy_source configure build)"; then
	need_space 5
	say "making a kernel with ${KERNEL^^}"
	step "copying its source" copy_source
	step "configuring it" configure
	step "building it" build
	part_end
fi
echo "$part/build"
