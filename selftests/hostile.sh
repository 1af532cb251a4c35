#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Hostile packets, more than 200,000: from outside the tunnel, and from a peer that is authentic and means harm. An honest peer of
# the same interface has its traffic all the while. Only authentic messages change anything, by as much as they must, and when
# all is over memory is what it was after a tenth of the same.
#
# What is sent, and what has to come of it, is in hostile.py.
#
# guests: 1
# kernels: stock kasan
# kasan: lengths bits inner bursts
# timeout: 400

. "$(dirname "$0")/lib.sh"

SENT=/tmp/hostile-sent	# by each test
RUNNING=/tmp/hostile-running
# Of as many packets as there are for a kernel that does not watch itself.
PART=$(awk "BEGIN { print 1 / $SLOW }")
# How many objects of one kind there may be more after a test: fewer than one for a hundred packets of all of them.
OBJECTS=300

# attack NAME PART: that part of these packets, beside the honest peer's traffic: a stream, of which every byte has to come back, and
# pings.
attack() {
	local stream pings
	touch $RUNNING
	bg a python3 "$HERE/hostile.py" stream 10.8.0.2 $RUNNING; stream=$BG
	bg a ping -q -i 0.1 10.8.0.2 > /dev/null; pings=$BG
	ns b timeout -k 10 $((LIMIT / 2)) python3 "$HERE/hostile.py" "$1" "${KEY[b]}" "$2" > /tmp/attack || { tail -n 30 /tmp/attack; return 1; }
	rm $RUNNING
	wait $stream
	kill $pings
	wait $pings || true
	cat /tmp/attack
	if [[ $1 != floods ]]; then
		# Where no queue was full nothing is lost, however long it took.
		wait_for 'every ping is answered' answered
		wait_for 'all has arrived' eval '[[ $(wg_tx a) == $(wg_rx_of b a) ]]'
	fi
	ping_both
}
answered() { [[ $(snmp OutEchos) == $(snmp InEchoReps) ]]; }
# A counter of ICMP in the honest peer's namespace.
snmp() { ns a nstat -az "Icmp$1" | awk '/^Icmp/ { print $2 }'; }
wg_rx_of() { ns $1 wg show wg0 transfer | grep -F "${PUB[$2]}" | cut -f 2; }

# hostile NAME: all of these packets, after some of them.
hostile() {
	pair
	ipn b link set lo mtu 1500
	# That the window is small keeps the honest stream from filling a queue.
	ns b sysctl -q net.ipv4.tcp_rmem='4096 32768 65536'
	ns a sysctl -q net.ipv4.tcp_rmem='4096 32768 65536'
	if [[ $1 == bits ]]; then
		module_debug
		sysctl -q net.core.message_cost=0
	fi
	bg b ncat -l -k -e /bin/cat 10.8.0.2 5555; local server=$BG
	wait_for 'the echo listens' listening b tcp 5555
	ping_both
	# A ping that waits all the time: with the first one the kernel rewrites its code for receiving, as it does after the last one,
	# which an emulated processor that is just running through that code does not always survive.
	bg a ping -q -i 3600 127.0.0.1 > /dev/null; local waiting=$BG
	attack $1 "$(awk "BEGIN { print $PART / 10 }")"
	python3 "$HERE/memory.py" save /tmp/memory
	attack $1 $PART
	sed -n 's/^sent //p' /tmp/attack >> $SENT
	note "$(tail -n 1 $SENT) packets"
	# One that watches itself looks for what is lost in another way, and keeps what was freed for a while.
	if ((SLOW == 1)); then
		python3 "$HERE/memory.py" compare /tmp/memory $OBJECTS > /tmp/more || { cat /tmp/more; return 1; }
		note "more than before: $(< /tmp/more)"
	fi
	kernel_silent
	kill $server $waiting
}

t lengths 'every type of message at every length from 0 to 1600, and long ones in fragments'
lengths() { hostile lengths; }

t bits 'every bit of every field of every message turned over, with the MACs that it had and with right ones'
bits() { hostile bits; }

t replays 'replays, and counters of every age'
replays() { hostile replays; }

t inner 'authentic messages with packets inside that lie about everything'
inner() { hostile inner; }

t bursts 'trains of messages, and of segments inside that do not belong together; all combinations of ECN bits'
bursts() { hostile bursts; }

t floods 'floods of handshake messages from many sources, with MACs and cookies wrong and right'
floods() { hostile floods; }

t volume 'more than 200,000 packets were sent'
volume() {
	local sum=0 count
	[[ $(cat $SENT 2> /dev/null | wc -l) == 6 ]] || skip 'not all were to be sent'
	while read -r count; do sum=$((sum + count)); done < $SENT
	note "$sum packets"
	((sum * SLOW > 200000))
}

run "$@"
