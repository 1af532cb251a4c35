# SPDX-License-Identifier: GPL-2.0
#
# Tunnels to measure, the traffic in them, and how a result is written. Sourced after lib.sh.
# VARIANT is what is measured, ROUND the number of the round, PROCESSOR the name of the processor
# for the results, or empty, and WORK a folder for the output of programs.

: "${PROCESSOR:=}" "${WORK:=/tmp}"

say() { echo "# $*"; }
record() { echo "BENCH {$1}"; }

## Tunnels

GO=()	# process ids of wireguard-go
# device a|b NAME VARIANT: makes an interface.
device() {
	if [[ $3 == go ]]; then
		rm -f /run/wireguard/$2.sock	# left by a killed wireguard-go
		bg $1 env LOG_LEVEL=error wireguard-go --foreground $2 &> $WORK/go.log
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

SERVERS=()	# process ids of iperf3
# serve ADDRESS…: starts an iperf3 server in b at each of the addresses there.
serve() {
	local address
	for address; do
		bg b iperf3 -s -B $address &> /dev/null
		SERVERS+=($BG)
		wait_for 'iperf3 listens' listening_at $address
	done
}
listening_at() { [[ -n $(ns b ss -Hltn "src $1:5201") ]]; }

# take_down: ends the programs in the namespaces, and deletes these.
take_down() {
	kill "${SERVERS[@]}" "${GO[@]}"
	wait "${SERVERS[@]}" "${GO[@]}" || true
	SERVERS=() GO=()
	ns_del_all
}

# as_cards FUNCTION [ARGUMENT…]: runs FUNCTION with `cards on`.
as_cards() {
	set_mtu 1420
	cards on
	"$@"
	cards off
}

# client OPTION…: runs an iperf3 client in CLIENT (default: a). When all is sent, iperf3 polls the
# clock until the current report interval is over; the interval is short to keep that out of the
# count.
client() { ns ${CLIENT:-a} iperf3 -c $ADDRESS -J -i 0.1 "$@" 2> $WORK/err; }

## Results

# measured PART UNIT VALUE: records a result.
measured() {
	say "$VARIANT: $1: $3 $2${PROCESSOR:+ ($PROCESSOR)}"
	record "\"part\": \"$1\", \"variant\": \"$VARIANT\", \"round\": $ROUND, \"unit\": \"$2\", \"value\": $3, \"processor\": \"$PROCESSOR\""
}

# rate NAME OPTION…: measures how much iperf3 with these options carries in a second. It runs for
# RATE_TIME seconds, after a first one that does not count. Its output stays in $WORK/out.
rate() {
	ns a iperf3 -c $ADDRESS -J -t ${RATE_TIME:-5} -O 1 "${@:2}" > $WORK/out 2> $WORK/err
	measured $1 $(python3 $HERE/bench.py rate $WORK/out)
}

# round_trips NUMBER [INTERVAL]: sends pings, one at a time, and leaves the sorted milliseconds of
# their round trips in TRIPS.
round_trips() {
	mapfile -t TRIPS < <(ns a ping -i ${2:-0.02} -c $1 $ADDRESS |
		sed -n 's/.*time=\(.*\) ms/\1/p' | sort -n)
}
# percentile PERCENT: prints that percentile of TRIPS.
percentile() { echo ${TRIPS[${#TRIPS[@]} * $1 / 100]}; }
