#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module against wireguard-go, the userspace implementation, in another network namespace of the same guest.
#
# guests: 1
# timeout: 900
# memory: 1536

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib-interop.sh"

near_if=wg0
far_if=go0	# `wg` finds wireguard-go by a socket named after it, so the names must differ

near() { ns a "$@"; }
far() { ns b "$@"; }
near_bg() { bg a "$@"; }
far_bg() { bg b "$@"; }
near_new() { ipn a link add $near_if type wireguard; }
near_del() { ipn a link del $near_if; }
far_new() {
	rm -f /var/run/wireguard/$far_if.sock	# of one that was killed
	LOG_LEVEL=error bg b wireguard-go --foreground $far_if > /dev/null; GO=$BG
	wait_for 'wireguard-go answers' ns b wg show $far_if
}
far_del() { kill $GO; wait $GO || true; }

interop_setup() {
	[[ -e /dev/net/tun ]] || modprobe tun
	pair_link
	interop_keys
}

interop_tests
run "$@"
