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

t keepalive 'a keepalive follows ten seconds after data; unanswered, it causes no initiation'
keepalive() { scripted keepalive; }

t burst 'one keepalive, and no more, follows ten seconds after the first of several data messages'
burst() { scripted burst; }

t persistent 'a persistent keepalive follows silence in both directions'
persistent() { scripted persistent; }

t unanswered 'data without an answer for 15 seconds lead to an initiation from another address'
unanswered() { scripted unanswered; }

t given_up 'after 20 tries a handshake is given up, and packets that wait are dropped and counted'
given_up() { scripted given_up; }

t initiator 'an initiator renews its keys after 120 seconds, and does not use them after 180'
initiator() { scripted initiator; }

t responder 'a responder does not use its keys after 180 seconds, and forgets them after 540'
responder() { scripted responder; }

t forgotten 'an initiator forgets its keys after 540 seconds, also if nothing is sent any more'
forgotten() { scripted forgotten; }

t receiver 'an initiator that only receives renews its keys after 165 seconds'
receiver() { scripted receiver; }

t initiations 'a peer may begin 50 handshakes a second'
initiations() { scripted initiations; }

t rate 'under load a source with a right cookie has 5 handshakes, and 20 more each second'
rate() { scripted rate; }

t sources 'each IPv4 address is a source, and each IPv6 network of /64'
sources() { scripted sources; }

t cookies 'a cookie is valid for one address and one port, as long as its secret lives'
cookies() { scripted cookies; }

t cookie_sent 'a received cookie is used for 115 seconds'
cookie_sent() { scripted cookie_sent; }

run "$@"
