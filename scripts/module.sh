#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/module.sh
#
# Builds wireguard.ko from this source tree, in a copy of it in the cache, for the stock kernel that
# scripts/kernel.sh fetches, or the one that scripts/debug-kernel.sh builds. Prints the path of the
# module, which stays the same from build to build.
#
# Environment: SUITE, SERIES, ARCH and FLAVOUR, the kernel (default: trixie, 7.3, the machine's
# architecture and cloud-$ARCH). KERNEL is stock (the default), kasan or kcsan.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"

name=module-$target build=$kernel/build tools=()
text="building the module for $(<"$kernel/version")"
if [[ $KERNEL != stock ]]; then
	call debug debug-kernel.sh
	use_part "$(dirname "$debug")"
	name+=-$KERNEL build=$debug text+=" with ${KERNEL^^}" tools=(LLVM=-19)
	[[ $ARCH == amd64 ]] || tools+=(ARCH="$ARCH")
fi
work_begin "$name" "$build"
start_log "$name"
module=$work/wireguard.ko
step "$text" in_env "$work" make -C "$build" M="$work" -j "$(nproc)" "${tools[@]}" modules
sed -n '/==> building/,$ { /[Ww]arning/p; }' "$log" >&2
[[ -e $module ]] || die "the build made no wireguard.ko: see $log"
if [[ $KERNEL != stock ]]; then
	in_env "$work" llvm-nm-19 src/wireguard_main.o | grep ' U __[at]san_' >/dev/null ||
		die "the kernel has ${KERNEL^^}, but it does not watch the Rust code"
fi
echo "$module"
