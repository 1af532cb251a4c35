#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packets to the port of a tunnel with false descriptions, from a sender without any key: a virtual
# machine, or a program with a tap, can declare that one packet stands for many. The cost of such
# packets is compared with the kernel's own module, in one guest. Its clock counts the instructions
# of one processor. So is the cost of a flood from senders that do not know the public key.
#
# guests: 1
# clock: instructions
# processors: 1
# timeout: 500

. "$(dirname "$0")/../lib/lib.sh"

COUNT=10
FIGURES=/tmp/untrusted

# tap_open c|rust: makes a namespace with a wg0 of that module and the tap of untrusted.py.
tap_open() {
	module_use $1
	ns_add a
	keys a b
	wg_new a
	wg_peer a
	coproc TAP { ns a python3 "$HERE/untrusted.py" tap0 $PORT; }
	read -r -u ${TAP[0]}
}
tap_close() {
	eval "exec ${TAP[1]}>&-"
	wait $TAP_PID
	ns_del_all
}

# measure c|rust FILE: writes lines KIND NANOSECONDS TAKEN to FILE.
measure() {
	local kind round cost taken least
	tap_open $1
	for kind in plain ufo tcp datagrams long fragments; do
		least=
		# The least of some rounds excludes other work that the kernel has to do now and
		# then.
		for round in {1..6}; do
			echo "cost $kind $COUNT" >&${TAP[1]}
			read -r -u ${TAP[0]} cost taken
			((${least:-cost} < cost)) || least=$cost
		done
		echo "$kind $least $taken"
	done > $2
	tap_close
}

t cost 'a packet that claims to stand for others costs at most 1.5 times its cost with the C module'
cost() {
	local kind c taken ours theirs ours_again c_again wrong=0
	modprobe tun
	# The memory of a guest that has run for longer is more fragmented, and a packet takes more
	# work. So each module is measured early and late.
	measure c $FIGURES.0
	measure rust $FIGURES.1
	measure rust $FIGURES.2
	measure c $FIGURES.3
	while read -r kind c taken _ ours theirs _ ours_again _ _ c_again _ <&3; do
		ours=$((ours + ours_again)) c=$((c + c_again))
		note "$kind: $((c / 2 / COUNT)) / $((ours / 2 / COUNT)) instructions," \
			"$taken of $COUNT taken"
		# Believing a declared size would cost hundreds of times as much.
		((taken == COUNT && taken == theirs && 2 * ours <= 3 * c)) || wrong=1
	done 3< <(paste -d ' ' $FIGURES.{0,1,2,3})
	((!wrong))
}

# flooded PORT COUNT: prints the instructions that a datagram of a stranger costs there.
flooded() {
	local cost taken
	echo "strangers $1 $2" >&${TAP[1]}
	read -r -u ${TAP[0]} cost taken
	[[ $taken == "$2" ]] || return
	echo $((cost / taken))
}

t strangers \
	'100,000 datagrams with wrong MACs cost at most 0.7 times what they cost with the C module'
strangers() {
	local module closed flood
	local -A above
	modprobe tun
	for module in c rust; do
		tap_open $module
		# The first ones have routes and caches to fill.
		flooded 9 2000 > /dev/null
		flooded $PORT 2000 > /dev/null
		closed=$(flooded 9 20000)
		flood=$(flooded $PORT 100000)
		above[$module]=$((flood - closed))
		note "$module: $flood instructions each, $closed to a closed port:" \
			"${above[$module]} above that"
		tap_close
	done
	((10 * ${above[rust]} <= 7 * ${above[c]}))
}

run "$@"
