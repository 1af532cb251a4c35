#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Several processes concurrently change everything that can be changed, while traffic goes both
# ways. Each test does so for 15 seconds, or for RACES seconds.
#
# guests: 1
# kernels: kasan kcsan
# timeout: 120
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

RACES=${RACES:-15}

# over_and_over COMMAND…: repeats COMMAND in the background until the time is over, whether it
# succeeds or not. It has to succeed once, unless CUT_OFF is set.
over_and_over() {
	local end=$((SECONDS + RACES)) succeeded=0
	(
		set +xe
		while ((SECONDS < end)); do
			# Not in a condition, where `set -e` would have no effect.
			(set -e; "$@")
			(($?)) || succeeded=1
		done
		((succeeded)) || [[ -n ${CUT_OFF:-} ]]
	) &> /tmp/loop.${#LOOPS[@]} &
	LOOPS+=($!)
	COMMANDS+=("$*")
}
LOOPS=() COMMANDS=()

# over: waits until all of them have ended. Fails if one hangs, or has never succeeded.
over() {
	local i failed=0
	WAIT=$((RACES + 120)) wait_for 'all is over' eval '! kill -0 "${LOOPS[@]}"'
	for i in "${!LOOPS[@]}"; do
		wait "${LOOPS[i]}" || {
			echo "this never succeeded: ${COMMANDS[i]}"
			tail -n 3 /tmp/loop.$i
			failed=1
		}
	done
	LOOPS=() COMMANDS=()
	((!failed))
}

# traffic: begins traffic of every kind, which starts again whenever it is cut off.
traffic() {
	local n
	for n in a b; do
		bg $n iperf3 -s -p 5300 > /dev/null
		wait_for 'iperf3 listens' listening $n tcp 5300
	done
	CUT_OFF=yes over_and_over ns a timeout 10 iperf3 -c 10.8.0.2 -p 5300 -t 5
	CUT_OFF=yes over_and_over ns b timeout 10 iperf3 -c fd08::1 -p 5300 -u -b 20M -l 400 -t 5
	CUT_OFF=yes over_and_over ns a timeout 10 ping -q -f -s 1200 10.8.0.2
	CUT_OFF=yes over_and_over ns b timeout 10 ping -q -f -s 3000 fd08::1
}

# still_works: fails unless a new tunnel works.
still_works() {
	ns_del_all
	pair
	ping_both
}

# wg_again a|b: replaces that side's interface by a new one like that of pair().
wg_again() {
	ipn $1 link del wg0
	wg_new $1
	wg_peer $1 endpoint "$(outer ${OTHER[$1]} $((RANDOM % 2 ? 4 : 6))):$PORT"
}

t peers 'peers and their allowed IPs come and go'
peers() {
	pair
	traffic
	remove_and_add() {
		ns b wg set wg0 peer "${PUB[a]}" remove
		wg_peer b endpoint "$(outer a 4):$PORT"
		sleep 0.$((RANDOM % 10))
	}
	strangers() {
		local i
		for i in {10..40}; do
			echo "[Peer]"
			echo "PublicKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA${i}E="
			echo "AllowedIPs = 10.$i.0.0/16, 2001:db8:$i::/48"
		done > /tmp/strangers
		ns a wg addconf wg0 /tmp/strangers
		ns b wg addconf wg0 /tmp/strangers
		sed -n 's/^PublicKey = \(.*\)/peer \1 remove/p' /tmp/strangers |
			xargs ip netns exec ${NS}a wg set wg0
		sed -n 's/^PublicKey = \(.*\)/peer \1 remove/p' /tmp/strangers |
			xargs ip netns exec ${NS}b wg set wg0
	}
	steal() {
		ns a wg set wg0 peer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA99E= \
			allowed-ips 10.8.0.2/32,fd08::/64
		ns a wg set wg0 peer "${PUB[b]}" \
			allowed-ips 10.8.0.2/32,fd08::2/128,10.$((RANDOM % 250)).0.0/16
		ns a wg set wg0 peer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA99E= remove
	}
	over_and_over remove_and_add
	over_and_over strangers
	over_and_over steal
	over_and_over ns a wg show all dump
	over
	still_works
}

t changes 'keys, preshared keys, ports, marks and endpoints change'
changes() {
	pair
	traffic
	private() {
		ns a wg set wg0 private-key <(wg genkey)
		ns a wg set wg0 private-key <(echo "${KEY[a]}")
		sleep 0.$((RANDOM % 10))
	}
	# For a moment b has the key of its peer, which removes the peer.
	own() {
		ns b wg set wg0 private-key <(echo "${KEY[a]}")
		ns b wg set wg0 private-key <(echo "${KEY[b]}")
		wg_peer b endpoint "$(outer a 6):$PORT"
		sleep 0.$((RANDOM % 10))
	}
	preshared() {
		wg genpsk > /tmp/psk
		wg_peer a preshared-key /tmp/psk persistent-keepalive $((RANDOM % 3))
		wg_peer b preshared-key /tmp/psk
		wg_peer a preshared-key /dev/null
		wg_peer b preshared-key /dev/null
	}
	sockets() {
		ns a wg set wg0 listen-port $((PORT + RANDOM % 3)) fwmark $((RANDOM % 3))
		wg_peer b endpoint "$(outer a 4):$((PORT + RANDOM % 3))"
	}
	over_and_over private
	over_and_over own
	over_and_over preshared
	over_and_over sockets
	over_and_over ns b wg show wg0 dump
	over
	still_works
}

t interfaces 'interfaces go down and up, are removed and made again'
interfaces() {
	pair
	traffic
	down_up() {
		ipn a link set wg0 down
		ipn a link set wg0 up
		ipn a addr replace fd08::1/64 dev wg0
		sleep 0.$((RANDOM % 10))
	}
	remake() {
		wg_again b
		sleep 1.$((RANDOM % 10))
	}
	mtu() {
		ipn a link set wg0 mtu $((1280 + RANDOM % 200))
		ipn b link set wg0 mtu $((1280 + RANDOM % 200))
	}
	moved() {
		ipn a link add wg1 type wireguard
		ipn a link set wg1 netns ${NS}b
		ipn b link set wg1 up
		ns b wg set wg1 listen-port $RANDOM
		ipn b link del wg1
	}
	over_and_over down_up
	over_and_over remake
	over_and_over mtu
	over_and_over moved
	over_and_over ns a wg show all dump
	over
	still_works
}

t namespaces 'namespaces vanish with everything in them, and the module with its interfaces'
namespaces() {
	local end=$((SECONDS + RACES)) n
	while ((SECONDS < end)); do
		pair
		for n in a b; do
			bg $n timeout 5 ping -q -f -s 1200 10.8.0.${NUM[${OTHER[$n]}]} \
				> /dev/null 2>&1
			bg $n timeout 5 ping -q -f fd08::${NUM[${OTHER[$n]}]} > /dev/null 2>&1
		done
		sleep 0.$((RANDOM % 10))
		if ((RANDOM % 2)); then
			ip netns del ${NS}a & ns_del b
			wait $!
			ip netns pids ${NS}a | xargs -r kill -KILL || true
		else
			rmmod wireguard
			module_load
		fi
		ns_del_all
	done
	still_works
}

run "$@"
