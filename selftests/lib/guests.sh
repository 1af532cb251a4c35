# SPDX-License-Identifier: GPL-2.0
#
# For a test in two guests, `a` and `b`, that are joined by a network card. Sourced after lib.sh.

# Addresses that no test changes: the two guests talk to each other over these.
# shellcheck disable=SC2034 # used by scripts that source this
CONTROL_A=10.99.0.1 CONTROL_B=10.99.0.2

# link ADDRESS: sets the network card up with one of these addresses, and prints the card's name.
link() {
	local dev
	modprobe virtio_net
	wait_for 'the network card is there' eval '[[ -n $(link_name) ]]'
	dev=$(link_name)
	ip link set "$dev" up
	ip addr add $1/24 dev "$dev"
	echo "$dev"
}
link_name() {
	local dev
	for dev in /sys/class/net/*; do
		[[ -e $dev/device/driver ]] &&
			[[ $(basename "$(realpath "$dev/device/driver")") == virtio_net ]] &&
			basename "$dev"
	done
}

# Where the other guest listens in tests that use with_partner.
OTHER_PORT=17

# up ADDRESS OUTER-ADDRESS: sets the network card up.
up() {
	local dev
	dev=$(link $1) && ip addr add $2/24 dev "$dev"
}

# with_partner TEXT [ARGUMENT…]: runs a script with its arguments. With `b` it calls the function
# `partner` of the script, and reports TEXT as its result. With `a` it runs the tests as soon as the
# partner listens on $OTHER_PORT, and then calls the function `dismiss`, which ends the partner.
# The guests have the outer addresses 10.9.0.1 and 10.9.0.2.
with_partner() {
	local text=$1 status=0
	shift
	case ${1:-} in
	a)	shift
		up $CONTROL_A 10.9.0.1 || { echo 'Bail out! no link to the other guest'; exit 1; }
		WAIT=300 wait_for 'the other guest is ready' \
			eval ": > /dev/tcp/$CONTROL_B/$OTHER_PORT" ||
			{ echo 'Bail out! the other guest does not answer'; exit 1; }
		(run "$@") || status=$?
		dismiss
		exit $status ;;
	b)	echo 'KTAP version 1'
		echo '1..1'
		if up $CONTROL_B 10.9.0.2 && partner > /tmp/partner.log 2>&1; then
			echo "ok 1 $text"
			exit 0
		fi
		tail -n 40 /tmp/partner.log | sed 's/^/# /'
		echo "not ok 1 $text"
		exit 1 ;;
	--one | --list)	run "$@" ;;
	*)	echo "usage: $0 a|b" >&2; exit 2 ;;
	esac
}
