#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An interface between its namespaces; and its sockets when a namespace vanishes, its port changes
# or IPv6 is switched off.
#
# guests: 1
# kernels: stock kasan
# kasan: circular pinned
# timeout: 400
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"
. "$LIB/watch.sh"

KA=$(printf '%.0sA' {1..42})E=	# the public key of a peer that does not exist

t moved \
	'an interface that moves goes down, keeps its configuration and leaves its sockets behind'
moved() {
	local n conf
	pair
	ns_add i j
	ping_both
	debug_log
	conf=$(ns a wg showconf wg0)
	for n in i j a i; do
		if [[ $n == i ]]; then
			at=a
			[[ $(ipn j link) != *wg0* ]] || at=j
		elif [[ $n == j ]]; then
			at=i
		else
			at=j
		fi
		ipn $at link set wg0 netns $NS$n
		must_fail ipn $at link show wg0
		[[ $(ipn $n link show wg0) == *'<POINTOPOINT,NOARP>'* ]]
		[[ -z $(ipn $n -o addr show dev wg0) ]]
		[[ $(ns $n wg showconf wg0) == "$conf" ]]
		[[ $(sockets a) == 0 ]]
		must_fail ns b ping -q -c 1 -W 1 10.8.0.1
		rise $n a
		[[ $(sockets a "sport = $PORT") == 2 ]]
		[[ $n == a || $(sockets $n) == 0 ]]
		ns $n ping -q -c 1 -W 20 10.8.0.2
		ns b ping -q -c 1 -W 20 fd08::1
	done
	# Its port can be changed from the namespace where it lives now.
	ns i wg set wg0 listen-port 4000 fwmark 7
	[[ $(sockets a 'sport = 4000') == 2 && $(sockets a) == 2 ]]
	ping_ok i 10.8.0.2
	[[ $(wg_endpoint b) == 10.9.0.1:4000 ]]
	# It vanishes with the namespace where it lives, not with one where it was.
	ns_del j
	ping_ok i fd08::2
	ns_del i
	destroyed wg0
	[[ $(sockets a) == 0 ]]
	wg_new a
	wg_peer a endpoint 10.9.0.2:$PORT
	ping_ok a 10.8.0.2
}

t made_for 'sockets are in the namespace that the request names, or in the one it came from'
made_for() {
	local i
	ns_add a b c
	ipn b link add wg0 link-netns ${NS}a type wireguard
	ipn a link add wg1 netns ${NS}b type wireguard
	ipn c link add wg2 netns ${NS}b link-netns ${NS}a type wireguard
	ipn c link add wg3 netns ${NS}b type wireguard
	ipn b link add wg4 type wireguard
	for i in {0..4}; do
		ns b wg set wg$i listen-port $((1000 + i))
		ipn b link set wg$i up
	done
	[[ $(ns a ss -Hlnu | awk '{ print $4 }' | sort | paste -sd ' ') == \
		'0.0.0.0:1000 0.0.0.0:1001 0.0.0.0:1002 [::]:1000 [::]:1001 [::]:1002' ]]
	[[ $(ns c ss -Hlnu | awk '{ print $4 }' | sort | paste -sd ' ') == \
		'0.0.0.0:1003 [::]:1003' ]]
	[[ $(ns b ss -Hlnu | awk '{ print $4 }' | sort | paste -sd ' ') == \
		'0.0.0.0:1004 [::]:1004' ]]
	# Ports conflict in the namespace of the sockets, wherever the interfaces live.
	ns b wg set wg3 listen-port 1000
	ns b wg set wg0 listen-port 1001 2>&1 | grep -q 'Address already in use'
}

t orphaned \
	'an interface without the namespace of its sockets keeps its settings, and cannot go up'
orphaned() {
	local state conf
	debug_log
	for state in up down; do
		ns_add a i j
		ipn a link add wg0 netns ${NS}i type wireguard
		ns i wg set wg0 private-key <(wg genkey) listen-port 5 fwmark 9 \
			peer $KA allowed-ips 0.0.0.0/0 endpoint 127.0.0.1:9
		ipn i addr add 10.8.0.1/24 dev wg0
		ipn i link set wg0 $state
		conf=$(ns i wg showconf wg0)
		ns_del a
		wait_for 'the module knows' eval "((\$(logged ' wg0: Creating namespace exiting') ==
			$([[ $state == up ]] && echo 1 || echo 2)))"
		# The message is from the first half of the namespace's exit; the other half comes
		# later.
		if [[ $state == up ]]; then
			[[ $(ipn i link show wg0) == *'<NO-CARRIER,POINTOPOINT,NOARP,UP>'* ]]
			must_fail ns i ping -q -c 1 -W 1 -I wg0 192.0.2.1
		fi
		[[ $(ns i wg showconf wg0) == "$conf" ]]
		ns i wg set wg0 listen-port 6 2>&1 | grep -q 'Operation not permitted'
		ns i wg set wg0 fwmark 6 2>&1 | grep -q 'Operation not permitted'
		[[ $(ns i wg showconf wg0) == "$conf" ]]
		ns i wg set wg0 private-key <(wg genkey) peer $KA remove
		[[ -z $(ns i wg show wg0 peers) ]]
		ipn i link set wg0 down
		ipn i link set wg0 up 2>&1 | grep -q 'Machine is not on the network'
		[[ $(ipn i link show wg0) != *UP* ]]
		ipn i link set wg0 name wg1 netns ${NS}j
		ipn j link set wg1 up 2>&1 | grep -q 'Machine is not on the network'
		if [[ $state == up ]]; then ipn j link del wg1; else ns_del j; fi
		destroyed wg1 $([[ $state == up ]] && echo 1 || echo 2)
		ns_del_all
	done
}

t circular 'two namespaces, each with the sockets of an interface in the other, are freed together'
circular() {
	local n
	pair_link
	ns_add z
	keys a b
	debug_log
	# Each interface is made where the other one lives. z holds an end of a veth pair to each
	# namespace, which vanishes when that namespace has been freed.
	for n in a b; do
		ip link add name $n netns ${NS}z type veth peer name up netns $NS$n
		ipn ${OTHER[$n]} link add wg$n netns $NS$n type wireguard
		ns $n wg set wg$n private-key <(echo "${KEY[$n]}") listen-port $PORT \
			peer "${PUB[${OTHER[$n]}]}" allowed-ips 0.0.0.0/0 \
			endpoint "$(outer $n 4):$PORT"
		ipn $n addr add 10.8.0.${NUM[$n]}/24 dev wg$n
		ipn $n link set wg$n up
	done
	ping_ok a 10.8.0.2
	ping_ok b 10.8.0.1
	[[ $(sockets a) == 2 && $(sockets b) == 2 ]]
	ns_del a b
	for n in a b; do
		destroyed wg$n
		wait_for "namespace $n is gone" eval "! ipn z link show dev $n"
	done
	[[ $(logged 'Peer [0-9]+ \(10[.]9[.]0[.][12]:[0-9]+\) destroyed') == 2 ]]
	[[ $(keypairs created) -ge 2 && $(keypairs created) == "$(keypairs destroyed)" ]]
}

t pinned \
	'sockets, cached routes, waiting packets and a running handshake do not keep a namespace'
pinned() {
	ns_add a i z
	debug_log
	ip link add name a netns ${NS}z type veth peer name eth0 netns ${NS}a
	ipn z link set dev a up
	ipn a link set eth0 up
	ipn a addr add 10.9.0.1/24 dev eth0
	ipn a link add wg0 netns ${NS}i type wireguard
	ns i wg set wg0 private-key <(wg genkey) \
		peer $KA allowed-ips 0.0.0.0/0 endpoint 10.9.0.2:$PORT persistent-keepalive 1
	ipn i addr add 10.8.0.1/24 dev wg0
	ipn i link set wg0 up
	counters a
	must_fail ns i ping -q -c 1 -W 1 192.0.2.1
	wait_for 'an initiation is on its way' eval '(($(sent a 1) > 0))'
	ns_del a
	wait_for 'the namespace is gone' eval '! ipn z link show dev a'
	ipn i link del wg0
	destroyed wg0
}

t ports \
	'a port taken in either family is refused, and changes nothing; a new one keeps the session'
ports() {
	local family
	pair
	ping_both
	handshakes_blocked a b
	ns a wg set wg0 listen-port 7000
	[[ $(sockets a 'sport = 7000') == 2 && $(sockets a) == 2 ]]
	ping_both
	[[ $(wg_endpoint b) == 10.9.0.1:7000 ]]
	for family in 4 6; do
		debug_log
		hold a $family 6000
		ns a wg set wg0 listen-port 6000 2>&1 | grep -q 'Address already in use'
		[[ $(logged "wg0: Could not create IPv$family socket") == 1 ]]
		[[ $(ns a wg show wg0 listen-port) == 7000 ]]
		[[ $(sockets a 'sport = 6000') == 1 && $(sockets a 'sport = 7000') == 2 ]]
		ping_both
		release
	done
	handshakes_free a b
	for family in 4 6; do
		ipn a link set wg0 down
		hold a $family 6000
		ns a wg set wg0 listen-port 6000
		ipn a link set wg0 up 2>&1 | grep -q 'Address already in use'
		[[ $(ipn a link show wg0) != *UP* ]]
		[[ $(ns a wg show wg0 listen-port) == 6000 && $(sockets a) == 1 ]]
		release
		ipn a link set wg0 up
		[[ $(sockets a 'sport = 6000') == 2 && $(sockets a) == 2 ]]
	done
	rise a a
	ping_both
	# Setting the listen port that is already set touches no socket, and succeeds even where no
	# socket could be opened.
	ns a wg set wg0 listen-port 6000
	ping_both
}

t any_port 'without a port an interface takes one that is free in both families, if there is one'
any_port() {
	local port i
	ns_add a
	ipn a link add wg0 type wireguard
	ns a sysctl -q net.ipv4.ip_local_port_range='40000 40003'
	hold a 6 40000 40001 40003
	for i in 1 2 3; do
		ipn a link set wg0 up
		[[ $(ns a wg show wg0 listen-port) == 40002 && $(sockets a 'sport = 40002') == 2 ]]
		[[ $(sockets a) == 5 ]]
		ipn a link set wg0 down
		[[ $(ns a wg show wg0 listen-port) == 40002 ]]	# it keeps that port
		ns a wg set wg0 listen-port 0
	done
	hold a 6 40002
	ipn a link set wg0 up 2>&1 | grep -q 'Address already in use'
	[[ $(ns a wg show wg0 listen-port) == 0 && $(sockets a) == 4 ]]
	release
	ipn a link set wg0 up
	port=$(ns a wg show wg0 listen-port)
	ns a sysctl -q net.ipv4.ip_local_port_range='50000 50010'
	ns a wg set wg0 listen-port 0
	((port == 40002 && $(ns a wg show wg0 listen-port) >= 50000))
}

t no_ipv6 \
	'with IPv6 switched off the tunnel works over IPv4; switched on again, over both'
no_ipv6() {
	pair
	ns a sysctl -q net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	ping_ok a 10.8.0.2
	ipn a link set wg0 down
	ipn a link set wg0 up
	ping_ok a 10.8.0.2
	must_fail ns a ping -q -c 1 -W 1 fd08::2
	wg_peer a endpoint "[fd09::2]:$PORT"
	must_fail ns a ping -q -c 1 -W 2 10.8.0.2
	ipn a link add wg1 type wireguard
	ipn a link set wg1 up
	ns a sysctl -q net.ipv6.conf.all.disable_ipv6=0
	ipn a addr replace fd09::1/64 dev eth0 nodad
	rise a a
	wait_for 'the tunnel works' ping_ok a fd08::2
	wait_for 'b follows' eval '[[ $(wg_endpoint b) == "[fd09::1]:$PORT" ]]'
	# IPv6 is switched off inside only.
	ns b sysctl -q net.ipv6.conf.wg0.disable_ipv6=1
	ping_ok a 10.8.0.2
	must_fail ns a ping -q -c 1 -W 1 fd08::2
}

run "$@"
