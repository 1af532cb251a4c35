#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/kunit.sh
#
# Runs the module's unit tests: builds a small kernel with KUnit from the source of Debian's (scripts/kunit.config), builds
# the module for it, boots it, and loads the module, which is when the tests run. Prints their results in KTAP, and
# fails if one of them failed or none ran.
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"

configure() {
	mkdir -p "$part/build"
	in_env "$part" make -C "$kernel/source" O="$part/build" KCONFIG_ALLCONFIG="$scripts/kunit.config" "${tools[@]}" \
		allnoconfig || return
	# Something that was asked for and did not come about would otherwise be noticed late, or never.
	local missing
	missing=$(grep '^CONFIG_' "$scripts/kunit.config" | grep -vxFf "$part/build/.config") || return 0
	printf 'the configuration lacks what scripts/kunit.config asks for:\n%s\n' "$missing"
	return 1
}

# The in-tree module is only configured for what it selects: as part of this kernel it would be in the way of ours.
build() {
	in_env "$part" make -C "$part/build" -j "$(nproc)" "${tools[@]}" CONFIG_WIREGUARD= bzImage modules
}

tools=(CC=x86_64-linux-gnu-gcc-14 HOSTCC=x86_64-linux-gnu-gcc-14 CROSS_COMPILE=x86_64-linux-gnu-)
start_log "kunit-$target"
if part_begin "kunit-$target" "$(<"$kernel/version")" "$kernel $(<"$scripts/kunit.config") $(declare -f configure build)"; then
	need_space 5
	say "making a kernel with KUnit"
	step "configuring it" configure
	step "building it" build
	part_end
fi
kunit=$part

work_begin "kunit-module-$target" "$kunit"
step "building the module for it" \
	in_env "$work" make -C "$kunit/build" M="$work" -j "$(nproc)" "${tools[@]}" modules

ktap=$(mktemp -p "$work" ktap.XXXXXX)
on_exit+=("rm -f $ktap")
# The tests report in the kernel's log, among other things.
run_tests() {
	# shellcheck disable=SC2016 # expanded in the guest
	"$scripts/boot.sh" --kernel "$kunit/build/arch/x86/boot/bzImage" --ko "$work/wireguard.ko" --timeout 900 \
		--append 'kunit.enable=1 kunit.autorun=1' --console "$cache/log/kunit-console.log" -- \
		bash -c 'dmesg -C; insmod /root/wireguard.ko; status=$?; dmesg -t; exit $status' | tee "$ktap"
}
run_job run_tests || die "the module could not be loaded in the kernel with KUnit"
grep -qE '^ *ok [0-9]' "$ktap" || die "no unit test ran"
! grep -qE '^ *not ok [0-9]' "$ktap" || die "a unit test failed"
