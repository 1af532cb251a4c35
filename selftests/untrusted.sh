#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Packets to the port of a tunnel about which somebody without any key says what is not so: a virtual machine, or whoever may
# write to a tap, can have a packet stand for others. What that costs is compared with what it costs with the kernel's own module,
# in one guest, whose clock counts instructions on one processor.
#
# guests: 1
# clock: instructions
# processors: 1
# timeout: 200

. "$(dirname "$0")/lib.sh"

COUNT=10
FIGURES=/tmp/untrusted

# measure c|rust: a file $FIGURES.MODULE with lines KIND NANOSECONDS TAKEN.
measure() {
	local kind round cost taken least
	modprobe tun
	module_use $1
	ns_add a
	keys a b
	wg_new a
	wg_peer a
	coproc TAP { ns a python3 "$HERE/untrusted.py" tap0 $PORT; }
	read -r -u ${TAP[0]}
	for kind in plain ufo tcp datagrams long tunnel fragments; do
		least=
		# The least of some rounds: whatever else the kernel has to do now and then is not in it.
		for round in {1..6}; do
			echo "cost $kind $COUNT" >&${TAP[1]}
			read -r -u ${TAP[0]} cost taken
			((${least:-cost} < cost)) || least=$cost
		done
		echo "$kind $least $taken"
	done > $FIGURES.$1
	eval "exec ${TAP[1]}>&-"
	wait $TAP_PID
	ns_del_all
}

# Both are measured once.
figures() {
	[[ ! -e $FIGURES ]] || return 0
	measure c
	measure rust
	touch $FIGURES
}

t cost 'a packet that claims to stand for others costs what it costs with the kernel'\''s module, or little more'
cost() {
	local kind c taken ours theirs wrong=0
	figures
	while read -r kind c taken <&3 && read -r _ ours theirs <&4; do
		note "$kind: $((c / COUNT)) / $((ours / COUNT)) instructions, $taken of $COUNT taken"
		# A size that was believed would cost hundreds of times as much.
		((taken == theirs && ours <= 3 * c)) || wrong=1
	done 3< $FIGURES.c 4< $FIGURES.rust
	((!wrong))
}

run "$@"
