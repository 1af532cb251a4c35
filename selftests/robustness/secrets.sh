#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# No key outlives the object that it belongs to: all memory of the guest is searched for the secrets
# of peers, keypairs, handshakes and interfaces. The peers are in a second guest, which sends the
# secrets to look for to the first. (keysearch.py is both sides.) Called with `a` in the guest of
# the module under test, and with `b` in the other.
#
# guests: 2
# timeout: 300
# memory: 640

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/guests.sh"

partner() { python3 $HERE/keysearch.py far $CONTROL_B; }
dismiss() { printf q > /dev/tcp/$CONTROL_B/$OTHER_PORT; }

# searched: does all the searches, once: while the objects exist, after some have gone, and after
# the module has been unloaded.
searched() {
	[[ ! -e /tmp/secrets.begun ]] || return 0
	touch /tmp/secrets.begun
	python3 $HERE/keysearch.py near $CONTROL_B $WG_MODULE
	module_load
}
show() {
	searched
	python3 $HERE/keysearch.py show $WG_MODULE "$@"
}

t keypairs 'the keys of a session are found while the session is kept, and not after that'
keypairs() { show keypair; }

t handshakes 'secrets of a handshake are found while it is under way, and not after that'
handshakes() { show handshake; }

t peers \
	'so are preshared keys, static shared secrets and cookies, of present and removed peers'
peers() { show peer; }

t traces 'so are traces of a peer: its public key, its endpoint, its last timestamp'
traces() { show trace; }

t devices 'so are private keys of interfaces'
devices() { show device; }

with_partner 'the other guest has been all the peers' "$@"
