#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Hostile packets, more than 200,000: from outside the tunnel, and from an authentic peer that means
# harm. Traffic of an honest peer of the same interface goes on meanwhile. Only authentic messages
# change counters and state, and by exactly what they must. In the end no more memory is used than
# after a tenth of the packets.
#
# hostile.py has the packets and the results that they must have.
#
# guests: 1
# kernels: stock kasan
# kasan: lengths bits inner bursts
# timeout: 400

LIMIT=2400
. "$(dirname "$0")/../lib/lib.sh"

SENT=/tmp/hostile-sent	# numbers of packets, a line for each test
RUNNING=/tmp/hostile-running
# The part of the packets that is sent: on a debug kernel less than all.
PART=$(awk "BEGIN { print 1 / $SLOW }")
# How many more objects of one kind there may be after a test: fewer than one for a hundred packets.
OBJECTS=300

# attack NAME PART: sends that part of these packets, beside the traffic of the honest peer: a
# stream, of which every byte must come back, and pings.
attack() {
	local stream pings
	touch $RUNNING
	bg a python3 "$HERE/hostile.py" stream 10.8.0.2 $RUNNING; stream=$BG
	bg a ping -q -i 0.1 10.8.0.2 > /dev/null; pings=$BG
	ns b timeout -k 10 $((LIMIT / 2)) \
		python3 "$HERE/hostile.py" "$1" "${KEY[b]}" "$2" > /tmp/attack ||
		{ tail -n 30 /tmp/attack; return 1; }
	rm $RUNNING
	wait $stream
	kill $pings
	wait $pings || true
	cat /tmp/attack
	if [[ $1 != floods ]]; then
		# No queue was full, so nothing is lost, however long it takes.
		wait_for 'every ping is answered' answered
		wait_for 'all has arrived' eval '[[ $(wg_tx a) == $(wg_rx_of b a) ]]'
	fi
	ping_both
}
answered() { [[ $(snmp OutEchos) == $(snmp InEchoReps) ]]; }
# snmp NAME: an ICMP counter in the honest peer's namespace.
snmp() { ns a nstat -az "Icmp$1" | awk '/^Icmp/ { print $2 }'; }
wg_rx_of() { ns $1 wg show wg0 transfer | grep -F "${PUB[$2]}" | cut -f 2; }

# hostile NAME: sends a tenth of these packets, and then all of them.
hostile() {
	pair
	ipn b link set lo mtu 1500
	# A small window keeps the honest stream from filling a queue.
	ns b sysctl -q net.ipv4.tcp_rmem='4096 32768 65536'
	ns a sysctl -q net.ipv4.tcp_rmem='4096 32768 65536'
	if [[ $1 == bits ]]; then
		module_debug
		sysctl -q net.core.message_cost=0
	fi
	bg b ncat -l -k -e /bin/cat 10.8.0.2 5555; local server=$BG
	wait_for 'the echo listens' listening b tcp 5555
	ping_both
	# One ping waits all the time. The kernel rewrites its receive code when the first ping
	# begins and when the last one ends, and an emulated processor that is executing that code
	# does not always survive it.
	bg a ping -q -i 3600 127.0.0.1 > /dev/null; local waiting=$BG
	attack $1 "$(awk "BEGIN { print $PART / 10 }")"
	python3 -m wgtest.memory save /tmp/memory
	attack $1 $PART
	sed -n 's/^sent //p' /tmp/attack >> $SENT
	note "$(tail -n 1 $SENT) packets"
	# Not on a debug kernel: that finds leaks in another way, and keeps freed objects for a
	# while.
	if ((SLOW == 1)); then
		python3 -m wgtest.memory compare /tmp/memory $OBJECTS > /tmp/more ||
			{ cat /tmp/more; return 1; }
		note "more than before: $(< /tmp/more)"
	fi
	kernel_silent
	kill $server $waiting
}

t lengths 'every type of message at every length from 0 to 1600, and long ones in fragments'
lengths() { hostile lengths; }

t bits 'every bit of every field of every message inverted, with the old MACs and with right ones'
bits() { hostile bits; }

t replays 'replays, and counters of every age'
replays() { hostile replays; }

t inner 'authentic messages with packets inside whose headers are false in every way'
inner() { hostile inner; }

t bursts \
	'trains of messages, and of inner segments that do not match; all combinations of ECN bits'
bursts() { hostile bursts; }

t floods 'floods of handshake messages from many sources, with wrong and right MACs and cookies'
floods() { hostile floods; }

t volume 'more than 200,000 packets were sent'
volume() {
	local sum=0 count
	[[ $(cat $SENT 2> /dev/null | wc -l) == 6 ]] || skip 'not all the other tests have run'
	while read -r count; do sum=$((sum + count)); done < $SENT
	note "$sum packets"
	((sum * SLOW > 200000))
}

run "$@"
