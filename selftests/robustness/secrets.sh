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

OTHER_PORT=17

# up ADDRESS OUTER-ADDRESS: sets the network card up.
up() {
	local dev
	dev=$(link $1) && ip addr add $2/24 dev "$dev"
}

if [[ ${1:-} == b ]]; then
	echo 'KTAP version 1'
	echo '1..1'
	if up $CONTROL_B 10.9.0.2 &&
		python3 $HERE/keysearch.py far $CONTROL_B > /tmp/far.log 2>&1; then
		echo 'ok 1 the other guest has been all the peers'
		exit 0
	fi
	tail -n 40 /tmp/far.log | sed 's/^/# /'
	echo 'not ok 1 the other guest has been all the peers'
	exit 1
fi

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

case ${1:-} in
a)	shift
	up $CONTROL_A 10.9.0.1 || { echo 'Bail out! no link to the other guest'; exit 1; }
	WAIT=300 wait_for 'the other guest is ready' eval ": > /dev/tcp/$CONTROL_B/$OTHER_PORT" ||
		{ echo 'Bail out! the other guest does not answer'; exit 1; }
	status=0
	(run "$@") || status=$?
	printf q > /dev/tcp/$CONTROL_B/$OTHER_PORT
	exit $status ;;
--one | --list)	run "$@" ;;
*)	echo "usage: $0 a|b" >&2; exit 2 ;;
esac
