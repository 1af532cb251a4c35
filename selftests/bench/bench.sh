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

: "${ROUNDS:=c rust go none rust c}" "${PROCESSOR:=}"

say() { echo "# $*"; }
record() { echo "BENCH {$1}"; }

## Tunnels

# use VARIANT: loads the module that VARIANT names, if it names one.
use() {
	case $1 in
	go) modprobe tun ;;
	c | rust) module_use $1 > /tmp/prove || { cat /tmp/prove; return 1; } ;;
	esac
}

GO=()	# process ids of wireguard-go
# device a|b NAME VARIANT: makes an interface.
device() {
	if [[ $3 == go ]]; then
		rm -f /run/wireguard/$2.sock	# left by a killed wireguard-go
		bg $1 env LOG_LEVEL=error wireguard-go --foreground $2 &> /tmp/go.log
		GO+=($BG)
		wait_for 'wireguard-go answers' ns $1 wg show $2
	else
		ipn $1 link add $2 type wireguard
	fi
}

# tunnel NUMBER VARIANT: makes a tunnel with interfaces and addresses of its own. The addresses are
# 10.8.NUMBER.1 (a) and 10.8.NUMBER.2 (b), the interfaces wg0, wg2, … (a) and wg1, wg3, … (b). No
# two interfaces share a name, because `wg` finds wireguard-go by a socket named after the
# interface.
tunnel() {
	local n o name
	keys a b
	for n in a b; do
		o=${OTHER[$n]} name=wg$((2 * $1 + NUM[$n] - 1))
		device $n $name $2
		ipn $n addr add 10.8.$1.${NUM[$n]}/24 dev $name
		ns $n wg set $name private-key <(echo "${KEY[$n]}") listen-port $((PORT + $1)) \
			peer "${PUB[$o]}" allowed-ips 10.8.$1.${NUM[$o]}/32 \
			endpoint "$(outer $o 4)":$((PORT + $1))
		ipn $n link set $name up
	done
	wait_for 'the tunnel is up' ns a ping -c 1 -W 5 10.8.$1.2
}

declare -A DEVICE

# set_up VARIANT: makes two namespaces and the way between them: DEVICE on each side. ADDRESS is the
# address of b there.
set_up() {
	pair_link
	if [[ $1 == none ]]; then
		ADDRESS=10.9.0.2 DEVICE=([a]=eth0 [b]=eth0)
	else
		ADDRESS=10.8.0.2 DEVICE=([a]=wg0 [b]=wg1)
		tunnel 0 $1
	fi
}

# set_mtu BYTES: sets the MTU inside; outside there is room for 80 bytes more.
set_mtu() {
	local n
	for n in a b; do
		[[ ${DEVICE[$n]} == eth0 ]] || ipn $n link set eth0 mtu $(($1 + 80))
		ipn $n link set ${DEVICE[$n]} mtu $1
	done
}

# segmentation on|off: whether the device outside takes aggregates (on), or only single datagrams,
# as most hardware does (off).
segmentation() {
	local n
	for n in a b; do
		ns $n ethtool -K eth0 tx-udp-segmentation $1
	done
}

# cards on|off: with `on`, the ends behave like two machines: aggregates are cut up before they
# leave, and GRO joins the datagrams that arrive, as network cards and their drivers do. (A veth
# does not join if the other end has TSO.)
cards() {
	local n sender=off
	[[ $1 == on ]] || sender=on
	for n in a b; do
		ns $n ethtool -K eth0 tx-udp-segmentation $sender tso $sender gro $1
	done
}

serve() {
	bg b iperf3 -s -B $ADDRESS &> /dev/null
	SERVER=$BG
	wait_for 'iperf3 listens' listening b tcp 5201
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
		BEFORE=$(${5}_before)
		mark begin
		"${@:5}" $amount > /tmp/out
		mark end
		INTERVALS=$((INTERVALS + 1))
		units=$(${5}_units "${@:6}" $amount)
		done+=(${units%% *})
		more+=("[${units// /, }]")
	done
	say "$VARIANT: $part"
	record "\"part\": \"$part\", \"variant\": \"$VARIANT\", \"round\": $ROUND, \"unit\": \"$unit\", \"symbols\": \"$ROUND\",
		\"intervals\": [$((INTERVALS - 1)), $INTERVALS], \"units\": [${done[0]}, ${done[1]}], \"more\": [${more[0]}, ${more[1]}]" | tr -d '\n\t'
	echo
}

# client OPTION…: runs an iperf3 client. When all is sent, iperf3 polls the clock until the current
# report interval is over; the interval is short to keep that out of the count.
client() { ns a iperf3 -c $ADDRESS -J -i 0.1 "$@" 2> /tmp/err; }

# flow OPTION… -n AMOUNT: a TCP flow. Data still under way when iperf3 ends arrives during the
# sleep, which takes no instructions.
flow() { client "$@"; sleep 0.5; }
# The units of a flow are the bytes of TCP data that arrived, whether or not a program has read
# them. They come from the interface's counters, less the overhead of each packet: 20 bytes of IPv4
# header and 32 of TCP header, and with a kernel module the 32 bytes that a message adds to its
# packet, which both modules count as received.
flow_before() { received; }
flow_units() {
	local bytes packets now_bytes now_packets head=52
	[[ $VARIANT != c && $VARIANT != rust ]] || head=84
	read -r bytes packets <<< "$BEFORE"
	read -r now_bytes now_packets < <(received)
	echo $((now_bytes - bytes - head * (now_packets - packets))) \
		$(python3 $HERE/bench.py iperf /tmp/out)
}
received() { ns b bash -c "echo \$(< /sys/class/net/${DEVICE[b]}/statistics/rx_bytes) \$(< /sys/class/net/${DEVICE[b]}/statistics/rx_packets)"; }

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
# as_cards FUNCTION [ARGUMENT…]: runs FUNCTION with `cards on`.
as_cards() {
	set_mtu 1420
	cards on
	"$@"
	cards off
}
count_tcp1_nic() { as_cards counted tcp1_nic byte 1M 9M flow -n; }
count_tcp8_nic() { as_cards counted tcp8_nic byte 4M 16M flow -P 8 -n; }
count_udp1400_nic() { as_cards counted udp1400_nic datagram 300 3300 datagrams 1392 0; }
count_udp64() { set_mtu 1420; counted udp64 datagram 300 3300 datagrams 64 0; }
count_udp1400() { set_mtu 1420; counted udp1400 datagram 300 3300 datagrams 1392 0; }
count_ping() {
	set_mtu 1420
	counted ping 'round trip' 30 230 pings
	# On the clock of this guest, an instruction takes a nanosecond.
	measured ping_way instructions $(ns a ping -i 0.01 -c 101 $ADDRESS |
		sed -n 's/.*time=\(.*\) ms/\1/p' | sort -n |
		awk '{ time[NR] = $1 } END { print time[int((NR + 1) / 2)] * 1000000 }')
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
	coproc MARKERS { exec python3 $HERE/bench.py markers; }
	python3 $HERE/bench.py symbols all all
	mark check
	INTERVALS=1
	record '"interval": 1, "must_be": 20000000'
	rounds count "$@"
}

## Measuring time and memory

# measured PART UNIT VALUE: records a result.
measured() {
	say "$VARIANT: $1: $3 $2${PROCESSOR:+ ($PROCESSOR)}"
	record "\"part\": \"$1\", \"variant\": \"$VARIANT\", \"round\": $ROUND, \"unit\": \"$2\", \"value\": $3, \"processor\": \"$PROCESSOR\""
}

time_rtt() {
	local all
	set_mtu 1420
	ns a ping -q -i 0.02 -c 20 $ADDRESS > /tmp/out
	mapfile -t all < <(ns a ping -i 0.02 -c 400 $ADDRESS |
		sed -n 's/.*time=\(.*\) ms/\1/p' | sort -n)
	measured rtt_median ms ${all[${#all[@]} / 2]}
	measured rtt_p99 ms ${all[${#all[@]} * 99 / 100]}
}
# rate NAME OPTION…: measures how much iperf3 with these options carries in a second.
rate() {
	ns a iperf3 -c $ADDRESS -J -t 5 -O 1 "${@:2}" > /tmp/out 2> /tmp/err
	measured $1 $(python3 $HERE/bench.py rate /tmp/out)
}
time_rate_tcp1() { set_mtu 1420; rate rate_tcp1; }
time_rate_tcp8() { set_mtu 1420; rate rate_tcp8 -P 8; }
time_rate_udp64() { set_mtu 1420; rate rate_udp64 -u -l 64 -b 0; }
time_rate_udp1400() { set_mtu 1420; rate rate_udp1400 -u -l 1392 -b 0; }
time_rate_tunnels() {
	local i pids=() sum=0
	# Not with wireguard-go: its sixteen processes would share two processors.
	[[ $VARIANT == c || $VARIANT == rust ]] || return 0
	for i in {1..8}; do
		((TUNNELS >= i)) || tunnel $i $VARIANT
		bg b iperf3 -s -1 -B 10.8.$i.2 &> /dev/null
		wait_for 'iperf3 listens' listening_at 10.8.$i.2
	done
	TUNNELS=8
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
listening_at() { [[ -n $(ns b ss -Hltn "src $1:5201") ]]; }

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

# rounds count|time PART…: runs the parts with each variant of ROUNDS.
rounds() {
	local what=$1 part pair=() farm=() nothing=()
	shift
	for part; do
		if [[ $OF_FARM == *" $part "* ]]; then
			farm+=($part)
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
		[[ $what != count ]] || python3 $HERE/bench.py symbols $ROUND modules
		if ((${#pair[@]} > 0)); then
			set_up $VARIANT
			serve
			for part in "${pair[@]}"; do
				${what}_$part
			done
			kill $SERVER "${GO[@]}"
			wait $SERVER "${GO[@]}" || true
			GO=()
			ns_del_all
		fi
		[[ $VARIANT == c || $VARIANT == rust ]] || continue
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
