#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What traffic costs, with the kernel's own module, with ours, with wireguard-go and without a tunnel. scripts/bench.sh boots
# the guests that this runs in, and makes a table of what it prints:
#
#     bench.sh count PART…    has the instructions counted that the work of these parts takes
#
# A line `# …` is for people; `SYMBOLS …` and `BENCH {JSON}` are for scripts/bench/report.py.
#
# Everything is in one guest, so that all have the same kernel, tools and settings, and the modules take turns: the C module is
# first and last.

. "$(dirname "$0")/lib.sh"

: "${ROUNDS:=c rust go none rust c}"

say() { echo "# $*"; }
record() { echo "BENCH {$1}"; }

## Tunnels

# The kernel has the module that VARIANT names, if it is one.
use() {
	case $1 in
	go) modprobe tun ;;
	c | rust) module_use $1 > /tmp/prove || { cat /tmp/prove; return 1; } ;;
	esac
}

# `wg` finds wireguard-go by a socket that is named after the interface, so names differ.
declare -A DEVICE

# set_up VARIANT: two namespaces, and what traffic between them is to go through: DEVICE on each side. ADDRESS is b's in there.
set_up() {
	local n
	pair_link
	if [[ $1 == none ]]; then
		ADDRESS=10.9.0.2 DEVICE=([a]=eth0 [b]=eth0)
		return
	fi
	ADDRESS=10.8.0.2 DEVICE=([a]=wg0 [b]=wg1)
	keys a b
	for n in a b; do
		if [[ $1 == go ]]; then
			rm -f /run/wireguard/${DEVICE[$n]}.sock
			bg $n env LOG_LEVEL=error wireguard-go --foreground ${DEVICE[$n]} &> /tmp/go.log
			wait_for 'wireguard-go answers' ns $n wg show ${DEVICE[$n]}
		else
			ipn $n link add ${DEVICE[$n]} type wireguard
		fi
		ipn $n addr add 10.8.0.${NUM[$n]}/24 dev ${DEVICE[$n]}
		ns $n wg set ${DEVICE[$n]} private-key <(echo "${KEY[$n]}") listen-port $PORT peer "${PUB[${OTHER[$n]}]}" \
			allowed-ips 10.8.0.${NUM[${OTHER[$n]}]}/32 endpoint "$(outer ${OTHER[$n]} 4)":$PORT
		ipn $n link set ${DEVICE[$n]} up
	done
	wait_for 'the tunnel is up' ns a ping -c 1 -W 5 $ADDRESS
}

# set_mtu BYTES: what a packet inside may have; outside there is room for 80 more.
set_mtu() {
	local n
	for n in a b; do
		[[ ${DEVICE[$n]} == eth0 ]] || ipn $n link set eth0 mtu $(($1 + 80))
		ipn $n link set ${DEVICE[$n]} mtu $1
	done
}

serve() {
	bg b iperf3 -s -B $ADDRESS &> /dev/null
	SERVER=$BG
	wait_for 'iperf3 listens' listening b tcp 5201
}

## Counting

mark() {
	echo $1 >&${MARKERS[1]}
	read -r <&${MARKERS[0]}
}

INTERVALS=0
# counted PART UNIT SMALL BIG COMMAND…: has the instructions counted that COMMAND and its last argument, an amount, takes: for a
# small amount and for a big one, so that what does not depend on the amount can be taken away. `units`, a function,
# prints how many units that really were, from what COMMAND has printed.
counted() {
	local part=$1 unit=$2 amount done=()
	# Everything is there that the first packets of a connection need.
	"${@:5}" $3 > /tmp/out
	for amount in $3 $4; do
		mark begin
		"${@:5}" $amount > /tmp/out
		mark end
		INTERVALS=$((INTERVALS + 1))
		done+=("$(units)")
	done
	say "$VARIANT: $part"
	record "\"part\": \"$part\", \"variant\": \"$VARIANT\", \"round\": $ROUND, \"unit\": \"$unit\", \"symbols\": \"$ROUND\",
		\"intervals\": [$((INTERVALS - 1)), $INTERVALS], \"units\": [${done[0]}, ${done[1]}]" | tr -d '\n\t'
	echo
}

# client OPTION… -n AMOUNT
# When all is sent iperf3 looks at its clock until the interval that it reports is over, so that should be a short one.
client() { ns a iperf3 -c $ADDRESS -J -i 0.1 "$@"; }
units() { python3 $HERE/bench.py iperf /tmp/out | cut -d ' ' -f 1; }

count_tcp1() { set_mtu 1420; counted tcp1 byte 1M 25M client -n; }
count_tcp8() { set_mtu 1420; counted tcp8 byte 4M 28M client -P 8 -n; }

count() {
	local part
	coproc MARKERS { exec python3 $HERE/bench.py markers; }
	python3 $HERE/bench.py symbols all all
	ROUND=0
	for VARIANT in $ROUNDS; do
		ROUND=$((ROUND + 1))
		use $VARIANT
		python3 $HERE/bench.py symbols $ROUND modules
		set_up $VARIANT
		serve
		for part; do
			count_$part
		done
		kill $SERVER
		wait $SERVER || true
		ns_del_all
	done
}

trap 'ns_del_all' EXIT
set -eE
trap 'echo "bench.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
"$@"
