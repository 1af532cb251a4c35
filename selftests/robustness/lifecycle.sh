#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Interfaces, peers, namespaces and the module itself come and go under traffic.
#
# guests: 1
# kernels: stock kasan kcsan
# kasan: delete_busy peer_busy unload_busy
# kcsan: delete_busy peer_busy
# timeout: 900
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

# busy: begins TCP and UDP traffic both ways through the pair's tunnel, which `quiet` ends. The
# traffic may be cut off at any time.
busy() {
	local n
	for n in a b; do
		bg $n iperf3 -s -D -p 5300 > /dev/null
	done
	wait_for 'iperf3 listens' listening a tcp 5300
	wait_for 'iperf3 listens' listening b tcp 5300
	BUSY=()
	bg a iperf3 -c 10.8.0.2 -p 5300 -t 600 -P 2 > /dev/null 2>&1; BUSY+=($BG)
	bg b iperf3 -c fd08::1 -p 5300 -u -b 0 -l 500 -t 600 > /dev/null 2>&1; BUSY+=($BG)
	wait_for 'the traffic flows' eval '(($(wg_rx a) > 100000 && $(wg_rx b) > 100000))'
}
quiet() {
	kill -KILL "${BUSY[@]}" 2> /dev/null || true
	wait "${BUSY[@]}" || true
}

t delete_busy 'an interface is deleted and made again under traffic'
delete_busy() {
	local i n
	pair
	for i in 1 2 3; do
		busy
		n=$([[ $((i % 2)) == 1 ]] && echo a || echo b)
		ipn $n link del wg0
		quiet
		ns a killall -q -KILL iperf3 || true
		ns b killall -q -KILL iperf3 || true
		wg_new $n
		wg_peer $n endpoint "$(outer ${OTHER[$n]} 4):$PORT"
		# The side that stayed notices by itself that its session is dead: it has sent, and
		# heard nothing for 15 s.
		WAIT=120 wait_for 'the tunnel works again' \
			ping_ok $n "$([[ $n == a ]] && echo 10.8.0.2 || echo 10.8.0.1)"
		ping_both
	done
}

t peer_busy 'a peer is removed and comes back under traffic'
peer_busy() {
	local i
	pair
	busy
	for i in {1..10}; do
		ns b wg set wg0 peer "${PUB[a]}" remove
		[[ -z $(ns b wg show wg0 peers) ]]
		wg_peer b endpoint "$(outer a 4):$PORT"
		wait_for 'the tunnel works again' ns b ping -q -c 1 -W 5 10.8.0.1
	done
	quiet
	ping_both
}

t reconfigure_busy 'every setting is changed again and again under traffic'
reconfigure_busy() {
	local i
	pair
	busy
	for i in {1..10}; do
		ns b wg set wg0 fwmark $((i % 2)) listen-port $((PORT + i))
		wg_peer a endpoint "$(outer b 4):$((PORT + i))" persistent-keepalive $((i % 3))
		ns a wg set wg0 peer "${PUB[b]}" allowed-ips 10.8.0.2/32,fd08::2/128,10.$i.0.0/16
		ipn a link set wg0 mtu $((1280 + i * 10))
		wg_peer b preshared-key <(wg genpsk)
		wg_peer b preshared-key /dev/null
	done
	for i in {1..3}; do
		ipn a link set wg0 down
		ipn a link set wg0 up
		ipn a addr replace fd08::1/64 dev wg0
	done
	quiet
	WAIT=120 wait_for 'the tunnel works' ns a ping -q -c 1 -W 5 10.8.0.2
	ping_both
}

t namespace_busy \
	'under traffic a namespace vanishes: the one an interface lives in, the one it was made in'
namespace_busy() {
	local i
	for i in 1 2; do
		pair
		busy
		ns_del b
		quiet
		ns_del a
	done
	# An interface keeps its configuration when the namespace that it was made in is gone, but
	# has no socket.
	ns_add a b
	ip link add wg0 netns ${NS}b link-netns ${NS}a type wireguard 2> /dev/null || {
		ipn a link add wg0 type wireguard
		ipn a link set wg0 netns ${NS}b
	}
	ns b wg set wg0 listen-port 5 \
		peer "$(printf '%.0sA' {1..42})E=" allowed-ips 0.0.0.0/0 endpoint 127.0.0.1:9
	ipn b link set wg0 up
	[[ $(ns a ss -Hlnu 'sport = 5' | wc -l) == 2 ]]
	ns_del a
	wait_for 'the carrier is gone' eval '[[ $(ns b cat /sys/class/net/wg0/carrier) == 0 ]]'
	[[ $(ns b wg show wg0 allowed-ips) == *0.0.0.0/0 ]]
	ns b wg set wg0 listen-port 6 2>&1 | grep -q 'Operation not permitted'
	must_fail ns b ping -q -c 1 -W 1 -I wg0 192.0.2.1
	ipn b link set wg0 down
	ipn b link set wg0 up 2>&1 | grep -q 'Machine is not on the network'
	ipn b link del wg0
}

t move_busy \
	'an interface moves to and fro under traffic; at last the namespace it was made in vanishes'
move_busy() {
	local i n
	pair
	ns_add c
	busy
	for i in 1 2 3; do
		for n in c a; do
			ipn ${AT:-a} link set wg0 netns $NS$n; AT=$n
			ipn $n addr add 10.8.0.1/24 dev wg0
			ipn $n addr add fd08::1/64 dev wg0
			ipn $n link set wg0 up
			wait_for 'the tunnel works' ns $n ping -q -c 1 -W 5 10.8.0.2
		done
	done
	quiet
	# A connection that is still sending after its end would keep the namespace.
	wait_for 'no connection is left' \
		eval '[[ -z $(ns a ss -Hnt state connected exclude time-wait) ]]'
	ping_both
	ipn a link set wg0 netns ${NS}c
	ipn c addr add 10.8.0.1/24 dev wg0
	ipn c link set wg0 up
	bg c ping -q -f 10.8.0.2 > /dev/null; i=$BG
	wait_for 'the traffic flows' eval '(($(wg_rx c) > 100000))'
	ns_del a
	wait_for 'the carrier is gone' eval '[[ $(ns c cat /sys/class/net/wg0/carrier) == 0 ]]'
	must_fail ns c ping -q -c 1 -W 1 10.8.0.2
	ipn c link del wg0
	kill $i; wait $i || true
	[[ $(ns b ss -Hlnu "sport = $PORT" | wc -l) == 2 ]]
}

t unload_busy \
	'under traffic the module is unloaded, or refuses to be; then it is loaded again'
unload_busy() {
	local i users
	for i in 1 2 3; do
		pair
		busy
		if rmmod wireguard 2> /tmp/rmmod; then
			[[ ! -d /sys/module/wireguard ]]
			must_fail ipn a link show wg0
			must_fail ipn b link show wg0
			[[ -z $(ns a ss -Hlnu "sport = $PORT") ]]
		else
			cat /tmp/rmmod
			grep -q 'in use' /tmp/rmmod
			ping_both
		fi
		quiet
		ns_del a b
		[[ ! -d /sys/module/wireguard ]] || wait_for 'the module can go' rmmod wireguard
		module_load
		module_prove
	done
	pair
	ping_both
}

t unload_idle 'the module is loaded and unloaded ten times'
unload_idle() {
	local i
	for i in {1..10}; do
		[[ ! -d /sys/module/wireguard ]] || rmmod wireguard
		module_load
		ip link add wgt-wg0 type wireguard
		ip link set wgt-wg0 up
		wg set wgt-wg0 private-key <(wg genkey) \
			peer "$(printf '%.0sA' {1..42})E=" allowed-ips 192.0.2.0/24
		ip link del wgt-wg0
	done
}

t autoload 'the kernel loads the installed module by itself for the first interface, and for `wg`'
autoload() {
	local dir
	[[ ! -d /sys/module/wireguard ]] || rmmod wireguard
	if [[ $WG_MODULE == rust ]]; then
		dir=/lib/modules/$(uname -r)/updates
		mkdir -p $dir
		cp $KO $dir/
		depmod
	fi
	ns_add a
	ipn a link add wg0 type wireguard
	module_prove
	ipn a link del wg0
	rmmod wireguard
	ns a wg show lo 2>&1 | grep -q 'Operation not supported'
	module_prove
	rmmod wireguard
	rm -rf "${dir:-/nonexistent}"
	[[ $WG_MODULE != rust ]] || depmod
	module_load
}

t memory 'a thousand peers and their keys leave no memory behind'
memory() {
	local i
	ns_add a
	python3 - > /tmp/conf <<-'PY'
	import base64, hashlib
	for i in range(1000):
	    key = base64.b64encode(hashlib.sha256(b"%d" % i).digest()).decode()
	    print(f"[Peer]\nPublicKey = {key}\nAllowedIPs = 10.{i >> 8}.{i & 255}.0/24,2001:db8:{i:x}::/48")
	PY
	for i in 0 1 2 3; do
		ipn a link add wg0 type wireguard
		ns a wg setconf wg0 /tmp/conf
		ipn a link set wg0 up
		ipn a link del wg0
		# The first round fills caches that stay.
		((i > 0)) || python3 -m wgtest.memory save /tmp/memory
	done
	# KASAN keeps freed memory for a while; with KASAN, kmemleak decides.
	if [[ ! -e $LEAKS ]]; then
		python3 -m wgtest.memory compare /tmp/memory 500 > /tmp/more ||
			{ cat /tmp/more; return 1; }
		note "more than before: $(< /tmp/more)"
	fi
}

run "$@"
