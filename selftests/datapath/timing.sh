#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Behaviour that depends on time: keepalives, retries of initiations, the age of keys and cookies, a
# source address that has stopped working, and the number of handshakes allowed in a second.
#
# The guest's clock counts instructions, so waiting takes no real time, and the speed of the machine
# does not matter. timing.py is the other end of the tunnel.
#
# guests: 1
# clock: instructions
# timeout: 300

. "$(dirname "$0")/../lib/lib.sh"

# timing NAME: makes a namespace with a wg0, and runs that part of timing.py in it.
timing() {
	module_debug
	sysctl -q net.core.message_cost=0	# the log limits no message
	ns_add a
	keys a
	wg_new a
	ns a python3 "$HERE/timing.py" "$1" "${KEY[a]}"
}

t keepalive 'a keepalive follows ten seconds after data; unanswered, it causes no initiation'
keepalive() { timing keepalive; }

t burst 'one keepalive, and no more, follows ten seconds after the first of several data messages'
burst() { timing burst; }

t persistent 'a persistent keepalive follows silence in both directions'
persistent() { timing persistent; }

t unanswered 'data without an answer for 15 seconds lead to an initiation from another address'
unanswered() { timing unanswered; }

t given_up 'after 20 tries a handshake is given up, and packets that wait are dropped and counted'
given_up() { timing given_up; }

t initiator 'an initiator renews its keys after 120 seconds, and does not use them after 180'
initiator() { timing initiator; }

t responder 'a responder does not use its keys after 180 seconds, and forgets them after 540'
responder() { timing responder; }

t receiver 'an initiator that only receives renews its keys after 165 seconds'
receiver() { timing receiver; }

t initiations 'a peer may begin 50 handshakes a second'
initiations() { timing initiations; }

t rate 'under load a source with a right cookie has 5 handshakes, and 20 more each second'
rate() { timing rate; }

t sources 'each IPv4 address is a source, and each IPv6 network of /64'
sources() { timing sources; }

t cookies 'a cookie is valid for one address and one port, as long as its secret lives'
cookies() { timing cookies; }

t cookie_sent 'a received cookie is used for 115 seconds'
cookie_sent() { timing cookie_sent; }

run "$@"
