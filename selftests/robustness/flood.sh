#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The flooded responder: the throughput that a tunnel keeps while a stranger sends its end 8,000
# handshake initiations a second, compared with the kernel's own module under the same flood.
#
# The guest's clock counts instructions, so that the figures are about the same on any machine, busy
# or not. A second is the time of 10^9 of them on each processor.
#
# guests: 1
# clock: instructions
# timeout: 300

. "$(dirname "$0")/../lib/lib.sh"

KINDS='one_source many_sources no_mac'
FILE=/tmp/flood

# measure c|rust: writes the output of flood.py, lines NAME=NUMBER, to $FILE.MODULE.
measure() {
	local measuring
	module_use $1
	pair
	ping_both
	bg b iperf3 -s -1 > /dev/null
	wait_for 'iperf3 listens' listening b tcp 5201
	# flood.py takes time to start. If it started after the stream, the stream would run for
	# that much longer.
	bg b python3 "$HERE/flood.py" "${PUB[b]}" $PORT $KINDS > $FILE.new; measuring=$BG
	bg a iperf3 -c 10.8.0.2 -t 3600 > /dev/null
	wait $measuring
	mv $FILE.new $FILE.$1
	ns_del a b
	wait
}

# figures: measures both modules, unless that has been done. FIGURES[MODULE,NAME] is a figure of
# flood.py, and FIGURES[MODULE,kept,KIND] the throughput that the stream keeps in a flood of that
# kind, in thousandths of the throughput without one.
declare -A FIGURES=()
figures() {
	local module kind name value
	for module in c rust; do
		[[ -e $FILE.$module ]] || measure $module
		while IFS='=' read -r name value; do
			FIGURES[$module,$name]=$value
		done < $FILE.$module
		for kind in $KINDS; do
			FIGURES[$module,kept,$kind]=$((1000 * ${FIGURES[$module,$kind]} / ${FIGURES[$module,quiet]}))
		done
	done
}

# shown c|rust KIND: prints the figures in words.
shown() {
	local kept=${FIGURES[$1,kept,$2]}
	echo "${FIGURES[$1,quiet]} kB/s without the flood, ${FIGURES[$1,$2]} kB/s with it," \
		"which is $((kept / 10)).$((kept % 10)) %" \
		"(a flood of ${FIGURES[$1,flood_$2]} messages a second)"
}

# kept KIND ALLOWANCE: fails if the part of its throughput that a stream keeps under the flood is
# smaller than with the kernel's own module by more than ALLOWANCE thousandths.
kept() {
	local module
	figures
	note "ours: $(shown rust $1)"
	note "C:    $(shown c $1)"
	# Both modules had a flood, at the same rate.
	for module in c rust; do
		((${FIGURES[$module,flood_$1]} > 7500 && ${FIGURES[$module,flood_$1]} < 8500))
	done
	((${FIGURES[rust,kept,$1]} >= ${FIGURES[c,kept,$1]} - $2))
}

t one_source \
	'a flood with right MACs from one address takes no more throughput than with the C module'
# The allowance of 3 % covers a few interrupts more or less.
one_source() { kept one_source 30; }

t many_sources 'a flood from 400 addresses takes at most 6 % more'
# In eight runs it took 0.3 to 4.1 % more.
many_sources() { kept many_sources 60; }

t no_mac 'a flood without right MACs takes no more'
no_mac() { kept no_mac 30; }

run "$@"
