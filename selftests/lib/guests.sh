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
