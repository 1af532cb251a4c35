#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The machine hibernates while it forwards packets into a tunnel: an image of its memory is written
# and put back. The restored machine does not know which messages it sent after the image was made,
# and must not send other data under the same counters. The peer (hibernation.py) is in a second
# guest, and sees all messages. Called with `a` in the guest of the module under test, and with `b`
# in the other.
#
# guests: 2
# timeout: 400
# memory: 1536

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/guests.sh"

DISK=/dev/ram0

partner() {
	ip route add 10.7.0.0/24 via 10.9.0.1 &&
		python3 $HERE/hibernation.py peer $CONTROL_B $OTHER_PORT
}

ask() { python3 $HERE/hibernation.py ask $CONTROL_B $OTHER_PORT "$@"; }
# arrived messages|sessions|doubled: how many messages, sessions or doubled counters the peer has
# seen.
arrived() { ask report | sed -n "s/^$1 //p"; }

t counters 'a machine that hibernates uses no counter twice, and makes a new session afterwards'
counters() {
	local before mode
	grep -qw test_resume /sys/power/disk || skip 'this kernel cannot hibernate'
	modprobe brd rd_nr=1 rd_size=$((700 << 10))
	mkswap $DISK
	swapon $DISK
	echo 0 > /sys/power/image_size
	sysctl -q net.ipv4.ip_forward=1
	ip link add wg0 type wireguard
	wg set wg0 private-key <(ask private) listen-port 51820 \
		peer "$(ask public)" allowed-ips 10.7.0.0/24 endpoint 10.9.0.2:52000
	ip link set wg0 up
	ip route add 10.7.0.0/24 dev wg0
	ask start
	wait_for 'packets are forwarded' eval '(($(arrived messages) > 100))'
	before=$(arrived sessions)
	# The image is written, and then read and put back without power being switched off.
	echo test_resume > /sys/power/disk
	echo disk > /sys/power/state
	wait_for 'there is another session' eval '(($(arrived sessions) > before))'
	before=$(arrived messages)
	wait_for 'packets are forwarded' eval '(($(arrived messages) > before + 100))'
	ask report
	note "$(arrived messages) messages, $(arrived sessions) sessions," \
		"$(arrived doubled) counters used twice"
	[[ $(arrived doubled) == 0 ]]
	ip link del wg0
}

dismiss() { ask quit; }

with_partner 'the other guest has been the peer' "$@"
