#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module against the kernel's C module in a second guest, over a virtual link. Called with `a`
# in the guest of the module under test, which runs the tests, and with `b` in the other guest,
# which executes the commands of `a`.
#
# guests: 2
# timeout: 1200
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/interop.sh"
. "$(dirname "$0")/../lib/guests.sh"

# `a` sends shell commands to `b` over the addresses CONTROL_*; a test may change all other
# addresses.
CONTROL_PORT=7
FAR_NAME=wg

if [[ ${1:-} == b ]]; then
	WG_MODULE=c
	echo 'KTAP version 1'
	echo '1..1'
	if ! module_load || ! module_prove | sed 's/^/# /' || ((PIPESTATUS[0])) ||
		! link $CONTROL_B > /tmp/dev; then
		echo 'not ok 1 the C module is loaded and listens for commands'
		exit 1
	fi
	dev=$(< /tmp/dev)
	ip addr add ${OUT4[far]}/24 dev "$dev"
	ip addr add ${OUT6[far]}/64 dev "$dev" nodad
	# The shell writes to the connection directly. With ncat in between, output that the other
	# end is slow to read would be lost.
	systemd-socket-activate --accept --inetd --setenv=LC_ALL --setenv=WG_HIDE_KEYS \
		--listen=$CONTROL_B:$CONTROL_PORT /bin/bash --norc 2> /dev/null & agent=$!
	until [[ -e /run/finished ]]; do
		kill -0 $agent || {
			echo 'not ok 1 the C module is loaded and listens for commands'
			exit 1
		}
		sleep 0.2
	done
	if ! kernel_silent | sed 's/^/# /' || ((PIPESTATUS[0])); then
		echo 'not ok 1 the C module is loaded and listens for commands'
		exit 1
	fi
	echo 'ok 1 the C module is loaded and listens for commands'
	exit 0
fi

near() { "$@"; }
near_bg() { "$@" & }
near_new() { ip link del $1 2> /dev/null || true; ip link add $1 type wireguard; }
near_del() { ip link del $1; }
near_reload() {
	rmmod wireguard
	module_load
}

# tell COMMAND: sends COMMAND to the shell at the other end, prints its output and returns its
# status. The status comes in a last line of its own, because a process started there may hold the
# connection open. The function is a subshell, because a shell ends if `exec` cannot connect.
tell() (
	local link line status
	exec {link}<> /dev/tcp/$CONTROL_B/$CONTROL_PORT
	printf '%s; printf "\\nstatus %%d\\n" $?; exit\n' "$1" >&$link
	while IFS= read -r line; do
		[[ ! $line =~ ^status\ ([0-9]+)$ ]] || exit "${BASH_REMATCH[1]}"
		printf '%s\n' "$line"
	done <&$link | sed '${/^$/d}'
	status=${PIPESTATUS[0]}
	exit "$status"
)
# far and far_bg quote the words for that shell.
far() { tell "{ ${*@Q}; } 2>&1 < /dev/null"; }
far_bg() { tell "setsid ${*@Q} > /dev/null 2>&1 < /dev/null & true"; }
far_new() { far bash -c "ip link del $1 2> /dev/null; ip link add $1 type wireguard"; }
far_del() { far ip link del $1; }
far_reload() { far bash -ec 'rmmod wireguard; modprobe wireguard'; }

# Ends processes that an earlier test left in the current tunnel: each has an inner address in its
# command line.
interop_setup() {
	near pkill -f "10[.]8[.]${TUNNEL}[.]|fd08:$TUNNEL::" || true
	far pkill -f "10[.]8[.]${TUNNEL}[.]|fd08:$TUNNEL::" || true
}

t other_side 'the other guest runs the C module'
other_side() {
	[[ $(far cat /sys/module/wireguard/srcversion) == \
		"$(modinfo -F srcversion "$(modinfo -n wireguard)")" ]]
	[[ $(far cat /sys/module/wireguard/taint) != *O* ]]
	must_fail far false
}

interop_tests

# The last test: it makes the link slow.
t crossing 'initiations of both sides cross: one session, without another initiation from either'
crossing() {
	local side
	declare -A card
	use_tunnel 0
	interop_setup
	near pkill -f crossing_c.py || true
	far pkill -f crossing_c.py || true
	for side in near far; do
		card[$side]=$($side ip -br addr show to ${OUT4[$side]})
		card[$side]=${card[$side]%%[@ ]*}
		${side}_new wg0
		$side bash -ec "ip addr add 10.8.0.${NUM[$side]}/24 dev wg0
			wg set wg0 listen-port $PORT
			ip link set wg0 mtu 1420 up
			tc qdisc replace dev ${card[$side]} root netem delay 100ms limit 100000"
	done
	near ping -q -c 2 -W 20 ${OUT4[far]}	# neither end needs ARP then
	far ping -q -c 2 -W 20 ${OUT4[near]}
	far_bg env PYTHONPATH="$LIB" python3 "$HERE/crossing_c.py" far
	wait_for 'the other end listens' far bash -c "[[ -n \$(ss -Hlnu 'sport = 18') ]]"
	near python3 "$HERE/crossing_c.py" near ${card[near]} ${OUT4[near]} ${OUT4[far]} \
		$CONTROL_B 100
	far pkill -f crossing_c.py
	for side in near far; do
		$side tc qdisc del dev ${card[$side]} root
		${side}_del wg0
	done
}

case ${1:-} in
a)	shift
	dev=$(link $CONTROL_A) || { echo 'Bail out! no link to the other guest'; exit 1; }
	ip addr add ${OUT4[near]}/24 dev "$dev"
	ip addr add ${OUT6[near]}/64 dev "$dev" nodad
	WAIT=300 wait_for 'the other guest is ready' far true ||
		{ echo 'Bail out! the other guest does not answer'; exit 1; }
	status=0
	(run "$@") || status=$?
	far touch /run/finished
	exit $status ;;
--one | --list)	run "$@" ;;
*)	echo "usage: $0 a|b" >&2; exit 2 ;;
esac
