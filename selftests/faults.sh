#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is around a tunnel fails while it carries traffic: processors, links, routes, the clock, the room in queues, and the
# machine itself, which goes to sleep. Nothing is carried wrongly, what is lost is counted, and everything goes on.
#
# faults.py does it, with both ends of the tunnel in sight. Memory that runs out is in failslab.sh.
#
# guests: 1
# kernels: stock kasan
# kasan: hotplug
# timeout: 400
# memory: 1024

. "$(dirname "$0")/lib.sh"

faults() {
	pair
	python3 "$HERE/faults.py" "$1"
}

t hotplug 'a processor comes and goes: no datagram is lost, and streams go on'
hotplug() {
	[[ -e /sys/devices/system/cpu/cpu1/online ]] || skip 'there is no processor to take away'
	faults hotplug
}

t lossy 'links lose, reorder, duplicate and corrupt: data are unharmed, and come once'
lossy() { faults lossy; }

t clocks 'the time of day jumps: sessions go on, and what comes from the past makes no new one'
clocks() { faults clocks; }

t queues 'full queues of all kinds: what does not fit is counted, and nothing else is lost'
queues() { faults queues; }

t links 'links, addresses and routes outside come and go: streams go on'
links() { faults links; }

t asleep 'the machine is about to sleep, in the middle of traffic'
asleep() {
	modprobe -q pm-notifier-error-inject priority=-1 || skip 'this kernel has no means to stop a suspend'
	faults asleep
}

run "$@"
