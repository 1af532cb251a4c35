#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Many peers: what they cost, beside what they cost with the kernel's own module.
#
# The clock of the guest counts instructions, so that the figures are the same on any machine, busy or not: a second is the time
# of 10^9 of them, which a real processor takes less time for.
#
# guests: 1
# clock: instructions
# memory: 5120
# timeout: 300

. "$(dirname "$0")/lib.sh"

: "${PEERS:=10000}"
# The kernel's own module waits for two RCU grace periods and more for each peer of an interface that is removed. It is shown on so
# many of them; SCALE=full: on all.
C_DELETED=$((PEERS / 10))
[[ ${SCALE:-} != full ]] || C_DELETED=$PEERS
MAX_PEERS=$((1 << 20))
FIGURES=/tmp/figures

processes() { find /proc -maxdepth 1 -name '[0-9]*' | wc -l; }
# Of these there is one for each NAPI of the interface, when it is threaded.
napi_threads() { grep -l '^napi/wg0-' /proc/[0-9]*/comm 2> /dev/null | wc -l; }
# Kilobytes in use for anything, and for small objects, stacks of threads and variables that each processor has of its own.
in_use() { python3 $HERE/memory.py used; }

# took NAME COMMAND…: runs COMMAND and prints how many milliseconds it took. What COMMAND prints is in /tmp/out.
took() {
	local name=$1 begun; shift
	begun=$(date +%s%N)
	"$@" > /tmp/out
	echo "$name=$((($(date +%s%N) - begun) / 1000000))"
}

shown() { wg show wg0 dump | sort; }

# measure c|rust: all of it with one module. Its figures are lines NAME=VALUE in $FIGURES.MODULE, what it shows is in
# /tmp/shown-NAME.MODULE.
measure() {
	local module=$1 deleted=$PEERS before before_slab after after_slab processes
	module_use $module
	ip link add wg0 type wireguard
	ip link set wg0 up
	wg setconf wg0 <(python3 $HERE/scale.py conf 0 10 0)
	wg setconf wg0 /dev/null
	processes=$(processes)
	read -r before before_slab < <(in_use)
	{
		took set wg setconf wg0 /tmp/conf
		read -r after after_slab < <(in_use)
		echo "bytes=$(((after - before) * 1024 / PEERS))"
		echo "slab=$(((after_slab - before_slab) * 1024 / PEERS))"
		echo "processes=$(($(processes) - processes))"
		took dump wg show wg0 dump
		took same wg syncconf wg0 /tmp/conf
		shown > /tmp/shown-set.$module
		took change wg syncconf wg0 /tmp/conf-changed
		shown > /tmp/shown-changed.$module
		took all wg syncconf wg0 /tmp/conf-all
		took sync wg syncconf wg0 /tmp/conf-moved
		shown > /tmp/shown-moved.$module
		echo 1 > /sys/class/net/wg0/threaded
		echo "napis=$(napi_threads)"
		took down ip link set wg0 down
		if [[ $module == c ]] && ((C_DELETED < PEERS)); then
			deleted=$C_DELETED
			wg syncconf wg0 <(python3 $HERE/scale.py conf $PEERS $((PEERS + deleted)) 2)
			(($(wg show wg0 peers | wc -l) == deleted))
		fi
		took delete ip link del wg0
		echo "deleted=$deleted"
	} > $FIGURES.$module
	read -r after after_slab < <(in_use)
	echo "left=$(((after_slab - before_slab) * 1024 / PEERS))" >> $FIGURES.$module
}

# Measures both modules if that has not been done.
figures() {
	local module line
	declare -gA C RUST
	[[ -e /tmp/conf ]] || {
		python3 $HERE/scale.py conf 0 $PEERS 0 > /tmp/conf
		python3 $HERE/scale.py conf 0 $PEERS 2 > /tmp/conf-changed
		python3 $HERE/scale.py conf 0 $PEERS 10 > /tmp/conf-all
		python3 $HERE/scale.py conf $((PEERS / 20)) $((PEERS + PEERS / 20)) 2 > /tmp/conf-moved
	}
	for module in c rust; do
		[[ -e $FIGURES.$module ]] || measure $module
		while IFS='=' read -r name value; do
			[[ $module == c ]] && C[$name]=$value || RUST[$name]=$value
		done < $FIGURES.$module
	done
}

# row NAME UNIT TITLE: a line of the table
row() { note "$(printf '%-58s %10s %10s %s' "$3" "${RUST[$1]}" "${C[$1]}" "$2")"; }

t both 'many peers are set, dumped, changed and removed with both modules, and both show the same'
both() {
	figures
	note "$PEERS peers with 4 allowed IPs each                               ours        C"
	row set ms 'wg setconf'
	row dump ms 'wg show dump'
	row same ms 'wg syncconf, nothing changes'
	row change ms 'wg syncconf, a fifth of the peers changes'
	row all ms 'wg syncconf, all peers change'
	row sync ms 'wg syncconf, a twentieth goes, another comes'
	row down ms 'ip link set down'
	row delete ms 'ip link del'
	row deleted peers '        of so many peers'
	row processes '' 'more processes'
	row napis '' 'NAPIs'
	row bytes bytes 'less memory available, for each peer'
	row slab bytes 'more in slab, stacks and per-CPU memory, for each peer'
	row left bytes '        that is still there when they are gone'
	for name in set changed moved; do
		cmp /tmp/shown-$name.c /tmp/shown-$name.rust
		(($(wc -l < /tmp/shown-$name.rust) == PEERS + 1))
	done
	must_fail cmp -s /tmp/shown-set.c /tmp/shown-changed.c
	must_fail cmp -s /tmp/shown-changed.c /tmp/shown-moved.c
}

t no_thread 'a peer has no thread and no NAPI'
no_thread() {
	figures
	((RUST[processes] < 20))
	((RUST[napis] > 0 && RUST[napis] <= $(nproc)))
	# What is looked for could be seen: the kernel's own module has one of each for each peer.
	((C[processes] >= PEERS && C[napis] == PEERS))
}

t memory 'a peer with 4 allowed IPs takes no more than 4 KiB, and gives it back'
memory() {
	figures
	((RUST[bytes] <= 4096 && RUST[slab] <= 4096))
	((RUST[slab] > 500 && RUST[left] < RUST[slab] / 10))
}

t speed 'setting, dumping and changing is no slower than with the C module'
speed() {
	figures
	local name
	# Where all changes there is nothing to be saved, and ours is some percent slower.
	for name in set dump same change sync; do
		# A few interrupts more or less are no difference.
		((RUST[$name] <= C[$name] * 103 / 100))
	done
}

t removal 'all peers are removed within 5 seconds, and in a tenth of the time of the C module'
removal() {
	figures
	((RUST[deleted] == PEERS && RUST[delete] <= 5000))
	((RUST[delete] * C[deleted] * 10 <= C[delete] * RUST[deleted]))
}

# Lets the kernel complain about whoever keeps a processor for 2 seconds, or an RCU grace period from its end for 3.
impatient() {
	sysctl -q kernel.watchdog_thresh=1
	echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
	echo 1 > /sys/module/rcupdate/parameters/rcu_exp_cpu_stall_timeout
}

t hundred_thousand '100,000 peers are set, dumped, replaced and removed without a stall'
hundred_thousand() {
	[[ $WG_MODULE == rust ]] || skip 'the C module would start 100,000 threads'
	module_use rust
	impatient
	ip link add wg0 type wireguard
	ip link set wg0 up
	note "$(took set python3 $HERE/scale.py fill wg0 100000 4) ms"
	note "$(took dump wg show wg0 allowed-ips) ms"
	[[ $(wc -lw < /tmp/out | xargs) == '100000 500000' ]]
	note "$(took down ip link set wg0 down) ms"
	note "$(took replace wg setconf wg0 /dev/null) ms"
	[[ -z $(wg show wg0 peers) ]]
	python3 $HERE/scale.py fill wg0 100000 4
	note "$(took delete ip link del wg0) ms"
	kernel_silent
}

t limit 'an interface has at most 2^20 peers, and removes them without a stall'
limit() {
	[[ $WG_MODULE == rust ]] || skip 'the C module would start a million threads'
	module_use rust
	impatient
	ip link add wg0 type wireguard
	note "$(took set python3 $HERE/scale.py fill wg0 $MAX_PEERS 0) ms"
	python3 $HERE/scale.py limit wg0 $MAX_PEERS
	note "$(in_use) kilobytes are in use, for anything and for small objects"
	note "$(took delete ip link del wg0) ms"
	kernel_silent
}

run "$@"
