#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What traffic costs with the kernel's own module, with ours, with wireguard-go and without a
# tunnel. scripts/bench.sh boots the guests that this runs in, and makes tables of its output:
#
#     bench.sh count PART…    has the instructions counted that each PART takes
#     bench.sh time PART…     measures rates, times and memory by the clock; the results name the
#                             processor given in PROCESSOR
#
# A line `# …` is for people; `SYMBOLS …` and `BENCH {JSON}` are for scripts/bench/report.py.
#
# Both ends are in one guest, so all variants have the same kernel, tools and settings. The variants
# take turns in the order of ROUNDS: the C module is first and last.

. "$(dirname "$0")/../lib/lib.sh"
. "$HERE/traffic.sh"

: "${ROUNDS:=c rust go none rust c}"

# use VARIANT: loads the module that VARIANT names, if it names one.
use() {
	case $1 in
	go) modprobe tun ;;
	c | rust) module_use $1 > /tmp/prove || { cat /tmp/prove; return 1; } ;;
	esac
}

# eight_tunnels: makes eight more tunnels, with an iperf3 server in each.
eight_tunnels() {
	local i
	((TUNNELS < 8)) || return 0
	for i in {1..8}; do
		tunnel $i $VARIANT
		serve 10.8.$i.2
	done
	TUNNELS=8
}

# router_up VARIANT: as set_up, with a client in c, behind the router a. The addresses on their link
# are 10.10.0.1 and 10.10.0.2.
router_up() {
	local n
	set_up $1
	ns_add c
	ip link add eth0 netns ${NS}c type veth peer name lan netns ${NS}a
	ipn a addr add 10.10.0.1/24 dev lan
	ipn a link set lan up
	ipn c addr add 10.10.0.2/24 dev eth0
	ipn c link set eth0 up
	ipn c route add default via 10.10.0.1
	ns a sysctl -q net.ipv4.ip_forward=1
	ns a iptables -t nat -A POSTROUTING -o ${DEVICE[a]} -j MASQUERADE
	ns a iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
	cards on
	for n in 'a lan' 'c eth0'; do
		ns ${n% *} ethtool -K ${n#* } tx-udp-segmentation off tso off gro on
	done
	wait_for 'the router forwards' ns c ping -c 1 -W 5 $ADDRESS
}

## A thousand peers

PEERS=1000 MORE_PEERS=500

# farm_up: makes one interface, wg1, in b, and starts one program in a that is all of its peers.
# `farm COMMAND…` has the program execute a command, and leaves its answer in FARM_SAID.
farm_up() {
	local limit
	# By default a link takes no more than 1000 packets at a time.
	sysctl -q net.core.netdev_max_backlog=100000
	pair_link
	keys b
	ipn b link add wg1 type wireguard
	ipn b addr add 10.8.0.2/24 dev wg1
	ns b wg set wg1 private-key <(echo "${KEY[b]}") listen-port $PORT
	ipn b link set wg1 up
	ipn b route add 10.7.0.0/16 dev wg1
	rm -f /tmp/farm.in /tmp/farm.out
	mkfifo /tmp/farm.in /tmp/farm.out
	NS=$NS python3 $HERE/bench_peers.py "${PUB[b]}" $PORT $((PEERS + MORE_PEERS)) \
		< /tmp/farm.in > /tmp/farm.out &
	FARM_PID=$!
	exec 7> /tmp/farm.in 8< /tmp/farm.out
	read -r -u 8
	ns b wg addconf wg1 /tmp/peers
	CONNECTED=0
}
farm_down() {
	kill $FARM_PID
	wait $FARM_PID || true
	ns_del_all
}
farm() {
	echo "$@" >&7
	read -r -u 8 FARM_SAID || { echo 'the program with the peers has ended'; return 1; }
}
farm_before() { :; }
farm_units() { echo ${!#}; }
# all_connected: connects peers until PEERS of them are connected.
all_connected() {
	((CONNECTED >= PEERS)) || farm connect $((PEERS - CONNECTED))
	CONNECTED=$PEERS
}
# opens MICROSECONDS: packets that a sends wait on the link, and are delivered together at this
# interval, as network cards deliver them.
opens() { ns a tc qdisc replace dev eth0 root netem limit 100000 slot ${1}us ${1}us; }
opens_always() { ns a tc qdisc del dev eth0 root; }

## Counting

mark() {
	echo $1 >&${MARKERS[1]}
	read -r <&${MARKERS[0]}
}

INTERVALS=0	# counted so far
# counted PART UNIT SMALL BIG COMMAND…: has the instructions counted that COMMAND takes, with SMALL
# and with BIG, two amounts, as its last argument. The difference of the two is free of work that
# does not depend on the amount. Before each run, COMMAND_before prints a reading, which is kept in
# $BEFORE. After it, COMMAND_units prints how many units the run really had, from $BEFORE and from
# the output of COMMAND in /tmp/out.
counted() {
	local part=$1 unit=$2 amount units done=() more=()
	# Not counted: it sets up everything that the first packets of a connection need.
	"${@:5}" $3 > /tmp/out
	for amount in $3 $4; do
		BEFORE=$(${5}_before | xargs)
		mark begin
		"${@:5}" $amount > /tmp/out
		mark end
		INTERVALS=$((INTERVALS + 1))
		units=$(${5}_units "${@:6}" $amount | xargs)
		done+=(${units%% *})
		more+=("[${units// /, }]")
	done
	say "$VARIANT: $part"
	record "\"part\": \"$part\", \"variant\": \"$VARIANT\", \"round\": $ROUND, \"unit\": \"$unit\", \"symbols\": \"$ROUND\",
		\"intervals\": [$((INTERVALS - 1)), $INTERVALS], \"units\": [${done[0]}, ${done[1]}], \"more\": [${more[0]}, ${more[1]}]" | tr -d '\n\t'
	echo
}

# flow OPTION… -n AMOUNT: a TCP flow. Data still under way when iperf3 ends arrives during the
# sleep, which takes no instructions.
flow() { client "$@"; sleep 0.5; }
# The units of a flow are the bytes of TCP data that arrived, whether or not a program has read
# them. They come from the interface's counters, less the overhead of each packet: 20 bytes of IPv4
# header and 32 of TCP header, and with a kernel module the 32 bytes that a message adds to its
# packet, which both modules count as received.
flow_before() { received b ${DEVICE[b]}; }
flow_units() { arrived b ${DEVICE[b]}; python3 $HERE/bench.py iperf /tmp/out; }
# received NAMESPACE DEVICE…: prints the bytes and the packets that the devices have received.
received() {
	local device bytes=0 packets=0 statistics
	for device in "${@:2}"; do
		statistics=/sys/class/net/$device/statistics
		bytes=$((bytes + $(ns $1 cat $statistics/rx_bytes)))
		packets=$((packets + $(ns $1 cat $statistics/rx_packets)))
	done
	echo $bytes $packets
}
# arrived NAMESPACE DEVICE…: prints the bytes of TCP data that the devices have received since
# $BEFORE.
arrived() {
	local bytes packets now_bytes now_packets head=52
	[[ $VARIANT != c && $VARIANT != rust ]] || head=84
	read -r bytes packets _ <<< "$BEFORE"
	read -r now_bytes now_packets < <(received "$@")
	echo $((now_bytes - bytes - head * (now_packets - packets)))
}

# datagrams BYTES RATE NUMBER: sends NUMBER datagrams with that many bytes of data.
datagrams() { client -u -l $1 -b $2 -k $3; }
datagrams_before() { :; }
datagrams_units() { python3 $HERE/bench.py iperf /tmp/out; }

pings() { ns a ping -q -i 0.01 -c $1 $ADDRESS; }
pings_before() { :; }
pings_units() { sed -n 's/.* \([0-9]*\) received.*/\1/p' /tmp/out; }

count_tcp1() { set_mtu 1420; counted tcp1 byte 1M 9M flow -n; }
count_tcp8() { set_mtu 1420; counted tcp8 byte 4M 16M flow -P 8 -n; }
count_tcp1_big() { set_mtu 8920; counted tcp1_big byte 1M 17M flow -n; }
count_tcp8_big() { set_mtu 8920; counted tcp8_big byte 4M 20M flow -P 8 -n; }
count_tcp1_plain() {
	set_mtu 1420
	segmentation off
	counted tcp1_plain byte 1M 9M flow -n
	segmentation on
}
count_tcp1_nic() { as_cards counted tcp1_nic byte 1M 9M flow -n; }
count_tcp8_nic() { as_cards counted tcp8_nic byte 4M 16M flow -P 8 -n; }
# The client is behind a, which is a router that masquerades. Both of its links are as between
# machines. Everything in the three namespaces is counted.
count_forward_nic() {
	set_mtu 1420
	counted forward_nic byte 1M 9M flow -n
	counted forward_nic_back byte 1M 9M back -n
	counted forward_nic_udp datagram 300 3300 datagrams 1392 0
}
# back OPTION… -n AMOUNT: a TCP flow from b to the client. The client's link has segments with 66
# bytes of Ethernet, IPv4 and TCP headers.
back() { flow -R "$@"; }
back_before() { received c eth0; }
back_units() {
	local bytes packets now_bytes now_packets
	read -r bytes packets <<< "$BEFORE"
	read -r now_bytes now_packets < <(received c eth0)
	echo $((now_bytes - bytes - 66 * (now_packets - packets)))
	python3 $HERE/bench.py iperf /tmp/out
}

# The next three are for a guest with several processors. The cost of wireguard-go is in user mode.
count_spread1() { spread spread1 1M 13M wide -n; }
count_spread8() { spread spread8 2M 14M wide -P 8 -n; }
count_spread_tunnels() {
	[[ $VARIANT != none ]] || return 0
	eight_tunnels
	spread spread_tunnels 256K 1536K eight
}
# spread PART SMALL BIG COMMAND…
spread() {
	[[ $VARIANT != go ]] || return 0
	set_mtu 1420
	counted $1 byte $2 $3 "${@:4}"
}
# wide OPTION… -n AMOUNT: as flow. Of its units, the first are the bytes; then come the segments
# that arrived out of order, and those that were sent again.
wide() { flow "$@"; }
wide_before() { received b ${DEVICE[b]}; disorder; }
wide_units() { arrived b ${DEVICE[b]}; disorder_since; }
# eight AMOUNT: a TCP flow in each of the eight tunnels.
eight() {
	local i pids=()
	for i in {1..8}; do
		ADDRESS=10.8.$i.2 client -n $1 > /tmp/out.$i &
		pids+=($!)
	done
	wait "${pids[@]}"
	sleep 0.5
}
eight_before() { received b wg{3,5,7,9,11,13,15,17}; disorder; }
eight_units() { arrived b wg{3,5,7,9,11,13,15,17}; disorder_since; }
# disorder: prints how many segments b has received out of order so far, and how many a has sent
# again.
disorder() {
	ns b nstat -asz TcpExtTCPOFOQueue | awk '/^TcpExt/ { print $2 }'
	ns a nstat -asz TcpRetransSegs | awk '/^Tcp/ { print $2 }'
}
disorder_since() {
	local bytes packets late again now
	read -r bytes packets late again <<< "$BEFORE"
	now=($(disorder))
	echo $((now[0] - late)) $((now[1] - again))
}

count_udp1400_nic() { as_cards counted udp1400_nic datagram 300 3300 datagrams 1392 0; }
count_udp64() { set_mtu 1420; counted udp64 datagram 300 3300 datagrams 64 0; }
count_udp1400() { set_mtu 1420; counted udp1400 datagram 300 3300 datagrams 1392 0; }
count_ping() {
	set_mtu 1420
	counted ping 'round trip' 30 230 pings
	# On the clock of this guest, an instruction takes a nanosecond.
	round_trips 101 0.01
	measured ping_way instructions $(awk "BEGIN { print $(percentile 50) * 1000000 }")
}

count_handshake() {
	counted handshake_answered handshake 10 60 farm connect
	CONNECTED=$((CONNECTED + 80))
	counted handshake_begun handshake 10 60 farm answer
}
count_peers() {
	all_connected
	opens 500
	counted in_1000 datagram 1000 3000 farm send $PEERS
	counted in_1 datagram 1000 3000 farm send 1
	opens_always
	counted out_1000 datagram 1000 3000 farm receive $PEERS
	counted out_1 datagram 1000 3000 farm receive 1
}

count() {
	# No datagram is lost where it is received. The lost ones would be counted, too.
	sysctl -q net.core.rmem_default=33554432
	coproc MARKERS { exec python3 $HERE/bench.py markers; }
	python3 $HERE/bench.py symbols all all
	mark check
	INTERVALS=1
	record '"interval": 1, "must_be": 20000000'
	rounds count "$@"
}

## Measuring time and memory

time_rtt() {
	set_mtu 1420
	round_trips 20
	round_trips 400
	measured rtt_median ms $(percentile 50)
	measured rtt_p99 ms $(percentile 99)
}
time_rate_tcp1() { set_mtu 1420; rate rate_tcp1; }
time_rate_tcp8() { set_mtu 1420; rate rate_tcp8 -P 8; }
time_rate_udp64() { set_mtu 1420; rate rate_udp64 -u -l 64 -b 0; }
time_rate_udp1400() { set_mtu 1420; rate rate_udp1400 -u -l 1392 -b 0; }
time_rate_tunnels() {
	local i pids=() sum=0
	# Not with wireguard-go: its sixteen processes would share two processors.
	[[ $VARIANT == c || $VARIANT == rust ]] || return 0
	eight_tunnels
	for i in {1..8}; do
		bg a iperf3 -c 10.8.$i.2 -J -t 5 -O 1 > /tmp/out.$i
		pids+=($BG)
	done
	wait "${pids[@]}"
	for i in {1..8}; do
		sum=$(python3 -c 'import sys; print(round(sum(map(float, sys.argv[1:])), 1))' $sum \
			$(python3 $HERE/bench.py rate /tmp/out.$i | cut -d ' ' -f 2))
	done
	measured rate_tunnels Mbit/s $sum
}

time_handshakes() {
	farm flood 20
	farm flood 250
	measured rate_handshakes handshakes/s $FARM_SAID
}
time_rate_peers() {
	all_connected
	opens 1000000
	for peers in $PEERS 1; do
		farm burst $peers 900
		farm burst $peers 900
		measured rate_in_$peers datagrams/s ${FARM_SAID% *}
		measured lost_in_$peers datagrams $((900 - ${FARM_SAID#* }))
	done
	opens_always
}

time_memory() {
	local before after count=2000
	ip link add wg9 type wireguard
	ip link set wg9 up
	wg setconf wg9 <(python3 -m wgtest.scale conf 0 10 0)
	wg setconf wg9 /dev/null
	read -r _ before < <(python3 -m wgtest.memory used)
	wg setconf wg9 <(python3 -m wgtest.scale conf 0 $count 0)
	read -r _ after < <(python3 -m wgtest.memory used)
	measured memory_peer bytes $(((after - before) * 1024 / count))
	ip link del wg9
}

## All of it

# Parts that need farm_up, and parts that need neither farm_up nor set_up.
OF_FARM=' handshake peers handshakes rate_peers '
OF_NOTHING=' memory '
# Parts that need router_up.
OF_ROUTER=' forward_nic '

# rounds count|time PART…: runs the parts with each variant of ROUNDS.
rounds() {
	local what=$1 part pair=() router=() farm=() nothing=()
	shift
	for part; do
		if [[ $OF_FARM == *" $part "* ]]; then
			farm+=($part)
		elif [[ $OF_ROUTER == *" $part "* ]]; then
			router+=($part)
		elif [[ $OF_NOTHING == *" $part "* ]]; then
			nothing+=($part)
		else
			pair+=($part)
		fi
	done
	ROUND=0
	for VARIANT in $ROUNDS; do
		ROUND=$((ROUND + 1))
		TUNNELS=0
		use $VARIANT
		if ((${#pair[@]} > 0)); then
			set_up $VARIANT
			serve $ADDRESS
			for part in "${pair[@]}"; do
				${what}_$part
			done
			take_down
		fi
		if ((${#router[@]} > 0)); then
			router_up $VARIANT
			serve $ADDRESS
			for part in "${router[@]}"; do
				CLIENT=c ${what}_$part
			done
			take_down
		fi
		if [[ $VARIANT == c || $VARIANT == rust ]]; then
			for part in "${nothing[@]}"; do
				${what}_$part
			done
			if ((${#farm[@]} > 0)); then
				farm_up
				for part in "${farm[@]}"; do
					${what}_$part
				done
				farm_down
			fi
		fi
		# Last, as this knows all modules that the round has loaded.
		[[ $what != count ]] || python3 $HERE/bench.py symbols $ROUND modules
	done
}

trap 'ns_del_all' EXIT
set -eE
trap 'echo "bench.sh: line $LINENO failed: $BASH_COMMAND"; cat /tmp/err 2> /dev/null' ERR
case ${1:-} in
count) count "${@:2}" ;;
time) rounds "$@" ;;
*) echo "Usage: bench.sh count|time PART…"; exit 2 ;;
esac
