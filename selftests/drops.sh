#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is not carried: for each reason that a packet may be dropped for, on its way out or in, which counters of the interface
# change and by how much, what the log says, and what the sender is told. No other counter changes, nobody is
# answered who should not be, and no endpoint moves.
#
# The reasons are in drops.py, which is the far end of the tunnel as well.
#
# guests: 1
# kernels: stock kasan
# kasan: datagrams handshakes data window inner overflow removed

. "$(dirname "$0")/lib.sh"

# drops NAME: a namespace with a wg0, and that part of drops.py in it.
drops() {
	module_debug
	sysctl -q net.core.message_cost=0	# every message, however many there are
	ns_add a
	keys a
	wg_new a
	ns a timeout 300 python3 "$HERE/drops.py" "$1" "${KEY[a]}"
}

t xmit 'packets that cannot be sent are counted, their sender is told, and the log says why'
xmit() { drops xmit; }

t staged 'of the packets that wait for a key the oldest make place, and what never leaves is counted'
staged() { drops staged; }

t small_buffer 'packets that wait for a key do not count against the small buffer of their socket'
small_buffer() { drops small_buffer; }

t outside 'what gets lost outside is counted as the stack says, and a peer without a route is not counted'
outside() { drops outside; }

t datagrams 'datagrams that are no messages are dropped without a trace'
datagrams() { drops datagrams; }

t handshakes 'handshake messages that are not right are dropped and not answered'
handshakes() { drops handshakes; }

t response 'a response moves the endpoint, before any data'
response() { drops response; }

t private_key 'after a new private key nothing is sent under the sessions of the old one'
private_key() { drops private_key; }

t sessions 'a new session is used from its first message on, and the one before the last is over'
sessions() { drops sessions; }

t cookies 'cookie replies are taken once, and only by who can read them'
cookies() { drops cookies; }

t data 'data that is not authentic, or not new, is dropped and moves no endpoint'
data() { drops data; }

t window 'old counters are taken inside the window only, and none from the last ones on'
window() { drops window; }

t inner 'authentic packets that are not what they say are counted by what is wrong with them'
inner() { drops inner; }

t overflow 'handshake messages that find no room are dropped'
overflow() { drops overflow; }

t removed 'a peer that was removed is sent nothing more and not listened to'
removed() { drops removed; }

run "$@"
