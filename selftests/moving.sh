#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Peers that move, and attackers who make it look as if a peer had moved.
#
# The guest's clock counts instructions, so waiting takes no real time, and the speed of the machine
# does not matter. moving.py is the other end of the tunnel.
#
# guests: 1
# clock: instructions

. "$(dirname "$0")/lib.sh"

# ours: skips a test of what only this module does.
ours() { [[ $WG_MODULE == rust ]] || skip 'the C module follows each message'; }

# scripted NAME: makes a namespace with a wg0, and runs that part of moving.py in it.
scripted() {
	module_debug
	sysctl -q net.core.message_cost=0	# the log limits no message
	ns_add a
	keys a
	wg_new a
	ns a python3 "$HERE/moving.py" "$1" $WG_MODULE "${KEY[a]}"
}

t old_counter 'a message that was held back moves no endpoint once a newer one has come'
old_counter() { ours; scripted old_counter; }

t old_keys 'nor does one of an old session, once something was received with a newer one'
old_keys() { ours; scripted old_keys; }

run "$@"
