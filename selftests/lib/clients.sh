# SPDX-License-Identifier: GPL-2.0
#
# What the tests of clients share: files for the clients, traffic, and the settings that `wg` shows.
# Sourced after lib.sh.

DIR=/tmp/clients
DEV=wg0

fresh() { rm -rf $DIR; mkdir -m 700 $DIR; }
# carries NAMESPACE ADDRESS [NAMESPACE-OF-ADDRESS]: sends a megabyte by TCP to ADDRESS, and fails
# unless it arrives unchanged.
carries() {
	head -c 1000000 /dev/urandom > /tmp/data
	bg "${3:-${OTHER[$1]}}" ncat --recv-only -l "$2" 5555 > /tmp/got; local receiver=$BG
	wait_for 'the receiver listens' listening "${3:-${OTHER[$1]}}" tcp 5555
	ns "$1" timeout 100 ncat --send-only "$2" 5555 < /tmp/data
	wait $receiver
	cmp /tmp/data /tmp/got
}
# shown NAMESPACE: prints `wg show $DEV dump` without the fields that change by themselves, and with
# sorted allowed IPs.
shown() {
	ns $1 wg show $DEV dump | while IFS=$'\t' read -r -a field; do
		((${#field[@]} < 8)) || field=("${field[@]:0:3}"
			"$(tr , '\n' <<< "${field[3]}" | sort | paste -sd ,)" "${field[7]}")
		echo "${field[*]}"
	done
}
shown_is() { diff <(shown $1) <(printf '%s\n' "${@:2}"); }
