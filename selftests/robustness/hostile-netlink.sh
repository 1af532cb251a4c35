#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A storm of netlink requests, most of them wrong, from senders with and without rights, while
# traffic flows, peers and interfaces come and go, interfaces move, and namespaces vanish.
# (hostile_netlink.py makes the requests.)
#
# The requests are random. Their seed is printed, and can be given: SEED=…
#
# guests: 1
# kernels: stock kasan
# timeout: 400
# memory: 1024

# The first test runs the whole storm.
LIMIT=1500
. "$(dirname "$0")/../lib/lib.sh"

: "${SEED:=$RANDOM$RANDOM}"
REQUESTS=$((21000 / SLOW))	# approximately
OUT=/tmp/storm
SETTINGS='sealed|validation|local-.*|bind-.*|aggregate-.*|copy-.*'
SETTINGS+='|label|disabled|require-.*|endpoints'
OTHER+=([c]=e [e]=c) NUM+=([c]=1 [e]=2)

# again COMMAND…: repeats COMMAND in the background until the storm is over, whether it succeeds or
# not.
again() {
	(
		set +xe
		until [[ -e $OUT/over ]]; do
			"$@"
			sleep $((1 + RANDOM % 2)).$((RANDOM % 10))
		done
	) &> /dev/null &
	LOOPS+=($!)
}

# state: prints the configuration of the two namespaces that no sender has a right to change.
state() {
	local n
	for n in a b; do
		# All fields but the time of the handshake and the bytes.
		ns $n wg show all dump | cut -f 1-5,9
		ipn $n -d -o link | sed 's/ qlen.*//'
		ipn $n addr show wg0 | grep inet
		ns $n ss -Hlnu
		# The settings of the family wireguard_ext. None is set.
		[[ $WG_MODULE != rust ]] || ns $n $WGX show wg0 |
			grep -E "^  ($SETTINGS):" || true
	done
}

# playground: makes a second tunnel, between c and e, for the senders that have rights.
playground() {
	local n
	ns_add c d e
	ip link add eth0 netns ${NS}c type veth peer name eth0 netns ${NS}e
	for n in c e; do
		ipn $n addr add 10.7.0.${NUM[$n]}/24 dev eth0
		ipn $n link set eth0 up
	done
	keys c e
	toy c; toy e
}
# toy NAMESPACE: makes an interface with a peer there, which the senders may change.
toy() {
	local o=${OTHER[$1]}
	ipn $1 link add wg0 type wireguard
	ns $1 wg set wg0 private-key <(echo "${KEY[$1]}") listen-port $PORT \
		peer "${PUB[$o]}" allowed-ips 10.6.0.${NUM[$o]}/32 endpoint 10.7.0.${NUM[$o]}:$PORT
	ipn $1 addr add 10.6.0.${NUM[$1]}/24 dev wg0
	ipn $1 link set wg0 up
}

## What else happens during the storm

toy_again() {
	local dev
	for dev in $(ipn c -br link show type wireguard | cut -d ' ' -f 1); do
		ipn c link del $dev
	done
	toy c
}
# Enough peers for a dump of several messages.
toy_peers() {
	local i
	for i in {10..70}; do
		printf '[Peer]\nPublicKey = %sE=\nAllowedIPs = 10.%d.0.0/16' \
			"$(printf '%.0sA' {1..40})$i" $i
		printf ', 10.%d.%d.1/32' $i {1..9} $i {1..9}
		echo
	done > $OUT/peers
	ns c wg addconf wg0 $OUT/peers
	ns c wg set wg0 peer "${PUB[e]}" remove
	ns c wg set wg0 peer "${PUB[e]}" allowed-ips 10.6.0.2/32 endpoint 10.7.0.2:$PORT
	sed -n 's/^PublicKey = \(.*\)/peer \1 remove/p' $OUT/peers |
		xargs ip netns exec ${NS}c wg set wg0
}
moved() {
	ipn c link add wg1 type wireguard
	ns c wg set wg1 listen-port $RANDOM peer "${PUB[e]}" allowed-ips ::/0
	ipn c link set wg1 up
	ipn c link set wg1 netns ${NS}e
	ipn e link set wg1 up
	ipn e link set wg1 netns ${NS}c
	ipn c link del wg1
}
vanishing() {
	ip netns add ${NS}g
	ipn g link add wg0 type wireguard
	ns g wg set wg0 private-key <(echo "${KEY[c]}") listen-port 5 \
		peer "${PUB[e]}" endpoint 127.0.0.1:6 persistent-keepalive 1 allowed-ips 0.0.0.0/0
	ipn g link set lo up
	ipn g link set wg0 up
	ipn g link add wg1 type wireguard
	ipn g link set wg1 netns ${NS}c name wg$RANDOM
	ip netns del ${NS}g
}

# storm COUNT: sends about COUNT requests, with everything else going on.
storm() {
	local role pings begun=$SECONDS failed=0
	LOOPS=()
	rm -rf $OUT; mkdir $OUT
	pair
	playground
	# The secrets of a and b only: senders with rights may see those of c and e.
	for role in a b; do ns $role wg show wg0 private-key; done > $OUT/secrets
	ns a wg set wg0 peer "${PUB[b]}" preshared-key <(wg genpsk | tee -a $OUT/secrets)
	ns b wg set wg0 peer "${PUB[a]}" preshared-key <(tail -n 1 $OUT/secrets)
	chmod a+r $OUT/secrets
	ping_both
	state > $OUT/before
	bg a ping -q -i 0.1 -s 1000 10.8.0.2 > $OUT/ping4; pings=$BG
	bg b ping -q -i 0.1 fd08::1 > $OUT/ping6; pings+=" $BG"

	again ns c timeout 5 ping -q -s 1000 -i 0.05 10.6.0.2
	again ns e timeout 5 ping -q -i 0.05 10.6.0.1
	again toy_again
	again toy_peers
	again moved
	again vanishing
	python3 $HERE/hostile_netlink.py $SEED $1 $OUT/secrets > $OUT/senders 2>&1 || failed=1
	note "$((SECONDS - begun)) s until the last request was sent"
	touch $OUT/over
	wait "${LOOPS[@]}" || true
	kill -INT $pings
	wait $pings || true
	state > $OUT/after
	ping_both
	ns_del_all
	((!failed)) || { cat $OUT/senders; return 1; }
}

# namespaces_gone: succeeds if only two network namespaces are left. These are the initial one, and
# z, made here: the kernel frees the rest of a namespace only when the next one goes.
namespaces_gone() {
	ip netns add ${NS}z
	ip netns del ${NS}z
	sleep 2
	echo 1 > /sys/kernel/slab/net_namespace/shrink
	awk '$1 == "net_namespace" && $2 == 1 { found = 1 } END { exit !found }' /proc/slabinfo
}

# begin: runs all of it, once: a small storm, which fills caches that stay filled, and then the big
# one.
begin() {
	[[ ! -e /tmp/storm.begun ]] || { cat /tmp/storm.done; return; }
	touch /tmp/storm.begun
	note "made from SEED=$SEED"
	storm $((REQUESTS / 20))
	wait_for 'the namespaces are gone' namespaces_gone
	python3 -m wgtest.memory used > /tmp/before
	storm $REQUESTS
	wait_for 'the namespaces are gone' namespaces_gone
	python3 -m wgtest.memory used > /tmp/after
	touch /tmp/storm.done
}

t requests '20,000 random and mutated requests, from senders with and without rights, are answered'
requests() {
	begin
	python3 - $OUT <<-'PY'
	import json, os, sys
	roles = [json.loads(line) for line in open(sys.argv[1] + "/senders")]
	for role in roles:
	    shown = ", ".join(f"{count} {what}" for what, count in sorted(role["answers"].items(), key=lambda item: -item[1])[:7])
	    print(f"NOTE: {role['role']:9} {role['sent']:6} requests in {role['seconds']:3.0f} s: {shown}")
	print(sum(role["sent"] for role in roles), file=open("/tmp/sent", "w"))
	done = {role["role"]: role["answers"].get("done", 0) for role in roles}
	assert len(roles) == 8
	# Some requests of the senders with rights were done. A slow kernel gets fewer of them.
	least = max(1, 5 // int(os.environ["SLOW"]))
	assert all(done[role] >= least for role in ("root", "links", "owner", "creator")), done
	PY
	(($(< /tmp/sent) >= 20000 / SLOW))
}

t rights 'a sender without rights is refused each time, sees no key and changes nothing'
rights() {
	begin
	# hostile_netlink.py fails on any wrong answer. Here it remains to see that there were
	# refusals.
	local role
	for role in nobody unmapped outside; do
		grep "\"role\": \"$role\"" $OUT/senders | grep -q '"EPERM": [0-9][0-9][0-9]'
	done
	[[ -s $OUT/before ]]
	diff $OUT/before $OUT/after
}

t traffic 'the tunnel between a and b has lost no packet'
traffic() {
	local way
	begin
	for way in 4 6; do
		note "$(grep transmitted $OUT/ping$way)"
		# The last ping may still have been on its way.
		awk '/transmitted/ { ok = $1 > 10 && $1 - $4 <= 1 } END { exit !ok }' $OUT/ping$way
	done
}

t nothing_left 'no memory, no interface and no namespace is left behind'
nothing_left() {
	local before after
	begin
	read -r _ before < /tmp/before
	read -r _ after < /tmp/after
	note "$before kB before, $after kB after"
	# KASAN keeps freed memory for a while, to catch a late use. With KASAN, kmemleak decides.
	[[ -e $LEAKS ]] || ((after - before < 4000))
	[[ -z $(ip netns list) ]]
	[[ -z $(ip -br link show type wireguard) ]]
	[[ $(< /sys/module/wireguard/refcnt) == 0 ]]
}

t works 'the module can be unloaded and loaded again, and a tunnel works'
works() {
	begin
	rmmod wireguard
	module_load
	pair
	ping_both
}

run "$@"
