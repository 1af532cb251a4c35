#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The time that it takes to delete interfaces, compared with the kernel's own module in the same
# guest.
#
# The guest's clock counts instructions, so that the figures are the same on any machine, busy or
# not: a second is the time of 10^9 of them. Waiting also takes time on that clock.
#
# guests: 1
# clock: instructions
# timeout: 400

. "$(dirname "$0")/../lib/lib.sh"

# How many interfaces are deleted one by one, and how many with a namespace.
: "${ONE:=20}" "${MANY:=40}"
KA=$(printf '%.0sA' {1..42})E=	# the public key of a peer that does not exist

# took NAME COMMAND…: runs COMMAND and prints how many milliseconds it took.
took() {
	local name=$1 begun; shift
	begun=$(date +%s%N)
	"$@" > /dev/null
	echo "$name=$((($(date +%s%N) - begun) / 1000000))"
}

# populate COUNT: makes that many interfaces in the namespace d, up and with a peer.
populate() {
	local i
	for ((i = 0; i < $1; i++)); do echo "link add w$i type wireguard"; done > /tmp/add
	for ((i = 0; i < $1; i++)); do echo "link set w$i up"; done > /tmp/up
	for ((i = 0; i < $1; i++)); do
		echo "wg set w$i peer $KA allowed-ips 10.0.0.0/8,fd00::/8 endpoint 127.0.0.1:9"
	done > /tmp/configure
	ipn d -batch /tmp/add
	ns d bash -e /tmp/configure
	ipn d -batch /tmp/up
}
each_deleted() {
	local i
	for ((i = 0; i < $1; i++)); do
		ipn d link del w$i
	done
}
# namespace_gone: deletes the namespace, and waits until the module has logged the end of each
# interface.
namespace_gone() {
	dmesg -C
	ip netns del ${NS}d
	until (($(dmesg | grep -c 'Interface destroyed') == MANY)); do
		sleep 0.02
	done
}
# churn: four processes change the allowed IPs of another interface without end.
churn() {
	local i
	ns_add e
	ipn e link add other type wireguard
	CHURN=()
	for i in 1 2 3 4; do
		bg e bash -c 'while :; do for i in 1 2 3 4; do
			wg set other peer "$0" allowed-ips 10.$1.0.$i/32; done; done' \
			"$(printf "%.0s$i" {1..42})E=" $i
		CHURN+=($BG)
	done
	wait_for 'the allowed IPs change' eval '[[ $(ns e wg show other peers | wc -l) == 4 ]]'
}

# figures: measures both modules if that has not been done.
figures() {
	local module name value
	declare -gA C RUST
	for module in c rust; do
		[[ -e /tmp/figures.$module ]] || measure $module > /tmp/figures.$module
		while IFS='=' read -r name value; do
			[[ $module == c ]] && C[$name]=$value || RUST[$name]=$value
		done < /tmp/figures.$module
	done
}
measure() {
	module_use $1 > /dev/null
	module_debug
	ns_add d
	populate $ONE
	took each each_deleted $ONE
	populate $MANY
	took namespace namespace_gone
	churn
	ns_add f
	ipn f link add wg0 type wireguard
	ns f wg set wg0 peer $KA allowed-ips 10.0.0.0/8
	ipn f link set wg0 up
	took others ip -n ${NS}f link del wg0
	kill -KILL "${CHURN[@]}"
	wait "${CHURN[@]}" || true
	ns_del_all
}
row() { note "$(printf '%-50s ours %7d ms, C module %7d ms' "$2" "${RUST[$1]}" "${C[$1]}")"; }

t each 'interfaces are deleted one by one in no more time than with the C module'
each() {
	figures
	row each "$ONE interfaces, one by one"
	((RUST[each] <= C[each]))
}

t namespace 'a namespace is deleted with its interfaces in no more time than with the C module'
namespace() {
	figures
	row namespace "a namespace with $MANY interfaces"
	((RUST[namespace] <= C[namespace]))
}

t others 'endless changes of another interface do not delay a deletion'
others() {
	figures
	row others 'while four others change another interface'
	((RUST[others] <= C[others] * 2 + 100))
}

run "$@"
