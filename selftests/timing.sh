#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The behaviour that depends on time: keepalives, retries of initiations, the age of keys and
# cookies, a source address that has stopped working, and how many handshakes are allowed in a
# second.
#
# The clock of the guest counts instructions: waiting takes no time, and the machine makes no
# difference. The other end of the tunnel is timing.py.
#
# guests: 1
# clock: instructions
# timeout: 300

. "$(dirname "$0")/lib.sh"

# timing NAME: a namespace with a wg0, and that part of timing.py in it.
timing() {
	module_debug
	sysctl -q net.core.message_cost=0	# every message, however many there are
	ns_add a
	keys a
	wg_new a
	ns a python3 "$HERE/timing.py" "$1" "${KEY[a]}"
}

t keepalive 'a keepalive follows ten seconds after data, and no initiation if it stays unanswered'
keepalive() { timing keepalive; }

t persistent 'a persistent keepalive follows on silence in both directions'
persistent() { timing persistent; }

t unanswered 'data without an answer for 15 seconds lead to an initiation from another address'
unanswered() { timing unanswered; }

t given_up 'a handshake is tried 20 times and given up; what waited for it is dropped and counted'
given_up() { timing given_up; }

t initiator 'an initiator renews its keys after 120 seconds, and does not use them after 180'
initiator() { timing initiator; }

t responder 'a responder does not use its keys after 180 seconds, and forgets them after 540'
responder() { timing responder; }

t receiver 'an initiator that only receives renews its keys after 165 seconds'
receiver() { timing receiver; }

t initiations 'a peer may begin 50 handshakes a second'
initiations() { timing initiations; }

t rate 'under load a source has 5 handshakes and 20 more each second, with cookies that are right'
rate() { timing rate; }

t sources 'an IPv4 address is a source of its own, an IPv6 address is one with all of its /64'
sources() { timing sources; }

t cookies 'a cookie is good for one address, one port, and as long as its secret'
cookies() { timing cookies; }

t cookie_sent 'a cookie that was received is used for 115 seconds'
cookie_sent() { timing cookie_sent; }

run "$@"
