#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A kernel that was booted without IPv6: an interface has one socket instead of two, and otherwise
# works as usual.
#
# guests: 1
# append: ipv6.disable=1

. "$(dirname "$0")/../lib/lib.sh"

t ipv4_only 'without IPv6 an interface comes up, carries IPv4 and accepts settings for IPv6'
ipv4_only() {
	local n pid
	[[ ! -e /proc/net/if_inet6 ]]
	module_debug
	ns_add a b
	keys a b
	ip link add eth0 netns ${NS}a type veth peer name eth0 netns ${NS}b
	for n in a b; do
		ipn $n addr add 10.9.0.${NUM[$n]}/24 dev eth0
		ipn $n link set eth0 up
		ipn $n link add wg0 type wireguard
		ipn $n addr add 10.8.0.${NUM[$n]}/24 dev wg0
		ns $n wg set wg0 private-key <(echo "${KEY[$n]}") listen-port $PORT
		ipn $n link set wg0 up
	done
	wait_for 'the link is up' ns a ping -c 1 -W 1 10.9.0.2
	[[ $(ns a ss -Hlnu "sport = $PORT" | wc -l) == 1 ]]
	wg_peer a endpoint 10.9.0.2:$PORT
	wg_peer b
	ping_ok a 10.8.0.2
	ping_ok b 10.8.0.1
	iperf a 10.8.0.2 -n 1M > /dev/null
	ns b wg set wg0 listen-port 4444
	ping_ok b 10.8.0.1
	wait_for 'a follows' eval '[[ $(wg_endpoint a) == 10.9.0.2:4444 ]]'
	# This endpoint cannot be reached, which has no other effect.
	wg_peer a endpoint "[fd09::2]:$PORT"
	[[ $(ns a wg show wg0 allowed-ips) == *fd08::2/128* ]]
	must_fail ns a ping -q -c 1 -W 2 10.8.0.2
	(($(stat a tx_errors) + $(stat a tx_dropped) == 0))
	wg_peer a endpoint 10.9.0.2:4444
	ping_ok a 10.8.0.2
	ping_ok b 10.8.0.1
}

run "$@"
