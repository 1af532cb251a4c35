#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The datagrams of one flow leave a tunnel in the order in which they were sent, whichever CPUs the
# sender runs on. The device outside has a queue for each CPU, and so keeps only the order of
# packets that one CPU sends.
#
# Other tests look where the work of such a flow is done.
#
# order.py sends from one CPU after another, and counts the datagrams that arrive late. $DATAGRAMS
# is the number sent (default: 100,000), $SEED chooses the sizes, pauses and CPUs (default: 1). A
# million with each module, by hand:
#
#     scripts/boot.sh --cpus 8 --clock instructions --timeout 7200 --module rust -- \
#         env DATAGRAMS=1000000 /selftests/datapath/order.sh
#
# guests: 1
# processors: 8
# clock: instructions
# timeout: 300
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

: "${DATAGRAMS:=100000}" "${SEED:=1}"
CPUS=$(nproc)

# pair_queues: makes a tunnel over devices that have a queue for each CPU. The interfaces are wg0
# (a) and wg1 (b).
pair_queues() {
	local n o i
	declare -A device=([a]=wg0 [b]=wg1)
	ns_add a b
	ip link add eth0 netns ${NS}a numtxqueues $CPUS numrxqueues $CPUS type veth \
		peer name eth0 netns ${NS}b numtxqueues $CPUS numrxqueues $CPUS
	keys a b
	for n in a b; do
		o=${OTHER[$n]}
		ipn $n addr add 10.9.0.${NUM[$n]}/24 dev eth0
		ipn $n link set eth0 up
		# On a device with a single queue there is nothing to choose, and this write would
		# fail.
		for ((i = 0; i < CPUS; i++)); do
			ns $n bash -c \
				"printf '%x' $((1 << i)) > /sys/class/net/eth0/queues/tx-$i/xps_cpus"
		done
		ipn $n link add ${device[$n]} type wireguard
		ipn $n addr add 10.8.0.${NUM[$n]}/24 dev ${device[$n]}
		ns $n wg set ${device[$n]} private-key <(echo "${KEY[$n]}") listen-port $PORT \
			peer "${PUB[$o]}" allowed-ips 10.8.0.${NUM[$o]}/32 \
			endpoint 10.9.0.${NUM[$o]}:$PORT
		ipn $n link set ${device[$n]} up
	done
	wait_for 'the tunnel is up' ns a ping -c 1 -W 5 10.8.0.2
}

# in_order: sends, and checks two orders: first that of the messages outside, which the sender
# makes, then that of the datagrams inside.
in_order() {
	local status=0
	# Packets wait for tcpdump, so that it does not wake up for each. It needs no time here.
	bg b tcpdump -Z root -i eth0 -n -s 80 -B 65536 -w /tmp/outside \
		"udp dst port $PORT and src 10.9.0.1" 2> /tmp/outside.log
	CAPTURES[/tmp/outside]=$BG
	wait_for 'tcpdump listens' grep -q 'listening on' /tmp/outside.log
	python3 "$HERE/order.py" flow $DATAGRAMS $SEED || status=$?
	sleep 2
	capture_end
	python3 "$HERE/order.py" outside /tmp/outside
	return $status
}

t queues 'datagrams stay in order when each CPU has a queue outside with another delay'
queues() {
	local i
	pair_queues
	ns a tc qdisc replace dev eth0 root handle 1: mq
	for ((i = 0; i < CPUS; i++)); do
		ns a tc qdisc replace dev eth0 parent 1:$(printf %x $((i + 1))) \
			netem limit 100000 delay $((i * 2))ms
	done
	in_order
}

# ours: skips the test if the module is not this one.
ours() { [[ $WG_MODULE == rust ]] || skip 'the C module takes all processors in turn'; }

t spread 'a processor that adds a batch to a queue leaves it to another one'
spread() {
	ours
	pair_queues
	python3 "$HERE/order.py" spread
}

t occupied 'a processor that runs no worker keeps a batch waiting once, and is then passed over'
occupied() {
	ours
	pair_queues
	python3 "$HERE/order.py" occupied
}

run "$@"
