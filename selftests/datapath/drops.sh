#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Dropped packets. For each reason to drop a packet, on its way out or in, the tests check which
# counters of the interface change and by how much, what the log says, and which error the sender
# gets. No other counter changes, no answer goes to a sender that must get none, and no endpoint
# moves.
#
# drops.py has the reasons, and is the far end of the tunnel as well.
#
# guests: 1
# clock: instructions
# kernels: stock kasan
# kasan: datagrams data window inner removed

. "$(dirname "$0")/../lib/lib.sh"

t xmit 'packets that cannot be sent are counted, their sender gets an error, and the log says why'
xmit() { scripted xmit; }

t staged \
	'the oldest packets that wait for a key make room for new ones, and are counted as dropped'
staged() { scripted staged; }

t small_buffer 'packets that wait for a key do not count against the small buffer of their socket'
small_buffer() { scripted small_buffer; }

t outside \
	'datagrams lost outside are counted as the stack reports; a missing route is not counted'
outside() { scripted outside; }

t datagrams 'datagrams that are not messages are dropped, and neither counted nor answered'
datagrams() { scripted datagrams; }

t data 'data messages that are not authentic, or not new, are dropped and move no endpoint'
data() { scripted data; }

t window 'old counters are taken inside the window only, and none from REJECT_AFTER_MESSAGES on'
window() { scripted window; }

t inner 'authentic messages with a wrong packet inside are counted by the kind of mistake'
inner() { scripted inner; }

t removed 'a removed peer is sent nothing more, and its messages are ignored'
removed() { scripted removed; }

run "$@"
