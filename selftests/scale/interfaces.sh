#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What an interface takes of the kernel's memory, compared with one of the kernel's own module and
# with a dummy.
#
# The guest has done nothing before: objects that earlier tests have left would be used again, and
# would not count.
#
# guests: 1
# clock: instructions

. "$(dirname "$0")/../lib/lib.sh"

: "${INTERFACES:=64}"

t interfaces 'an interface takes no thread, at most 8 KiB more than a dummy, and gives them back'
interfaces() {
	local module name value dummy
	local -A C RUST
	dummy=$(many_interfaces rust dummy | sed -n 's/^each=//p')
	for module in c rust; do
		while IFS='=' read -r name value; do
			[[ $module == c ]] && C[$name]=$value || RUST[$name]=$value
		done < <(many_interfaces $module wireguard)
	done
	note "of $INTERFACES interfaces with a peer, each                          ours        C"
	row threads '' 'more threads'
	row each bytes 'more in slab, stacks and per-CPU memory'
	row gone bytes '        that remains when they are gone'
	note "of an interface of the kind \`dummy\`: $dummy bytes"
	((RUST[threads] == 0 && RUST[each] <= dummy + 8192 && RUST[gone] < RUST[each] / 5))
	# The counts would show them: the C module has a thread for each, and one for its peer.
	((C[threads] >= INTERFACES && C[each] > RUST[each]))
}
# many_interfaces c|rust KIND: prints what interfaces of this kind take with a module, in lines
# NAME=VALUE.
many_interfaces() {
	local i threads before after
	module_use $1 > /dev/null
	ip link add first type wireguard
	ip link set first up
	threads=$(processes)
	read -r _ before < <(in_use)
	for ((i = 0; i < INTERFACES; i++)); do
		ip link add w$i type $2
		[[ $2 == dummy ]] || wg set w$i peer "$(printf '%.0sA' {1..42})E=" allowed-ips 10.0.0.0/8
		ip link set w$i up
	done
	read -r _ after < <(in_use)
	echo "each=$(((after - before) * 1024 / INTERFACES))"
	# Workers of the kernel come and go.
	i=$((($(processes) - threads) / INTERFACES))
	echo "threads=$((i * INTERFACES))"
	for ((i = 0; i < INTERFACES; i++)); do
		ip link del w$i
	done
	read -r _ after < <(in_use)
	echo "gone=$(((after - before) * 1024 / INTERFACES))"
	ip link del first
}

run "$@"
