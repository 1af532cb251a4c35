#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/module.sh
#
# Builds wireguard.ko from this source tree, in a copy of it in the cache, for the stock kernel that scripts/kernel.sh
# fetches. Prints the path of the module, which stays the same from build to build.
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"

start_log "module-$target"
work_begin "module-$target" "$kernel"
module=$work/wireguard.ko
step "building the module for $(<"$kernel/version")" \
	in_env "$work" make -C "$kernel/build" M="$work" -j "$(nproc)" modules
sed -n '/==> building/,$ { /[Ww]arning/p; }' "$log" >&2
[[ -e $module ]] || die "the build made no wireguard.ko: see $log"
echo "$module"
