#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Both ends of a tunnel begin a handshake at the same time, so that their initiations cross.
#
# The guest's clock counts instructions, so waiting takes no real time, and the speed of the machine
# does not matter. crossing.py sends and measures. It also is the other end of the tunnel in tests
# that need a peer which does what none does by itself.
#
# The C module loses both handshakes when initiations cross. With it, the times are shown and not
# checked.
#
# guests: 1
# clock: instructions
# timeout: 900

. "$(dirname "$0")/../lib/lib.sh"

# far_link MILLISECONDS: makes both namespaces, joined by a link with that delay in each direction.
far_link() {
	local n
	module_load
	pair_link
	for n in a b; do
		# No round trip of ARP is to be measured.
		ipn $n neigh replace 10.9.0.${NUM[${OTHER[$n]}]} dev eth0 nud permanent lladdr \
			"$(ns ${OTHER[$n]} cat /sys/class/net/eth0/address)"
		ns $n tc qdisc add dev eth0 root netem delay $1ms limit 100000
	done
}

# meet MILLISECONDS ROUNDS INTERVAL: lets both ends begin within 50 ms of each other, again and
# again, with new keys each time. INTERVAL is the milliseconds between two packets, 0 for one packet
# from each end.
meet() {
	local n
	far_link $1
	keys a b
	for n in a b; do wg_new $n; done
	python3 "$HERE/crossing.py" meet $WG_MODULE $1 $2 $3 wg0 wg0
}

t meet_100ms 'over a link of 100 ms, the first packets arrive after three one-way delays'
meet_100ms() { meet 100 20 0; }

t meet_300ms 'over a link of 300 ms, too'
meet_300ms() { meet 300 20 0; }

t busy_100ms 'with 50 packets a second from both ends they do, too, and no packet is lost'
busy_100ms() { meet 100 20 20; }

t busy_300ms 'over a link of 300 ms, too'
busy_300ms() { meet 300 20 20; }

t very_busy 'with 1000 packets a second from both ends they do, too'
very_busy() { meet 100 4 1; }

t meet_go 'with wireguard-go, which loses its own handshake in a crossing, ours is enough'
meet_go() {
	[[ -e /dev/net/tun ]] || modprobe tun
	far_link 100
	keys a b
	wg_new a
	LOG_LEVEL=error bg b wireguard-go --foreground go0 > /dev/null 2>&1
	wait_for 'wireguard-go answers' ns b wg show go0
	ns b wg set go0 listen-port $PORT
	ipn b addr add 10.8.0.2/24 dev go0
	ipn b link set go0 up
	python3 "$HERE/crossing.py" meet $WG_MODULE 100 20 0 wg0 go0
}

# scripted NAME: makes a namespace with a wg0, and runs that part of crossing.py in it.
scripted() {
	[[ $WG_MODULE == rust ]] || skip 'the C module loses its handshake in a crossing'
	module_load
	module_debug
	sysctl -q net.core.message_cost=0	# the log limits no message
	ns_add a
	keys a
	wg_new a
	ns a python3 "$HERE/crossing.py" "$1" "${KEY[a]}"
}

t rekey 'new keys after 120 seconds lose no packet if both ends ask for them together'
rekey() { scripted rekey; }

t held_back 'an initiation that was held back disturbs no handshake when it is released'
held_back() { scripted held_back; }

t late 'a response that was held back takes no newer session away when it is released'
late() { scripted late; }

t put_off 'an initiation that may not be sent yet is sent as soon as it may be'
put_off() { scripted put_off; }

run "$@"
