#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packets that stay together: large packets on their way through the tunnel, aggregates outside, the
# offloads of an interface, and the lengths and checksums of what leaves.
#
# segments.py sends from one end of the tunnel to the other.
#
# guests: 1
# kernels: stock kasan
# kasan: segments forwarded udp_segments threaded
# timeout: 700

. "$(dirname "$0")/../lib/lib.sh"

wire() { python3 -m wgtest.wire "$@"; }

# big NAMESPACE INTERFACE FILE: begins to capture packets there that are longer than any datagram
# outside may be.
big() { CAPTURE_IF=$2 capture $1 $3 greater 1501; }
# how_many FILE: how many packets are in a capture.
how_many() { wire pieces $1 > /tmp/pieces && wc -l < /tmp/pieces; }

t lists 'datagrams leave together through a device that segments, whether or not it takes lists'
lists() {
	[[ $WG_MODULE == rust ]] || skip 'the C module does not aggregate'
	local takes receiver
	pair
	ping_both
	for takes in on off; do
		# ncat refuses the senders of a second run.
		bg b ncat -u -l -k 10.8.0.2 5556 > /dev/null
		receiver=$BG
		wait_for 'the receiver listens' listening b udp 5556
		ns a ethtool -K eth0 tx-scatter-gather-fraglist $takes
		# The first run may still be as the device was before.
		big b eth0 /tmp/between
		ns a python3 "$HERE/segments.py" owners 10.8.0.2
		capture_end
		kill $receiver
		wait $receiver || true
		note "lists $takes: $(how_many /tmp/between) aggregates"
		(($(how_many /tmp/between) > 50))
	done
}

# aggregate tx|rx Y|N: switches aggregation in one direction, in the module that has it.
aggregate() {
	local file=/sys/module/wireguard/parameters/aggregate_$1
	[[ $WG_MODULE != rust ]] || echo $2 > $file
}

t segments 'large TCP packets enter and leave the tunnel in one piece, and are datagrams in between'
segments() {
	local n
	pair
	ping_both
	# Neither end makes aggregates: they would be taken apart again after the capture. On a busy
	# machine acknowledgements form them, too.
	for n in a b; do
		ns $n ethtool -K eth0 tx-udp-segmentation off
	done
	big a wg0 /tmp/into
	big b eth0 /tmp/between
	big b wg0 /tmp/out
	iperf a 10.8.0.2 -n 6M > /dev/null
	iperf a fd08::2 -n 6M > /dev/null
	capture_end
	note "large packets: $(how_many /tmp/into) in, $(how_many /tmp/out) out"
	(($(how_many /tmp/into) > 50))
	(($(how_many /tmp/out) > 0))
	(($(how_many /tmp/between) == 0))
	# Both directions can be switched off.
	ns b ethtool -K wg0 gro off
	ns a ethtool -K wg0 tso off gso off
	big a wg0 /tmp/into
	big b wg0 /tmp/out
	iperf a 10.8.0.2 -n 2M > /dev/null
	capture_end
	(($(how_many /tmp/into) + $(how_many /tmp/out) == 0))
}

t udp_segments 'so do UDP packets that are to be segmented, of both families'
udp_segments() {
	local address
	pair
	ping_both
	for address in 10.8.0.2 fd08::2; do
		bg b timeout 60 python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5555))
got = [s.recv(70000) for _ in range(41)]
assert got == [bytes([i]) * 1000 for i in range(40)] + [b"last" * 25], [len(g) for g in got]' $address
		local receiver=$BG
		wait_for 'the receiver listens' listening b udp 5555
		big a wg0 /tmp/into
		ns a python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_UDP, 103, 1000)
s.sendto(b"".join(bytes([i]) * 1000 for i in range(40)) + b"last" * 25, (sys.argv[1], 5555))' $address
		wait $receiver
		capture_end
		(($(how_many /tmp/into) == 1))
	done
}

t forwarded 'packets that a router joins enter the tunnel in one piece, and arrive unchanged'
forwarded() {
	[[ $WG_MODULE == rust ]] || skip 'the C module takes no packets with lists of buffers'
	local receiver
	pair
	behind_a
	# c sends large packets. On their way to the router a each segment has a buffer of its own,
	# as between machines, and GRO joins them and waits for more.
	ns c ethtool -K eth0 tso off
	ns c sysctl -q net.ipv4.tcp_min_tso_segs=44
	ipn c route change default via 10.7.0.1 initcwnd 100
	ns a ethtool -K eth1 gro on
	ns a bash -c 'echo 20000000 > /sys/class/net/eth1/gro_flush_timeout'
	head -c 4000000 /dev/urandom > /tmp/data
	bg b ncat --recv-only -l 10.8.0.2 5555 > /tmp/got; receiver=$BG
	wait_for 'the receiver listens' listening b tcp 5555
	big a wg0 /tmp/into
	# With a pause after each, so that acknowledgements do not divide what is sent.
	ns c timeout 200 python3 -c '
import socket, time
sock = socket.create_connection(("10.8.0.2", 5555))
with open("/tmp/data", "rb") as data:
    while piece := data.read(60000):
        sock.sendall(piece)
        time.sleep(0.05)'
	wait $receiver
	capture_end
	cmp /tmp/data /tmp/got
	# One buffer has 17 fragments at most. The further segments are a list of buffers.
	note "$(how_many /tmp/into) large packets, $(longer_than 25000 /tmp/into) of them with lists"
	(($(longer_than 25000 /tmp/into) > 30))
}
# longer_than LENGTH FILE: how many packets of a capture are longer.
longer_than() { wire pieces $2 | awk -v l=$1 '$1 > l' | wc -l; }

t aggregate_parameters 'only root may switch aggregation, with any spelling of a bool'
aggregate_parameters() {
	[[ $WG_MODULE == rust ]] || skip 'the C module does not aggregate'
	local name file word
	for name in tx rx; do
		file=/sys/module/wireguard/parameters/aggregate_$name
		modinfo -F parm "$KO" | grep "^aggregate_$name:.*(bool)$"
		[[ $(command stat -c '%a %U' $file) == '644 root' && $(< $file) == Y ]]
		for word in 0 N off; do
			echo $word > $file
			[[ $(< $file) == N ]]
		done
		must_fail bash -c "echo perhaps > $file"
		must_fail setpriv --reuid 65534 --clear-groups bash -c "echo 1 > $file"
		[[ $(< $file) == N ]]
		for word in 1 y on; do
			echo $word > $file
			[[ $(< $file) == Y ]]
		done
	done
	rmmod wireguard
	insmod "$KO" aggregate_tx=N
	[[ $(< /sys/module/wireguard/parameters/aggregate_tx) == N ]]
	rmmod wireguard
	insmod "$KO"
}

t timestamps 'a datagram that asks for a timestamp gets it, also in a burst of others'
timestamps() {
	pair
	ping_both
	bg b ncat -u -l -k 10.8.0.2 9 > /dev/null
	wait_for 'the receiver listens' listening b udp 9
	ns a python3 "$HERE/segments.py" timestamps 10.8.0.2
}

t owners 'a datagram outside belongs to the socket of the packet in it, and to no other socket'
owners() {
	pair
	ping_both
	ns a nft -f - <<-EOF
	table inet t {
		counter long { }
		counter short { }
		counter both { }
		counter others { }
		chain o {
			type filter hook output priority 0
			oifname eth0 udp dport $PORT meta skuid 1001 counter name long return
			oifname eth0 udp dport $PORT meta skuid 1002 counter name short return
			oifname eth0 udp dport $PORT meta skuid 1003 counter name both return
			oifname eth0 udp dport $PORT counter name others
		}
	}
	EOF
	ns a python3 "$HERE/segments.py" owners 10.8.0.2
	wait_for 'the last one has left' eval '[[ $(counted a both) == "800 "* ]]' || true
	note "packets and bytes: long $(counted a long), short $(counted a short)," \
		"two flows $(counted a both), others $(counted a others)"
	[[ $(counted a short) == '100 30000' ]]
	# No two packets that follow each other are of one flow.
	[[ $(counted a both) == "800 $((800 * (1072 + 28)))" ]]
	# However many messages leave in one aggregate: each message has 1,072 bytes, and each
	# packet that the rule counts has 28 bytes of headers.
	local packets bytes
	read -r packets bytes <<< "$(counted a long)"
	((bytes == 800 * 1072 + packets * 28))
}
# counted NAMESPACE COUNTER: prints the packets and bytes of a counter in the table t.
counted() { ns $1 nft list counter inet t $2 | awk '$1 == "packets" { print $2, $4 }'; }

t zero_checksums 'a datagram whose checksum is computed as 0 arrives, also when many leave together'
zero_checksums() {
	pair
	# So the checksums are computed while the datagrams are copied, not by the kernel's
	# function.
	ns a ethtool -K eth0 tx-scatter-gather-fraglist off
	# The datagrams wait for the session, and leave in as few aggregates as possible.
	bg b python3 "$HERE/segments.py" count fd08::2 100 > /tmp/count; local receiver=$BG
	wait_for 'the receiver listens' listening b udp 5556
	wait_for 'the address is there' ns a python3 "$HERE/segments.py" zero fd08::2
	wait $receiver
	[[ $(< /tmp/count) == 100 ]]
}

t inside_mtus 'pings, TCP and UDP pass with any MTU inside, from the smallest to the largest'
inside_mtus() {
	local n
	pair
	for n in a b; do
		ipn $n link set eth0 mtu 65535
		# IPv6 would start again at each MTU large enough for it, and its own packets, for
		# which there is no peer, would count as errors.
		ns $n sysctl -q net.ipv6.conf.wg0.disable_ipv6=1
	done
	ping_ok a 10.8.0.2
	bg b python3 "$HERE/segments.py" serve 10.8.0.2
	wait_for 'the server listens' listening b tcp 5555
	ns a python3 "$HERE/segments.py" mtus 10.8.0.2 ${NS}a ${NS}b
}

t large_segments 'a TCP stream whose segments are longer than 32,704 bytes loses none of them'
large_segments() {
	local mtu n
	pair
	for n in a b; do
		ipn $n link set eth0 mtu 65535
	done
	ping_both
	for mtu in 32680 40000 65472; do
		for n in a b; do
			ipn $n link set wg0 mtu $mtu
		done
		iperf a 10.8.0.2 -n 8M -w 4M > /dev/null
		note "MTU $mtu: $(stat a tx_packets) packets so far, $(stat a tx_dropped) dropped"
		(($(stat a tx_dropped) == 0))
	done
	# A busy machine may make TCP send something again too early.
	note "$(tcp RetransSegs) of $(tcp OutSegs) segments were sent again"
	(($(tcp RetransSegs) * 25 < $(tcp OutSegs)))
}
# tcp NAME: a counter of TCP in namespace a.
tcp() { ns a nstat -az "Tcp$1" | awk '/^Tcp/ { print $2 }'; }

t under_way 'megabytes of datagrams that wait for a link arrive as they were sent'
under_way() {
	local n sent came
	pair
	ping_both
	# TCP sends megabytes at a time: more than there are pages that are used again.
	for n in a b; do
		ns $n sysctl -q net.ipv4.tcp_{r,w}mem='4096 8388608 8388608'
	done
	ipn a route replace 10.8.0.0/24 dev wg0 initcwnd 4000
	ns a tc qdisc add dev eth0 root netem delay 1s rate 16mbit limit 100000
	sent=$(stat a tx_packets) came=$(stat b rx_packets)
	iperf a 10.8.0.2 -n 8M > /dev/null
	wait_for 'all messages have come' all_came $sent $came
	note "$(($(stat a tx_packets) - sent)) messages"
}
# all_came SENT CAME: since these counts, as many messages have come to b, and were authentic, as a
# has sent.
all_came() { (($(stat b rx_packets) - $2 >= $(stat a tx_packets) - $1)); }

t aggregate_tx 'with aggregation switched off, no packet that leaves is longer than a datagram'
aggregate_tx() {
	pair
	ping_both
	ns a nft 'add table inet t; add counter inet t big; add chain inet t o { type filter hook output priority 0; }'
	ns a nft 'add rule inet t o oifname eth0 meta length > 1500 counter name big'
	if [[ $WG_MODULE == rust ]]; then
		iperf a 10.8.0.2 -n 4M > /dev/null
		note "switched on, $(counted a big) packets and bytes were longer"
		[[ $(counted a big) != 0* ]]
		ns a nft reset counter inet t big
	fi
	aggregate tx N
	big a eth0 /tmp/left
	iperf a 10.8.0.2 -n 4M > /dev/null
	iperf a fd08::2 -n 4M > /dev/null
	iperf a 10.8.0.2 -u -b 0 -l 1000 -t 1 > /dev/null
	capture_end
	aggregate tx Y
	[[ $(counted a big) == '0 0' ]]
	(($(how_many_from /tmp/left 10.9.0.1) == 0))
}
# how_many_from FILE ADDRESS: how many packets in a capture come from ADDRESS.
how_many_from() { tcpdump -nr $1 "src host $2" > /tmp/packets && wc -l < /tmp/packets; }

t lengths 'bulk TCP over IPv6 makes no fragment, and no message longer than the MTU and 32 bytes'
lengths() {
	pair 6
	ping_both
	ns a ethtool -K eth0 tx-udp-segmentation off
	capture b /tmp/pcap "dst host fd09::2"
	iperf a 10.8.0.2 -n 1M > /dev/null
	iperf a fd08::2 -n 1M > /dev/null
	capture_end
	wire pieces /tmp/pcap > /tmp/pieces
	must_fail grep -v ' 0 last$' /tmp/pieces
	wire show /tmp/pcap | awk '$NF == 4 { print $(NF - 1) }' | sort -n | uniq -c > /tmp/lengths
	cat /tmp/lengths
	# More than half of them have the greatest length.
	awk '{ n += $1 } END { exit !($2 == 1420 + 32 && $1 > n / 2 && n > 500) }' /tmp/lengths
}

t checksums 'the UDP checksum outside is right, of single packets and of runs, over both families'
checksums() {
	local family
	for family in 4 6; do
		pair $family
		# The checksum is computed before packets leave, so that the capture has it.
		ns a ethtool -K eth0 tx off
		capture b /tmp/pcap "udp and dst host $(outer b $family | tr -d '[]')"
		ping_ok a 10.8.0.2
		ns a ping -q -c 1 -W 20 -s 1001 fd08::2
		iperf a 10.8.0.2 -n 500K > /dev/null
		iperf a fd08::2 -n 500K > /dev/null
		capture_end
		wire checksums /tmp/pcap $PORT > /tmp/checksums
		[[ -z $(grep -v '^right ' /tmp/checksums) ]]
		grep -q '^right 148$' /tmp/checksums
		(($(grep -c '^right 1452$' /tmp/checksums) > 300))
		ns_del a b
	done
}

t offloads 'the tunnel works without offloads, and with offloads switched on again'
offloads() {
	local n
	pair
	for n in a b; do
		ns $n ethtool -K wg0 tx off rx off sg off tso off gso off gro off
	done
	ping_both
	iperf a 10.8.0.2 -n 1M > /dev/null
	iperf b fd08::1 -n 1M > /dev/null
	for n in a b; do
		ns $n ethtool -K wg0 tx on rx on sg on tso on gso on gro on
	done
	iperf a fd08::2 -n 1M > /dev/null
	iperf b 10.8.0.1 -n 1M > /dev/null
	(($(stat a rx_errors) + $(stat b rx_errors) == 0))
	(($(stat a tx_errors) + $(stat b tx_errors) == 0))
}

t threaded 'NAPI can be moved to threads and back while packets flow'
threaded() {
	local n pid
	pair
	ping_both
	bg a ping -q -i 0.02 -c 100 -W 20 10.8.0.2 > /tmp/ping; pid=$BG
	for n in 1 0 1; do
		ns a bash -c "echo $n > /sys/class/net/wg0/threaded"
		ns b bash -c "echo $n > /sys/class/net/wg0/threaded"
		ping_both
		[[ $(ns b cat /sys/class/net/wg0/threaded) == "$n" ]]
	done
	iperf a 10.8.0.2 -n 1M > /dev/null
	iperf b fd08::1 -n 1M > /dev/null
	wait $pid
	grep ' 0% packet loss' /tmp/ping
	ns b bash -c 'echo 0 > /sys/class/net/wg0/threaded'
	ping_both
}

run "$@"
