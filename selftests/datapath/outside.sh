#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The surroundings of a tunnel: source addresses, routes, path MTUs and fragments, ICMP, and packets
# to groups or to no host.
#
# guests: 1
# kernels: stock kasan
# kasan: fragments
# timeout: 700

. "$(dirname "$0")/../lib/lib.sh"

wire() { python3 -m wgtest.wire "$@"; }

# heard: has a send a ping, and prints the endpoint at which b sees a.
heard() { ping_ok a 10.8.0.2 >&2; wg_endpoint b; }

# talk_to ADDRESS: has b talk to that address of a, and fails unless a answers from it.
talk_to() {
	wg_peer b endpoint "$1:$PORT"
	ping_ok b 10.8.0.1
	[[ $(heard) == "$1:$PORT" ]]
}

t other_link 'datagrams take the route to the present endpoint, not the one to the endpoint before'
other_link() {
	local mine yours
	pair
	veth a eth1 b eth1 10
	ping_both
	for mine in 10.10.0.1 '[fd10::1]' 10.9.0.1; do
		yours=${mine/1]/2]}
		yours=${yours/%.1/.2}
		wg_peer a endpoint "$yours:$PORT"
		# Both choose the address of the link that the route goes out by.
		[[ $(heard) == "$mine:$PORT" ]]
		[[ $(wg_endpoint a) == "$yours:$PORT" ]]
		ping_ok b 10.8.0.1
	done
}

t sticky4 'an IPv4 answer comes from the address that was talked to, as long as that is possible'
sticky4() { sticky 4 10.9.0.1 10.9.0.50; }

t sticky6 'so does an IPv6 answer'
sticky6() { sticky 6 '[fd09::1]' '[fd09::50]'; }

# sticky 4|6 ADDRESS ANOTHER-ADDRESS: checks from which of these addresses a answers. The first is
# the one it would choose, the second the one that b talks to.
sticky() {
	local family=$1 first=$2 second=$3 plain=${3//[\[\]]/} len=24
	[[ $family == 4 ]] || len=64
	pair $family
	veth a eth1 b eth1 10
	ping_both
	[[ $(heard) == "$first:$PORT" ]]
	ipn a addr add $plain/$len dev eth0 nodad preferred_lft 0
	talk_to $second

	# The address is deleted.
	ipn a addr del $plain/$len dev eth0
	[[ $(heard) == "$first:$PORT" ]]
	ipn a addr add $plain/$len dev eth0 nodad preferred_lft 0

	# The endpoint is configured, even if it is the same.
	talk_to $second
	wg_peer a endpoint "$(outer b $family):$PORT"
	[[ $(heard) == "$first:$PORT" ]]

	# The mark changes: routes may depend on it.
	talk_to $second
	ns a wg set wg0 fwmark 0x77
	[[ $(heard) == "$first:$PORT" ]]
	ns a wg set wg0 fwmark 0

	# The port changes.
	talk_to $second
	ns a wg set wg0 listen-port 4444
	[[ $(heard) == "$first:4444" ]]
	ns a wg set wg0 listen-port $PORT

	# The route takes another interface: for IPv4 that has another source.
	talk_to $second
	if [[ $family == 4 ]]; then
		ipn a route add 10.9.0.2/32 via 10.10.0.2
		[[ $(heard) == "10.10.0.1:$PORT" ]]
		ipn a route del 10.9.0.2/32
	else
		wait_for 'the other link is up' ns a ping -q -c 1 -W 1 fd10::2
		ipn a route add fd09::2/128 via fd10::2
		[[ $(heard) == "$second:$PORT" ]]
		ipn a route del fd09::2/128
	fi

	# After an unanswered initiation, the next one, five seconds later, may have any source.
	talk_to $second
	ipn a link set wg0 down
	ipn a link set wg0 up
	ns b nft 'add table inet t; add chain inet t i { type filter hook input priority 0; }'
	ns b nft "add rule inet t i udp dport $PORT ip${family/4/} saddr $plain drop"
	ns a ping -q -c 1 -W 60 10.8.0.2
	[[ $(wg_endpoint b) == "$first:$PORT" ]]
}

t fragments 'datagrams that do not fit through the link outside go in fragments'
fragments() {
	local family
	for family in 4 6; do
		pair $family
		ipn a link set eth0 mtu 1280
		ipn b link set eth0 mtu 1280
		ping_both
		capture b /tmp/pcap "dst host $(outer b $family | tr -d '[]')"
		ns a ping -q -c 2 -i 0.2 -W 20 -s 1392 -M do 10.8.0.2
		ns a ping -q -c 2 -i 0.2 -W 20 -s 1372 -M do fd08::2
		capture_end
		wire pieces /tmp/pcap > /tmp/pieces
		head -n 20 /tmp/pieces
		[[ $(grep -c '^[0-9]* [1-9][0-9]* last' /tmp/pieces) -ge 4 ]]
		[[ $(grep -c '^[0-9]* 0 more' /tmp/pieces) -ge 4 ]]
		[[ -z $(awk '($2 > 0 || $3 == "more") && $1 > 1280 || $4 == "DF"' /tmp/pieces) ]]
		ns_del a b
	done
}

t narrow_path \
	'so do those that do not fit through a later link: a router cuts up IPv4 and reports IPv6'
narrow_path() {
	local n
	ns_add a b r
	keys a b
	for n in a b; do
		ip link add eth0 netns ${NS}$n type veth peer name to_$n netns ${NS}r
		ipn $n addr add 10.9.${NUM[$n]}.2/24 dev eth0
		ipn $n addr add fd09:${NUM[$n]}::2/64 dev eth0 nodad
		ipn $n link set eth0 up
		ipn r addr add 10.9.${NUM[$n]}.1/24 dev to_$n
		ipn r addr add fd09:${NUM[$n]}::1/64 dev to_$n nodad
		ipn r link set to_$n up
		ipn $n route add default via 10.9.${NUM[$n]}.1
		ipn $n route add default via fd09:${NUM[$n]}::1
		wg_new $n
	done
	ns r sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ipn r link set to_b mtu 1300
	ipn b link set eth0 mtu 1300
	wg_peer b
	wg_peer a endpoint 10.9.2.2:$PORT
	wait_for 'the way is open' ns a ping -q -c 1 -W 1 10.9.2.2
	wait_for 'the way is open' ns a ping -q -c 1 -W 1 fd09:2::2
	ping_both
	capture b /tmp/pcap "dst host 10.9.2.2"
	ns a ping -q -c 1 -W 20 -s 1392 10.8.0.2
	capture_end
	wire pieces /tmp/pcap | grep '^[0-9]* [1-9][0-9]* last'
	wg_peer a endpoint "[fd09:2::2]:$PORT"
	ping_both
	capture b /tmp/pcap "dst host fd09:2::2"
	wait_for 'a has learnt of the narrow link' ns a ping -q -c 1 -W 1 -s 1392 10.8.0.2
	capture_end
	wire pieces /tmp/pcap | grep '^[0-9]* [1-9][0-9]* last'
	iperf a 10.8.0.2 -n 1M > /dev/null
}

# said NAMESPACE TEXT OPTION…: succeeds if ping with these options fails and prints TEXT.
said() {
	must_fail ns $1 ping -c 1 -W 5 "${@:3}" &> /tmp/said
	cat /tmp/said
	grep -qF -- "$2" /tmp/said
}

t too_big 'the sender of a packet that is too big for the tunnel learns its MTU, local or not'
too_big() {
	pair
	ping_both
	behind_a
	said a 'essage too long' -M do -s 1393 10.8.0.2
	said a 'essage too long' -M do -s 1373 fd08::2
	said c 'From 10.7.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1420)' -M do -s 1393 10.8.0.2
	said c 'From fd07::1 icmp_seq=1 Packet too big: mtu=1420' -M do -s 1373 fd08::2
	ns c ping -q -c 1 -W 20 -M do -s 1392 10.8.0.2
	ns c ping -q -c 1 -W 20 -M do -s 1372 fd08::2
	# A route may have a smaller MTU. It bounds the padding as well: 1298 bytes would otherwise
	# be padded to 1312.
	ipn a route add 10.8.0.2/32 dev wg0 mtu 1300
	said a 'essage too long' -M do -s 1273 10.8.0.2
	capture b /tmp/pcap "udp and dst host 10.9.0.2"
	ns a ping -q -c 1 -W 20 -s 1270 10.8.0.2
	capture_end
	wire show /tmp/pcap | grep " $((1300 + 32)) 4$"
}

t unreachable \
	'a sender to an address of no peer gets an ICMP error from the router, also through NAT'
unreachable() {
	pair
	ping_both
	behind_a
	ns a wg set wg0 peer "$(printf '%.0sA' {1..42})E=" allowed-ips 10.8.0.98/32,fd08::98/128
	local where
	for where in plain translated; do
		if [[ $where == translated ]]; then
			ns a nft 'add table inet t; add chain inet t p { type nat hook postrouting priority 100; }; add rule inet t p oifname wg0 masquerade'
			ns b wg set wg0 peer "${PUB[a]}" allowed-ips 10.8.0.1/32,fd08::1/128
			ping_ok c 10.8.0.2
			ping_ok c fd08::2
		fi
		said c 'From 10.7.0.1 icmp_seq=1 Destination Host Unreachable' 10.8.0.99
		said c 'From 10.7.0.1 icmp_seq=1 Destination Host Unreachable' 10.8.0.98
		said c 'From fd07::1 icmp_seq=1 Destination unreachable: Address unreachable' \
			fd08::99
		said c 'From fd07::1 icmp_seq=1 Destination unreachable: Address unreachable' \
			fd08::98
	done
	[[ $(stat a tx_errors) == 8 ]]
}

t link_local 'a link-local address outside keeps its scope, with TCP inside'
link_local() {
	local n link
	pair_link
	keys a b
	# eth1 is another link with the same addresses: only the scope tells the two from each
	# other.
	ip link add eth1 netns ${NS}a type veth peer name eth1 netns ${NS}b
	for n in a b; do
		ipn $n link set eth1 addrgenmode none up
		for link in eth0 eth1; do
			ipn $n -6 addr flush dev $link scope link
			ipn $n addr add fe80::${NUM[$n]}/64 dev $link nodad
		done
		wg_new $n
	done
	wg_peer b
	wg_peer a endpoint "[fe80::2%eth0]:$PORT"
	ping_both
	CAPTURE_IF=eth1 capture a /tmp/pcap udp
	(while sleep 0.05; do wg_endpoint a; wg_endpoint b; done) > /tmp/endpoints & local watch=$!
	iperf a 10.8.0.2 -n 1M > /dev/null
	iperf b fd08::1 -n 1M > /dev/null
	kill $watch
	wait $watch || true
	capture_end
	cmp <(sort -u /tmp/endpoints) <(printf '%s\n' "[fe80::1%eth0]:$PORT" "[fe80::2%eth0]:$PORT")
	nothing_in wire show /tmp/pcap
	# The same address on the other link is another endpoint.
	wg_peer a endpoint "[fe80::2%eth1]:$PORT"
	ping_ok a 10.8.0.2
	[[ $(wg_endpoint b) == "[fe80::1%eth1]:$PORT" ]]
	ping_both
}

t empty 'a keepalive is not seen inside'
empty() {
	local before
	pair
	ping_both
	CAPTURE_IF=wg0 capture b /tmp/pcap
	before=$(stat b rx_packets)
	wg_peer a persistent-keepalive 1
	wait_for 'three keepalives have come' eval '(($(stat b rx_packets) >= before + 3))'
	capture_end
	nothing_in wire show /tmp/pcap
}

t dsfield 'initiations and responses have DSCP AF41; cookie replies, keepalives, data have DSCP 0'
dsfield() {
	module_debug
	sysctl -q net.core.message_cost=0
	ns_add a
	keys a
	wg_new a
	ns a timeout 300 python3 "$HERE/handshakes.py" dsfield "${KEY[a]}"
}

t mark_routes 'the mark of an interface chooses its routes outside, of both families'
mark_routes() {
	local n family
	for family in 4 6; do
		pair $family
		veth a eth1 b eth1 10
		for n in a b; do
			ns $n sysctl -q net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0
		done
		wait_for 'the other link is up' ns a ping -q -c 1 -W 1 fd10::2
		ipn a rule add fwmark 0x77 table 77
		ipn a -6 rule add fwmark 0x77 table 77
		ipn a route add 10.9.0.2/32 via 10.10.0.2 table 77
		ipn a route add fd09::2/128 via fd10::2 table 77
		CAPTURE_IF=eth1 capture b /tmp/pcap udp dst port $PORT
		ping_both
		nothing_in wire show /tmp/pcap
		ns a wg set wg0 fwmark 0x77
		ping_both
		capture_end
		[[ -n $(wire show /tmp/pcap) ]]
		ns_del a b
	done
}

t groups 'multicast, broadcast and link-local packets go to the peer that has their address'
groups() {
	local n
	module_debug
	sysctl -q net.core.message_cost=0
	pair
	ping_both
	for n in a b; do
		ipn $n addr add fe80::${NUM[$n]}/64 dev wg0 nodad
	done
	# At first no peer has these addresses. The stack also sends packets of its own to such
	# addresses, so the test does not count.
	must_fail ns a ping -c 1 -W 1 -I wg0 224.0.0.1
	must_fail ns a ping -c 1 -W 1 -b 10.8.0.255
	ns a ping -c 1 -W 1 -I wg0 ff02::1 || true	# ping hears its own packet
	must_fail ns a ping -c 1 -W 1 fe80::2%wg0
	for n in '224\.0\.0\.1' '10\.8\.0\.255' 'ff02:[0:]*:0*1' 'fe80:[0:]*:0*2'; do
		dmesg | grep "wireguard: wg0: No peer has allowed IPs matching $n$"
	done
	ns a wg set wg0 peer "${PUB[b]}" \
		allowed-ips +224.0.0.0/4,+10.8.0.255/32,+255.255.255.255/32,+ff00::/8,+fe80::2/128
	ns b wg set wg0 peer "${PUB[a]}" allowed-ips +fe80::1/128
	CAPTURE_IF=wg0 capture b /tmp/pcap \
		'dst host 224.0.0.1 or dst host 10.8.0.255 or dst host ff02::1 or dst host fe80::2'
	ns a ping -q -c 1 -W 1 -I wg0 224.0.0.1 || true	# an answer is not required
	ns a ping -q -c 1 -W 1 -b 10.8.0.255 || true
	ns a ping -q -c 1 -W 1 -I wg0 ff02::1 || true
	capture_end
	ns b wg set wg0 peer "${PUB[a]}" allowed-ips +fe80::1/128
	ping_ok a fe80::2%wg0
	wire show /tmp/pcap > /tmp/shown
	cat /tmp/shown
	for n in '10.8.0.1 224.0.0.1' '10.8.0.1 10.8.0.255' ' ff02::1'; do
		grep -qF "$n" /tmp/shown
	done
}

t loop 'a tunnel that is routed into itself comes to rest'
loop() {
	local before now=0
	pair
	ping_both
	ns a wg set wg0 peer "${PUB[b]}" allowed-ips +10.9.0.2/32
	before=$(stat a tx_bytes)
	ipn a route add 10.9.0.2/32 dev wg0
	must_fail ns a ping -q -c 1 -W 1 10.8.0.2
	wait_for 'it is at rest' \
		eval 'now=$(stat a tx_bytes); sleep 0.5; [[ $(stat a tx_bytes) == "$now" ]]'
	note "$((now - before)) bytes were sent, $(stat a tx_packets) packets," \
		"$(stat a tx_errors) errors, $(stat a tx_dropped) dropped"
	((now - before < 70000))
	ipn a route del 10.9.0.2/32 dev wg0
	wait_for 'the tunnel is back' ns a ping -q -c 1 -W 2 10.8.0.2
	ping_both
}

t no_ipv6 'with IPv6 switched off outside, a tunnel over IPv4 carries both families'
no_ipv6() {
	pair_link
	keys a b
	ns a sysctl -q net.ipv6.conf.eth0.disable_ipv6=1
	wg_new a
	wg_new b
	wg_peer a endpoint "[fd09::2]:$PORT"
	wg_peer b
	must_fail ns a ping -q -c 1 -W 2 10.8.0.2
	wg_peer a endpoint 10.9.0.2:$PORT
	wait_for 'a session is made' ns a ping -q -c 1 -W 2 10.8.0.2
	ping_both
}

run "$@"
