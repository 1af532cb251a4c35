#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# More messages in a moment than a machine can handle: how many of them softirqs decrypt before
# other work has its turn, how many wait, and who is asked for a cookie.
#
# overload.py has the far ends of the tunnels as well.
#
# guests: 1
# clock: instructions
# timeout: 200

. "$(dirname "$0")/../lib/lib.sh"

t one_poll 'one poll decrypts at most 64 messages, however short they are, and workers the rest'
one_poll() { scripted one_poll; }

t room_in 'a device keeps about 1,024 messages to be decrypted, whatever the number of its peers'
room_in() { scripted room_in; }

t room_out 'a device keeps about 1,024 packets to be encrypted, and counts those that it drops'
room_out() { scripted room_out; }

t room_of_segments 'a TCP packet of many segments takes the room of one packet'
room_of_segments() { scripted room_of_segments; }

t load 'a device under load sends cookies, and another one of the same machine needs none'
load() { scripted load; }

run "$@"
