#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module against wireguard-go, the userspace implementation, in another network namespace of the
# same guest.
#
# guests: 1
# timeout: 900
# memory: 1536

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/interop.sh"

# `wg` finds wireguard-go by a socket named after the interface, so the far names must differ from
# the near ones.
FAR_NAME=go
declare -A GO	# process ids, by interface

near() { ns a "$@"; }
far() { ns b "$@"; }
near_bg() { bg a "$@"; }
far_bg() { bg b "$@"; }
near_new() { ipn a link add $1 type wireguard; }
near_del() { ipn a link del $1; }
near_reload() {
	rmmod wireguard
	module_load
}
far_new() {
	rm -f /var/run/wireguard/$1.sock	# left by a killed wireguard-go
	LOG_LEVEL=error bg b wireguard-go --foreground $1 > /dev/null 2>&1; GO[$1]=$BG
	wait_for 'wireguard-go answers' ns b wg show $1
}
far_del() { kill ${GO[$1]}; wait ${GO[$1]} || true; }
far_reload() { :; }	# wireguard-go keeps no state outside its processes, and far_del ends them

interop_setup() {
	[[ -e /dev/net/tun ]] || modprobe tun
	[[ -e /run/netns/${NS}a ]] || pair_link
}

interop_tests
run "$@"
