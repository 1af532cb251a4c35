#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# There is no memory: for one allocation after the other of each request, and for some of all that the module makes while it
# carries traffic. A request is refused, and has changed nothing or the first part of what it was to change; a packet is dropped
# and counted; nothing is lost, and everything works when there is memory again.
#
# failslab.py and failslab_traffic.py do it.
#
# guests: 1
# kernels: kasan
# append: rcupdate.rcu_expedited=1
# timeout: 400
# memory: 1024

. "$(dirname "$0")/lib.sh"

failslab() { python3 "$HERE/failslab.py" "$1"; }
traffic() { pair; python3 "$HERE/failslab_traffic.py" "$1"; }

t load 'the module is loaded or is not, and nothing of it is left'
load() {
	ns_add a
	rmmod wireguard
	failslab load
}

t interface 'an interface is made or is not, and can be deleted in any case'
interface() { ns_add a; failslab interface; }

t updown 'an interface comes up or stays down, without sockets'
updown() { ns_add a; failslab updown; }

t configure 'a configuration is what was asked for, or the first part of it; and can always be read and removed'
configure() { ns_add a; failslab configure; }

t move 'an interface moves or stays where it is, as it is'
move() { ns_add a b; failslab move; }

t namespace 'a namespace goes with all that is in it'
namespace() { failslab namespace; }

t datagrams 'a packet arrives or is counted'
datagrams() { traffic datagrams; }

t retried 'handshakes and keepalives that there was no memory for are made later'
retried() { traffic retried; }

t rates 'with 1 and 10 of 100 allocations failing there is traffic, and afterwards nothing is amiss'
rates() { traffic rates; }

run "$@"
