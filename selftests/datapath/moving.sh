#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Peers that move, and attackers who make it look as if a peer had moved.
#
# The guest's clock counts instructions, so waiting takes no real time, and the speed of the machine
# does not matter. moving.py is the other end of the tunnel; roaming.py sends and measures. Figures
# of the C module, which follows each message, are shown and not checked.
#
# guests: 1
# clock: instructions
# timeout: 900

. "$(dirname "$0")/../lib/lib.sh"

PARAMETER=/sys/module/wireguard/parameters/roaming

# ours: skips a test of what only this module does.
ours() { [[ $WG_MODULE == rust ]] || skip 'the C module follows each message'; }

# mode NUMBER: sets the parameter, if the module has it. It holds for tests of other programs, too.
mode() {
	module_load
	[[ $WG_MODULE != rust ]] || echo $1 > $PARAMETER
}

# far_pair MILLISECONDS: makes a tunnel over a link with that delay in each direction.
far_pair() {
	pair
	far_apart $1
}

# far_apart MILLISECONDS: gives the link of a tunnel that delay in each direction.
far_apart() {
	local n host
	for n in a b; do
		# No round trip of ARP is to be measured.
		for host in 10.9.0.{1,2,66,111,112} fd09::{1,2}; do
			ipn $n neigh replace $host dev eth0 nud permanent lladdr \
				"$(ns ${OTHER[$n]} cat /sys/class/net/eth0/address)"
		done
		ns $n tc qdisc add dev eth0 root netem delay $1ms limit 100000
	done
	wait_for 'a session is made' ping_ok a 10.8.0.2
}

# changes NAMESPACE [RULE…]: changes what it sends outside, as a router would.
changes() {
	ns $1 nft "add table ip o; add chain ip o o { type filter hook output priority 0; }"
	(($# == 1)) || ns $1 nft "add rule ip o o udp dport $PORT ${*:2}"
}

# counts NAMESPACE ADDRESS: counts what comes to its outer link for this address.
counts() {
	ns $1 nft "add table ip t; add counter ip t c; add chain ip t i { type filter hook prerouting priority -400; }; add rule ip t i iif eth0 ip daddr $2 counter name c"
}

t parameter 'the parameter has three values, and the default is that of the documents'
parameter() {
	local value
	ours
	module_load
	[[ $(< $PARAMETER) == 1 ]]
	for value in 3 -1 x ''; do
		must_fail bash -c "echo '$value' > $PARAMETER"
		[[ $(< $PARAMETER) == 1 ]]
	done
	for value in 0 2 1; do
		echo $value > $PARAMETER
		[[ $(< $PARAMETER) == $value ]]
	done
	modinfo -p "$KO" | grep -q '^roaming:.*(uint)$'
}

t old_counter 'a message that was held back moves no endpoint once a newer one has come'
old_counter() { ours; mode 1; scripted old_counter $WG_MODULE; }

t old_keys 'nor does one of an old session, once something was received with a newer one'
old_keys() { ours; mode 1; scripted old_keys $WG_MODULE; }

t old_trusting 'this holds if no proof is asked for, too'
old_trusting() { ours; mode 0; scripted old_counter $WG_MODULE; mode 1; }

t port 'a peer is followed to another port without a proof: no packet is lost, no probe sent'
port() { mode 1; scripted port $WG_MODULE; }

t port_strict 'if nothing is sent before a proof, too'
port_strict() { ours; mode 2; scripted port $WG_MODULE; mode 1; }

t elsewhere 'a peer is followed to another address when it has answered there, and a bit before'
elsewhere() { ours; mode 1; scripted elsewhere $WG_MODULE; }

t early 'a peer that moves right after a handshake is probed a second after it, without any packet'
early() { ours; mode 1; scripted early; }

t early_strict 'if nothing is sent before a proof, too'
early_strict() { ours; mode 2; scripted early; mode 1; }

t silent 'an address where nobody answers three probes gets nothing, until the peer begins there'
silent() { ours; mode 1; scripted silent $WG_MODULE; }

t loaded 'a cookie reply proves nothing, but the next probe, with the cookie, follows soon'
loaded() { ours; mode 1; scripted loaded $WG_MODULE; }

t held_back 'an answer that was held back does not move a peer away from where it speaks'
held_back() { ours; mode 1; scripted held_back $WG_MODULE; }

t strangers 'forged addresses get no more than three times what came from there, and a bit'
strangers() { mode 1; scripted strangers $WG_MODULE; }

t trusting 'with roaming=0 they get everything, as with the C module'
trusting() { ours; mode 0; scripted strangers $WG_MODULE 0; mode 1; }

t strict 'with roaming=2 they get no data'
strict() { ours; mode 2; scripted strangers $WG_MODULE 2; mode 1; }

t roam 'a flow to a peer that moves stalls for a round trip at most'
roam() {
	mode 1
	far_pair 50
	changes b
	PUB_A=${PUB[a]} python3 "$HERE/roaming.py" roam $WG_MODULE 50
}

t roam_tcp 'so does a TCP connection, and for no longer than it takes to send again what was lost'
roam_tcp() {
	mode 1
	far_pair 50
	changes b
	PUB_A=${PUB[a]} python3 "$HERE/roaming.py" roam_tcp $WG_MODULE 50
}

t roam_go 'it does so if the end that moves is of wireguard-go'
roam_go() {
	mode 1
	[[ -e /dev/net/tun ]] || modprobe tun
	pair
	ipn b link del wg0
	rm -f /var/run/wireguard/go0.sock
	LOG_LEVEL=error bg b wireguard-go --foreground go0 > /dev/null 2>&1
	wait_for 'wireguard-go answers' ns b wg show go0
	ns b wg set go0 private-key <(echo "${KEY[b]}") listen-port $PORT \
		peer "${PUB[a]}" allowed-ips 10.8.0.1/32 endpoint 10.9.0.1:$PORT
	ipn b addr add 10.8.0.2/24 dev go0
	ipn b link set go0 mtu 1420 up
	far_apart 50
	changes b
	PUB_A=${PUB[a]} python3 "$HERE/roaming.py" roam_tcp $WG_MODULE 50 go0
}

t copied 'if somebody changes the source of all that a peer sends, it loses next to nothing'
copied() {
	mode 1
	far_pair 10
	counts b 10.9.0.66
	changes b ip saddr set 10.9.0.66
	python3 "$HERE/roaming.py" copied $WG_MODULE 60
}

t in_turn 'a peer that sends from two addresses in turn loses nothing'
in_turn() {
	mode 1
	far_pair 10
	ipn b addr add 10.9.0.112/24 dev eth0
	changes b 'ip saddr set numgen inc mod 2 map { 0 : 10.9.0.2, 1 : 10.9.0.112 }'
	python3 "$HERE/roaming.py" in_turn $WG_MODULE 30
}

t both 'if both ends move during the same time, nothing is lost, and each follows the other'
both() {
	local n
	mode 1
	far_pair 50
	for n in a b; do
		ipn $n addr add 10.9.0.11${NUM[$n]}/24 dev eth0
		counts $n 10.9.0.${NUM[$n]}
		changes $n
	done
	python3 "$HERE/roaming.py" both $WG_MODULE 10
}

t clock_back 'a server whose clock was set back follows a peer that begins a handshake elsewhere'
clock_back() {
	ours
	mode 1
	far_pair 50
	changes b
	python3 "$HERE/roaming.py" clock_back $WG_MODULE 60
}

run "$@"
