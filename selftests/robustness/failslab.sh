#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Allocations fail: of each request one after the other, and some of those that the module makes
# while it carries traffic. A request is refused and has changed nothing, or only the first part of
# what it was to change; a packet is dropped and counted; no memory leaks, and everything works when
# there is memory again.
#
# The tests are in failslab.py and failslab_traffic.py.
#
# guests: 1
# kernels: kasan
# append: rcupdate.rcu_expedited=1
# timeout: 400
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

failslab() { python3 "$HERE/failslab.py" "$1"; }
traffic() { pair; python3 "$HERE/failslab_traffic.py" "$1"; }

t load 'loading the module succeeds, or fails and leaves nothing behind'
load() {
	ns_add a
	rmmod wireguard
	failslab load
}

t interface 'an interface is made, or is not; one that is made can always be deleted'
interface() { ns_add a; failslab interface; }

t updown 'an interface comes up, or stays down and has no sockets'
updown() { ns_add a; failslab updown; }

t configure \
	'a configuration is set, or the first part of it; it can always be read and removed'
configure() { ns_add a; failslab configure; }

t move 'an interface moves, or stays where it is, unchanged'
move() { ns_add a b; failslab move; }

t namespace 'a namespace and everything in it can always be deleted'
namespace() { failslab namespace; }

t datagrams 'a packet arrives, or is dropped and counted'
datagrams() { traffic datagrams; }

t retried 'handshakes and keepalives that failed for lack of memory are made later'
retried() { traffic retried; }

t rates 'traffic goes on while 1 or 10 of 100 allocations fail, and afterwards everything works'
rates() { traffic rates; }

run "$@"
