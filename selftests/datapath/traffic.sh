#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The traffic of a tunnel: the packets it carries and those it drops, their form outside, and the
# messages that the module sends by itself.
#
# guests: 1
# architectures: amd64 arm64
# kernels: stock kasan kcsan
# kasan: garbage cookie roaming_busy new_psk
# kcsan: first_packets order
# timeout: 1200
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

wire() { python3 -m wgtest.wire "$@"; }
# restart NAMESPACE…: ends the sessions of wg0 there: an interface that goes down forgets its keys.
restart() {
	local n
	for n; do
		ipn $n link set wg0 down
		ipn $n link set wg0 up
		# An interface that goes down loses its IPv6 addresses.
		ipn $n addr replace fd08::${NUM[$n]}/64 dev wg0
	done
}
# drop_out NAMESPACE RULE…: drops outgoing packets of the namespace that match.
drop_out() { ns $1 nft "add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o ${*:2} drop"; }

t first_packets 'packets sent before there is a session wait for it, and arrive in order'
first_packets() {
	pair
	bg b timeout 60 python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.8.0.2", 5555))
for _ in range(100):
    print(s.recv(100).decode(), flush=True)' > /tmp/got
	local receiver=$BG
	wait_for 'the receiver listens' listening b udp 5555
	ns a python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(100):
    s.sendto(b"%d" % i, ("10.8.0.2", 5555))'
	wait $receiver
	cmp /tmp/got <(seq 0 99)
}

t both_ways 'pings of both families pass both ways over both families'
both_ways() {
	local n
	pair 4
	ping_both
	for n in a b; do
		wg_peer $n endpoint "$(outer ${OTHER[$n]} 6):$PORT"
	done
	ping_both
	[[ $(wg_endpoint a) == "[fd09::2]:$PORT" && $(wg_endpoint b) == "[fd09::1]:$PORT" ]]
	ns b bash -c 'echo > /dev/udp/10.8.0.1/9'	# what goes one way differs from what comes back
	wait_for 'it has arrived' eval '[[ $(wg_tx b) == $(wg_rx a) ]]'
	(($(wg_tx a) != $(wg_rx a)))
	# Each side received exactly what the other sent, and no error was counted.
	[[ $(wg_tx a) == "$(wg_rx b)" && $(wg_rx a) == "$(wg_tx b)" ]]
	(($(stat a rx_errors) + $(stat b rx_errors) == 0))
	(($(stat a tx_errors) + $(stat b tx_errors) == 0))
}

t order 'a stream of datagrams arrives in the order in which it was sent'
order() {
	pair
	iperf a 10.8.0.2 -u -b 30M -l 300 -k $((10000 / SLOW)) -J --get-server-output > /tmp/json
	python3 - <<-'PY'
	import re
	# iperf3's JSON (no json module here): the count is in the sums of both sides.
	text = open("/tmp/json").read()
	counts = [int(n) for n in re.findall(r'"out_of_order":\s*(\d+)', text)]
	packets = [int(n) for n in re.findall(r'"packets":\s*(\d+)', text)]
	assert max(packets) > 1000, packets
	assert counts and max(counts) == 0, counts
	PY
}

t saturated 'the tunnel still works after both sides have overrun it'
saturated() {
	local pid
	pair
	iperf a 10.8.0.2 -u -b 0 -l 64 -t 2 --bidir > /dev/null
	iperf a 10.8.0.2 -u -b 0 -t 2 --bidir > /dev/null
	ping_both
	iperf a fd08::2 -t 2 -P 4 --bidir > /dev/null
	ping_both
}

t many_peers 'twenty peers of one interface are served concurrently, without loss'
many_peers() {
	local i pids=() hub_pub
	# The request comes from `outside`, so all sockets are there; each interface is made in its
	# own namespace.
	ns_add outside hub
	hub_pub=$(wg genkey > /tmp/hub; wg pubkey < /tmp/hub)
	ip -n ${NS}outside link add wg0 netns ${NS}hub type wireguard
	ns hub wg set wg0 private-key /tmp/hub listen-port 1000
	ipn hub addr add 10.8.0.1/16 dev wg0
	ipn hub link set wg0 up
	for ((i = 1; i <= 20; i++)); do
		ns_add s$i
		wg genkey > /tmp/key
		ip -n ${NS}outside link add wg0 netns ${NS}s$i type wireguard
		ns s$i wg set wg0 private-key /tmp/key listen-port $((1000 + i)) \
			peer "$hub_pub" allowed-ips 10.8.0.1/32 endpoint 127.0.0.1:1000
		ipn s$i addr add 10.8.1.$i/16 dev wg0
		ipn s$i link set wg0 up
		ns hub wg set wg0 peer "$(wg pubkey < /tmp/key)" allowed-ips 10.8.1.$i/32
	done
	for ((i = 1; i <= 20; i++)); do
		bg s$i ping -q -A -c 100 -s 1000 -W 20 10.8.0.1 > /tmp/ping.$i; pids+=($BG)
	done
	for i in "${pids[@]}"; do
		wait $i
	done
	# No peer lost a packet.
	[[ $(grep -l ' 0% packet loss' /tmp/ping.* | wc -l) == 20 ]]
	[[ $(ns hub wg show wg0 latest-handshakes | cut -f 2 | grep -cv '^0$') == 20 ]]
	[[ $(ns hub wg show wg0 endpoints | grep -c 127.0.0.1:10) == 20 ]]
}

t forwarded 'a router forwards TCP through the tunnel both ways, unchanged'
forwarded() {
	pair
	behind_a
	head -c 10000000 /dev/urandom > /tmp/data
	local sides side
	for sides in 'c b 10.8.0.2' 'b c 10.7.0.2'; do
		read -r -a side <<< "$sides"
		bg ${side[1]} ncat --recv-only -l ${side[2]} 5555 > /tmp/got; local receiver=$BG
		wait_for 'the receiver listens' listening ${side[1]} tcp 5555
		ns ${side[0]} timeout 200 ncat --send-only ${side[2]} 5555 < /tmp/data
		wait $receiver
		cmp /tmp/data /tmp/got
	done
	# The router answers a packet that is too big for the tunnel with an ICMP error.
	must_fail ns c ping -c 1 -W 2 -M do -s 1393 10.8.0.2
	ns c ping -c 1 -W 5 -M do -s 1392 10.8.0.2
}

t source_check 'a packet from an inner address that is not its peer'"'"'s is dropped and counted'
source_check() {
	local before
	pair
	ns b wg set wg0 peer "$(printf '%.0sA' {1..42})E=" allowed-ips 10.8.0.77/32,fd08::77/128
	ping_both
	ipn a addr add 10.8.0.77/32 dev wg0	# of another peer
	ipn a addr add 10.8.0.78/32 dev wg0	# of no peer
	ipn a addr add fd08::77/128 dev wg0 nodad
	before=$(stat b rx_packets)
	must_fail ns a ping -c 1 -W 2 -I 10.8.0.77 10.8.0.2
	must_fail ns a ping -c 1 -W 2 -I 10.8.0.78 10.8.0.2
	must_fail ns a ping -c 1 -W 2 -I fd08::77 fd08::2
	wait_for 'b has counted them' eval '(($(stat b rx_errors) == 3))'
	[[ $(stat b rx_frame_errors) == 3 ]]
	# Nor does one pass that arrives together with others of the right source, and behind them.
	ns a tc qdisc add dev eth0 root netem slot 1s
	ns a python3 -c '
import socket
right, wrong = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
right.bind(("10.8.0.1", 0))
wrong.bind(("10.8.0.78", 0))
for _ in range(10):
    right.sendto(b"", ("10.8.0.2", 9))
    wrong.sendto(b"", ("10.8.0.2", 9))'
	wait_for 'b has counted them, too' eval '(($(stat b rx_errors) == 13))'
	ns a tc qdisc del dev eth0 root
	ipn a addr del fd08::77/128 dev wg0	# it would be the source of the next ping
	ping_both
}

t no_way \
	'a packet for no peer, or a peer without an endpoint, is refused with an error and counted'
no_way() {
	pair
	must_fail ns a ping -c 1 -W 2 10.8.0.99 2> /tmp/err
	grep -q 'Required key not available' /tmp/err
	must_fail ns a ping -c 1 -W 2 fd08::99 2> /tmp/err
	grep -q 'Required key not available' /tmp/err
	[[ $(stat a tx_errors) == 2 ]]
	ns a wg set wg0 peer "$(printf '%.0sA' {1..42})E=" allowed-ips 10.8.0.99/32
	must_fail ns a ping -c 1 -W 2 10.8.0.99 2> /tmp/err
	grep -q 'Destination address required' /tmp/err
	[[ $(stat a tx_errors) == 3 ]]
	[[ $(ns a ping -c 1 -W 2 10.8.0.99 2>&1) == \
		*'From 10.8.0.1 icmp_seq=1 Destination Host Unreachable'* ]]
}

t padding 'a packet is padded to a multiple of 16 bytes, but not beyond the MTU'
padding() {
	local size ip
	pair
	ping_ok a 10.8.0.2
	for size in 0 4 5 20 21 1000 1391 1392; do
		capture b /tmp/pcap udp and dst host 10.9.0.2
		CAPTURE_IF=wg0 capture b /tmp/inner 'icmp[0] == 8'
		ns a ping -q -c 1 -W 20 -s $size 10.8.0.2
		capture_end
		# What is delivered has no padding: the file is its header, and one packet behind
		# its own.
		[[ $(wc -c < /tmp/inner) == $((24 + 16 + size + 28)) ]]
		ip=$(((size + 28 + 15) / 16 * 16))
		((ip <= 1420)) || ip=1420
		wire show /tmp/pcap | grep -q " $PORT $PORT $((ip + 32)) 4$"
	done
}

t dsfield 'outside, data has the ECN bits of the inner packet and DSCP 0, handshakes have DSCP AF41'
dsfield() {
	local family
	for family in 4 6; do
		pair $family
		capture b /tmp/pcap "udp port $PORT"
		ns a ping -q -c 1 -W 20 -Q 0xb8 10.8.0.2	# DSCP EF, no ECN
		ns a ping -q -c 1 -W 20 -s 200 -Q 0xba 10.8.0.2	# DSCP EF, ECT(0)
		ns a ping -q -c 1 -W 20 -s 300 -Q 0x01 10.8.0.2	# ECT(1)
		ns a ping -q -c 1 -W 20 -s 400 -Q 0xbb fd08::2	# DSCP EF, CE becomes ECT(0)
		capture_end
		wire show /tmp/pcap > /tmp/shown
		cat /tmp/shown
		[[ $(grep -c ' 148 1$' /tmp/shown) -ge 1 && $(grep -c ' 92 2$' /tmp/shown) -ge 1 ]]
		[[ -z $(grep -E ' (148 1|92 2)$' /tmp/shown | grep -v ' 0x88 ') ]]
		grep -q ' 0x00 17 136 .* 128 4$' /tmp/shown
		grep -q ' 0x02 17 280 .* 272 4$' /tmp/shown
		grep -q ' 0x01 17 376 .* 368 4$' /tmp/shown
		grep -q ' 0x02 17 488 .* 480 4$' /tmp/shown
		ns_del a b
	done
}

t congestion 'congestion marked outside is marked inside, if the inner packet allows it'
congestion() {
	local family ce
	for family in 4 6; do
		pair $family
		ping_both
		# For IPv6 the first two bytes are written as a whole: version, traffic class, and
		# the beginning of the flow label.
		if [[ $family == 4 ]]; then ce='ip ecn set ce'; else ce='@nh,0,16 set 0x6030'; fi
		ns a nft "add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o udp dport $PORT $ce"
		CAPTURE_IF=wg0 capture b /tmp/pcap 'dst host 10.8.0.2 or dst host fd08::2'
		ns a ping -q -c 1 -W 20 -s 100 -Q 0xba 10.8.0.2
		ns a ping -q -c 1 -W 20 -s 200 -Q 0x01 fd08::2
		ns a ping -q -c 1 -W 20 -s 300 -Q 0xb8 10.8.0.2
		capture_end
		wire show /tmp/pcap > /tmp/shown
		cat /tmp/shown
		grep -q ' 0xbb 1 108$' /tmp/shown
		grep -q ' 0x03 58 208$' /tmp/shown
		grep -q ' 0xb8 1 308$' /tmp/shown
		ns_del a b
	done
}

t mark 'every datagram that an interface sends outside has its mark'
mark() {
	pair
	drop_out a udp dport $PORT meta mark != 0x1234
	must_fail ns a ping -q -c 1 -W 2 10.8.0.2
	ns a wg set wg0 fwmark 0x1234
	wait_for 'a session is made' ping_ok a 10.8.0.2
	restart a
	ping_both
	ns a wg set wg0 fwmark 0
	must_fail ns a ping -q -c 1 -W 2 10.8.0.2
}

t replay 'a replayed message is dropped, is not answered and moves no endpoint'
replay() {
	local before after
	pair
	capture b /tmp/pcap "udp and dst host 10.9.0.2"
	ping_ok a 10.8.0.2 5
	capture_end
	[[ $(wire show /tmp/pcap | grep -c ' 1$') -ge 1 ]]
	[[ $(wire show /tmp/pcap | grep -c ' 4$') -ge 5 ]]
	before=$(wg_rx b)
	capture b /tmp/pcap2 "udp and src host 10.9.0.2"
	for _ in 1 2 3; do
		ns a python3 -m wgtest.wire replay /tmp/pcap 4 10.9.0.2 $PORT
		ns a python3 -m wgtest.wire replay /tmp/pcap 1 10.9.0.2 $PORT
	done
	# Handshakes and data have separate queues: when one good message of each has come through,
	# so have the replayed ones before it.
	ping_ok a 10.8.0.2
	restart a
	ping_ok a 10.8.0.2
	capture_end
	# Only the two pings of 128 bytes and the initiation of 148 were accepted, and perhaps a
	# keepalive of 32 that confirms the session.
	after=$(wg_rx b)
	((after - before == 128 + 148 + 128 || after - before == 128 + 148 + 128 + 32))
	[[ $(wire show /tmp/pcap2 | grep -c ' 2$') == 1 ]]
	[[ $(wg_endpoint b) == "10.9.0.1:$PORT" ]]
	ping_both
}

t garbage 'datagrams that only look like messages do no harm and are not answered'
garbage() {
	pair
	ping_both
	capture b /tmp/pcap "udp and src host 10.9.0.2"
	ns a python3 -m wgtest.wire garbage 10.9.0.2 $PORT
	ping_ok a 10.8.0.2
	capture_end
	wire show /tmp/pcap > /tmp/shown
	must_fail grep -v " $PORT $PORT " /tmp/shown
	[[ $(wg_endpoint b) == "10.9.0.1:$PORT" ]]
	ns b python3 -m wgtest.wire garbage fd09::1 $PORT
	ping_both
	[[ $(wg_endpoint a) == "10.9.0.2:$PORT" ]]
}

t cookie 'under a load of handshakes the module demands a cookie, and a peer with a cookie gets in'
cookie() {
	local answers flood
	pair
	ping_both
	ipn a addr add 10.9.0.66/24 dev eth0
	# The initiations are held back, and released together: they pile up, whether the sender or
	# the receiver is faster. The neighbour entry is permanent, because a probe of the neighbour
	# would be held back too.
	ipn a neigh replace 10.9.0.2 lladdr "$(ns b cat /sys/class/net/eth0/address)" dev eth0 \
		nud permanent
	ns a tc qdisc add dev eth0 root plug limit 10000000
	ns a python3 -m wgtest.wire flood "${PUB[b]}" 3000 10.9.0.2 $PORT > /tmp/answers & flood=$!
	wait_for 'all are held back' \
		eval 'ns a tc -s qdisc show dev eth0 | grep -E "backlog .* 3[0-9]{3}p"'
	ns a tc qdisc change dev eth0 root plug release_indefinite
	wait $flood
	ns a tc qdisc del dev eth0 root
	answers=$(< /tmp/answers)
	echo "answers by type: $answers"
	[[ $answers =~ ^3:[0-9]+$ ]]	# cookie replies, and nothing else
	[[ $(wg_endpoint b) == "10.9.0.1:$PORT" ]]
	# A real peer gets in while the load goes on, with the cookie from the reply to its first
	# try.
	(while :; do
		ns a python3 -m wgtest.wire flood "${PUB[b]}" 3000 10.9.0.2 $PORT
	done) & local load=$!
	restart a
	WAIT=120 wait_for 'the peer is in' ns a ping -q -c 1 -W 5 10.8.0.2
	kill $load
	wait $load || true
}

t roaming 'an endpoint follows its peer to another address, port and family'
roaming() {
	pair
	ping_both
	ipn a addr add 10.9.0.111/24 dev eth0
	# This also deletes the second address, if that counts as a secondary of the first.
	ipn a addr del 10.9.0.1/24 dev eth0
	ipn a addr replace 10.9.0.111/24 dev eth0
	ping_ok a 10.8.0.2
	wait_for 'b follows' eval '[[ $(wg_endpoint b) == "10.9.0.111:$PORT" ]]'
	ping_ok b 10.8.0.1
	ns a wg set wg0 listen-port 4444
	ping_ok a 10.8.0.2
	wait_for 'b follows' eval '[[ $(wg_endpoint b) == 10.9.0.111:4444 ]]'
	ping_ok b 10.8.0.1
	ns a wg set wg0 peer "${PUB[b]}" endpoint "[fd09::2]:$PORT"
	ping_ok a 10.8.0.2
	wait_for 'b follows' eval '[[ $(wg_endpoint b) == "[fd09::1]:4444" ]]'
	ping_ok b fd08::1
}

t roaming_busy 'a TCP stream survives repeated changes of its sender'"'"'s listen port'
roaming_busy() {
	local port seen sender receiver
	pair
	rm -f /tmp/{stop,sent,got}
	bg b bash -c 'ncat --recv-only -l 10.8.0.2 5555 | sha256sum > /tmp/got'; receiver=$BG
	wait_for 'the receiver listens' listening b tcp 5555
	# `a` sends again and again. If a side is silent, the other one finds its new port only by
	# the next handshake, up to 15 s later.
	bg a bash -c 'until [[ -e /tmp/stop ]]; do
			head -c 16384 /dev/urandom
			sleep 0.02
		done | tee >(sha256sum > /tmp/sent) | ncat --send-only 10.8.0.2 5555'
	sender=$BG
	for port in {4000..4007}; do
		seen=$(wg_rx b)
		wait_for 'more arrives' eval '(($(wg_rx b) > seen + 50000))'
		ns a wg set wg0 listen-port $port
		wait_for 'b follows' eval '[[ $(wg_endpoint b) == 10.9.0.1:$port ]]'
	done
	touch /tmp/stop
	wait $sender $receiver
	wait_for 'the sum is written' test -s /tmp/sent
	cmp /tmp/sent /tmp/got
	ping_ok a 10.8.0.2
}

t passive_keepalive \
	'a side that only receives sends one keepalive after ten seconds, which is not answered'
passive_keepalive() {
	local a_tx b_tx
	pair
	bg a ncat -u -l 10.8.0.1 5555 > /dev/null; local receiver=$BG
	wait_for 'the receiver listens' listening a udp 5555
	# One ping only: data that arrives while a keepalive is due causes a second one after it.
	ping_ok a 10.8.0.2
	# `a` was the last to receive, and sends a keepalive. Wait until that is over.
	wait_for 'both are silent' eval 'a_tx=$(wg_tx a); b_tx=$(wg_tx b); sleep 12
		[[ $a_tx == $(wg_tx a) && $b_tx == $(wg_tx b) ]]'
	a_tx=$(wg_tx a) b_tx=$(wg_tx b)
	ns b bash -c 'echo > /dev/udp/10.8.0.1/5555'
	wait_for 'a has sent its keepalive' eval '(($(wg_tx a) == a_tx + 32))'
	sleep 12
	(($(wg_tx a) == a_tx + 32))	# once
	(($(wg_tx b) == b_tx + 64))	# the datagram, and no answer to the keepalive
	kill $receiver
}

t persistent_keepalive \
	'a persistent keepalive is sent immediately and every interval, until it is switched off'
persistent_keepalive() {
	local tx
	pair
	wg_peer a persistent-keepalive 1
	wait_for 'a has sent five' eval '(($(wg_rx b) >= 148 + 5 * 32))'
	(($(wg_handshake b) > 0))
	wg_peer a persistent-keepalive off
	sleep 1.5	# one more may be due
	tx=$(wg_tx a)
	sleep 3
	[[ $(wg_tx a) == "$tx" ]]
}

t down_and_up \
	'an interface that goes down forgets its session, and makes a new one when it is up again'
down_and_up() {
	local tx
	pair
	ping_both
	ipn a link set wg0 down
	must_fail ns b ping -q -c 1 -W 2 10.8.0.1
	capture b /tmp/pcap "udp and src host 10.9.0.1"
	restart a
	ping_ok a 10.8.0.2
	capture_end
	[[ $(wire show /tmp/pcap | grep -c ' 148 1$') -ge 1 ]]
	ping_both
	restart b
	ping_ok b 10.8.0.1
}

t new_psk 'a new preshared key is taken up by the next handshake'
new_psk() {
	local psk
	pair
	ping_both
	psk=$(wg genpsk)
	wg_peer a preshared-key <(echo "$psk")
	ping_both	# the session lives on
	restart a
	must_fail ns a ping -q -c 1 -W 3 10.8.0.2
	wg_peer b preshared-key <(echo "$psk")
	wait_for 'a session is made' ns a ping -q -c 1 -W 2 10.8.0.2
	ping_both
}

run "$@"
