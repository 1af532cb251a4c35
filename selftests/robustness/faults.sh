#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The surroundings of a tunnel fail while it carries traffic: processors, links, routes, the clock,
# the room in queues, and the machine itself, which goes to sleep. Every packet arrives unchanged or
# is lost and counted, and traffic goes on.
#
# The tests are in faults.py, which sees both ends of the tunnel. Failing allocations are tested in
# failslab.sh.
#
# guests: 1
# kernels: stock kasan
# kasan: hotplug
# timeout: 400
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

faults() {
	pair
	python3 "$HERE/faults.py" "$1"
}

t hotplug 'a processor goes offline and online: no datagram is lost, and streams go on'
hotplug() {
	[[ -e /sys/devices/system/cpu/cpu1/online ]] || skip 'there is no processor to take away'
	faults hotplug
}

t lossy 'links lose, reorder, duplicate and corrupt datagrams: data arrives unchanged, and once'
lossy() { faults lossy; }

t clocks 'the time of day jumps: sessions go on, and an initiation from the past makes no session'
clocks() { faults clocks; }

t queues 'full queues of all kinds: packets that do not fit are counted, and no others are lost'
queues() { faults queues; }

t links 'links, addresses and routes outside come and go: streams go on'
links() { faults links; }

t asleep 'the machine begins to sleep in the middle of traffic'
asleep() {
	modprobe -q pm-notifier-error-inject priority=-1 ||
		skip 'this kernel has no means to stop a suspend'
	faults asleep
}

run "$@"
