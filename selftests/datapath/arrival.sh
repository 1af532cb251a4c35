#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# How datagrams arrive at a tunnel: past a cgroup's filter, in order, and joined by GRO.
#
# guests: 1
# timeout: 240

. "$(dirname "$0")/../lib/lib.sh"

CGROUPS=/tmp/cgroups

t cgroup 'a tunnel receives although it was set up in a cgroup that may not receive'
cgroup() {
	local n group=$CGROUPS/tunnel
	mkdir -p $CGROUPS
	mountpoint -q $CGROUPS || mount -t cgroup2 none $CGROUPS
	mkdir -p $group
	python3 "$HERE/arrival.py" deny $group
	pair_link
	keys a b
	(
		echo $BASHPID > $group/cgroup.procs
		for n in a b; do
			wg_new $n
			wg_peer $n endpoint "$(outer ${OTHER[$n]} 4)":$PORT
		done
		# The filter works: a ping outside the tunnel gets no answer.
		must_fail ns a ping -q -c 1 -W 1 10.9.0.2
	)
	ping_both
	rmdir $group
}

t in_order \
	'datagrams that one CPU receives stay in order while another receives for the same socket'
in_order() {
	local count=$((8000 / SLOW)) receiver
	pair_link
	keys b
	wg_new b
	bg b python3 "$HERE/arrival.py" in_order $count > /tmp/arrived; receiver=$BG
	wait_for 'the receiver listens' grep -q ready /tmp/arrived
	coproc PEERS { ns a python3 "$HERE/arrival.py" two_flows "${PUB[b]}" $PORT $count; }
	sed '/^#/q' <&${PEERS[0]} > /tmp/peers
	ns b wg addconf wg0 /tmp/peers
	echo >&${PEERS[1]}
	wait $PEERS_PID
	wait $receiver
	cat /tmp/arrived
}

# card NAMESPACE DEVICE: makes DEVICE behave like a network card: it cuts up aggregates that leave,
# and GRO joins datagrams that arrive. (A veth joins only if the other end has no TSO.)
card() { ns $1 ethtool -K $2 tx-udp-segmentation off tso off gro on; }
# datagrams NAMESPACE: how many datagrams eth0 has received. count_walks NAMESPACE: adds a rule that
# counts the walks of the IP stack that these took. walks NAMESPACE: prints that count.
datagrams() { ns $1 cat /sys/class/net/eth0/statistics/rx_packets; }
count_walks() { ns $1 nft 'add table inet w; add chain inet w p { type filter hook input priority 0; }; add rule inet w p udp dport 51820 counter'; }
walks() { ns $1 nft -j list table inet w | grep -o '"packets": *[0-9]*' | grep -o '[0-9]*'; }

t kept_together \
	'datagrams of a flow that a network card receives walk the stack together, IPv4 and IPv6'
kept_together() {
	[[ $WG_MODULE == rust ]] || skip 'the C module has no GRO of its own'
	local family before_datagrams before_walks datagrams walks
	pair
	card a eth0
	card b eth0
	count_walks b
	for family in 4 6; do
		ns a wg set wg0 peer "${PUB[b]}" endpoint "$(outer b $family)":$PORT
		ping_both
		before_datagrams=$(datagrams b) before_walks=$(walks b)
		iperf a 10.8.0.2 -n 6M > /dev/null
		datagrams=$(($(datagrams b) - before_datagrams))
		walks=$(($(walks b) - before_walks))
		note "IPv$family: $datagrams datagrams, $walks walks"
		# iperf3 ends when all is written. Of that, a slow tunnel never sends what waits in
		# the socket.
		((datagrams > 1500))
		((walks * 3 < datagrams))
	done
	# With aggregation switched off, each datagram walks alone.
	if [[ -e /sys/module/wireguard/parameters/aggregate_rx ]]; then
		echo N > /sys/module/wireguard/parameters/aggregate_rx
		before_datagrams=$(datagrams b) before_walks=$(walks b)
		iperf a 10.8.0.2 -n 2M > /dev/null
		datagrams=$(($(datagrams b) - before_datagrams))
		walks=$(($(walks b) - before_walks))
		echo Y > /sys/module/wireguard/parameters/aggregate_rx
		note "switched off: $datagrams datagrams, $walks walks"
		((walks * 100 > datagrams * 95))
	fi
}

# router: makes a router r between a and b that has a tunnel of its own on the same port.
router() {
	local n
	ns_add a b r
	for n in a b; do
		ip link add eth0 netns ${NS}$n type veth peer name to-$n netns ${NS}r
		ipn $n addr add 10.9.${NUM[$n]}.2/24 dev eth0
		ipn $n addr add fd09:${NUM[$n]}::2/64 dev eth0 nodad
		ipn r addr add 10.9.${NUM[$n]}.1/24 dev to-$n
		ipn r addr add fd09:${NUM[$n]}::1/64 dev to-$n nodad
		ipn $n link set eth0 up
		ipn r link set to-$n up
		ipn $n route add default via 10.9.${NUM[$n]}.1
		ipn $n route add default via fd09:${NUM[$n]}::1
	done
	ns r sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	keys a b r
	for n in a b; do
		wg_new $n
	done
	ipn r link add wg0 type wireguard
	# Its peer is an end of the others' tunnel: what that sends could be taken for the router's.
	ns r wg set wg0 private-key <(echo "${KEY[r]}") listen-port $PORT peer "${PUB[a]}"
	ipn r link set wg0 up
}
# wrong_checksums NAMESPACE: how many datagrams it has dropped for their checksums.
wrong_checksums() {
	ns $1 nstat -asz UdpInCsumErrors Udp6InCsumErrors IpInCsumErrors |
		awk '/Csum/ { sum += $2 } END { print sum + 0 }'
}

t passing_by \
	'a router with a tunnel on the same port forwards datagrams unchanged, also through NAT'
passing_by() {
	local family end kind
	router
	for kind in plain checksums translated; do
		case $kind in
		checksums)	# Computed before datagrams leave, checked where they arrive.
			ns a ethtool -K eth0 tx off
			ns b ethtool -K eth0 rx off tx off
			ns r ethtool -K to-a rx off
			ns r ethtool -K to-b tx off ;;
		translated)
			ns r nft 'add table inet t; add chain inet t p { type nat hook postrouting priority 100; }; add rule inet t p oifname b udp dport 51820 masquerade to :40000-50000' ;;
		esac
		card a eth0
		card r to-a
		card r to-b
		ns r ethtool -K to-b tx-gso-list off
		for family in 4 6; do
			if [[ $family == 4 ]]; then end=10.9.2.2; else end='[fd09:2::2]'; fi
			wg_peer a endpoint $end:$PORT
			wg_peer b
			ping_ok a 10.8.0.2
			note "$kind, IPv$family:" "$(iperf a 10.8.0.2 -n 6M -f m |
				awk '/sender/ { print $7, $8, "sent again:", $9 }')"
			ping_both
		done
	done
	[[ $(wrong_checksums b) == 0 && $(wrong_checksums r) == 0 ]]
	# The router's own tunnel took nothing and answered nothing.
	[[ $(ns r wg show wg0 transfer) == "${PUB[a]}"$'\t0\t0' ]]
}

run "$@"
