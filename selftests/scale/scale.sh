#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The cost of many peers, compared with the kernel's own module.
#
# The guest's clock counts instructions, so that the figures are the same on any machine, busy or
# not: a second is the time of 10^9 of them. A real processor executes them in less time.
#
# guests: 1
# clock: instructions
# memory: 5120
# timeout: 300

. "$(dirname "$0")/../lib/lib.sh"

: "${PEERS:=10000}"
# The kernel's own module waits for two RCU grace periods and more for each peer of an interface
# that is removed. So its removal is measured with a tenth of the peers; with SCALE=full, with all.
C_DELETED=$((PEERS / 10))
[[ ${SCALE:-} != full ]] || C_DELETED=$PEERS
MAX_PEERS=$((1 << 20))
FIGURES=/tmp/figures

# napi_threads: how many threads the NAPIs of wg0 have: one each, when it is threaded.
napi_threads() { grep -l '^napi/wg0-' /proc/[0-9]*/comm 2> /dev/null | wc -l; }

# took NAME COMMAND…: runs COMMAND and prints how many milliseconds it took. The output of COMMAND
# is in /tmp/out.
took() {
	local name=$1 begun; shift
	begun=$(date +%s%N)
	"$@" > /tmp/out
	echo "$name=$((($(date +%s%N) - begun) / 1000000))"
}

shown() { wg show wg0 dump | sort; }

# measure c|rust: does all of it with one module. Writes figures to $FIGURES.MODULE, lines
# NAME=VALUE, and the dumps of the configuration to /tmp/shown-NAME.MODULE.
measure() {
	local module=$1 deleted=$PEERS before before_slab after after_slab processes
	module_use $module
	ip link add wg0 type wireguard
	ip link set wg0 up
	wg setconf wg0 <(python3 -m wgtest.scale conf 0 10 0)
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
			wg syncconf wg0 <(python3 -m wgtest.scale conf $PEERS $((PEERS + deleted)) 2)
			(($(wg show wg0 peers | wc -l) == deleted))
		fi
		took delete ip link del wg0
		echo "deleted=$deleted"
	} > $FIGURES.$module
	read -r after after_slab < <(in_use)
	echo "left=$(((after_slab - before_slab) * 1024 / PEERS))" >> $FIGURES.$module
}

# figures: measures both modules, unless that has been done.
figures() {
	local module line
	declare -gA C RUST
	[[ -e /tmp/conf ]] || {
		python3 -m wgtest.scale conf 0 $PEERS 0 > /tmp/conf
		python3 -m wgtest.scale conf 0 $PEERS 2 > /tmp/conf-changed
		python3 -m wgtest.scale conf 0 $PEERS 10 > /tmp/conf-all
		python3 -m wgtest.scale conf $((PEERS / 20)) $((PEERS + PEERS / 20)) 2 \
			> /tmp/conf-moved
	}
	for module in c rust; do
		[[ -e $FIGURES.$module ]] || measure $module
		while IFS='=' read -r name value; do
			[[ $module == c ]] && C[$name]=$value || RUST[$name]=$value
		done < $FIGURES.$module
	done
}

t both 'many peers are set, dumped, changed and removed; both modules show the same configuration'
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
	row deleted peers '        with this number of peers'
	row processes '' 'more processes'
	row napis '' 'NAPIs'
	row bytes bytes 'less memory available, for each peer'
	row slab bytes 'more in slab, stacks and per-CPU memory, for each peer'
	row left bytes '        that remains when the peers are gone'
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
	# The counts would show them: the kernel's own module has one of each for each peer.
	((C[processes] >= PEERS && C[napis] == PEERS))
}

t memory 'a peer with 4 allowed IPs takes no more than 3 KiB, and gives it back'
memory() {
	figures
	((RUST[bytes] <= 3072 && RUST[slab] <= 3072))
	((RUST[slab] > 500 && RUST[left] < RUST[slab] / 10))
}

t speed 'setting, dumping and changing peers is no slower than with the C module'
speed() {
	figures
	local name
	# Without `all`: if everything changes there is no work to save, and ours is some percent
	# slower.
	for name in set dump same change sync; do
		# The allowance of 3 % covers a few interrupts more or less.
		((RUST[$name] <= C[$name] * 103 / 100))
	done
}

t removal 'all peers are removed within 5 seconds, and in a tenth of the time of the C module'
removal() {
	figures
	((RUST[deleted] == PEERS && RUST[delete] <= 5000))
	((RUST[delete] * C[deleted] * 10 <= C[delete] * RUST[deleted]))
}

# impatient: has the kernel complain about code that keeps a processor for 2 seconds, or that delays
# the end of an RCU grace period for 3 seconds. For an expedited one the limit is 1 ms, which the
# kernel raises to two ticks.
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
	note "$(took set python3 -m wgtest.scale fill wg0 100000 4) ms"
	note "$(took dump wg show wg0 allowed-ips) ms"
	[[ $(wc -lw < /tmp/out | xargs) == '100000 500000' ]]
	note "$(took down ip link set wg0 down) ms"
	note "$(took replace wg setconf wg0 /dev/null) ms"
	[[ -z $(wg show wg0 peers) ]]
	python3 -m wgtest.scale fill wg0 100000 4
	note "$(took delete ip link del wg0) ms"
	kernel_silent
}

t limit 'an interface has at most 2^20 peers, and removes them without a stall'
limit() {
	[[ $WG_MODULE == rust ]] || skip 'the C module would start a million threads'
	module_use rust
	impatient
	ip link add wg0 type wireguard
	note "$(took set python3 -m wgtest.scale fill wg0 $MAX_PEERS 0) ms"
	python3 -m wgtest.scale limit wg0 $MAX_PEERS
	note "$(in_use) kilobytes are in use, in all and for small objects"
	note "$(took delete ip link del wg0) ms"
	kernel_silent
}

run "$@"
