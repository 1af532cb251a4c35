#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The netlink family `wireguard_ext` and the tool wgx: what is counted, what is told to listeners,
# and what is said to be the cause of a fault.
#
# extensions.py has the tests that make messages themselves.
#
# guests: 1
# clock: instructions
# kernels: stock kasan
# kasan: policy hostile counts events faults_of_keys
# timeout: 900

. "$(dirname "$0")/../lib/lib.sh"

# ext TEST: makes a namespace with a wg0 that has a key, and runs that part of extensions.py in it.
ext() {
	need_ours
	ns_add a
	keys a
	wg_new a
	ns a timeout 300 python3 "$HERE/extensions.py" "$1" "${KEY[a]}"
}

# diagnose: makes a tunnel, and starts a process that answers `codes`. A tool that is started for
# each question would take most of the time of the test.
diagnose() {
	need_ours
	pair
	coproc WHY { exec python3 "$HERE/extensions.py" answer_why -; }
}
# codes NAMESPACE: sets CODES to what wgx why says of wg0 there, as codes in order.
codes() {
	echo $NS$1 >&"${WHY[1]}"
	read -r CODES <&"${WHY[0]}"
}
# says NAMESPACE CODE…: succeeds once wgx why says exactly that.
says() {
	local n=$1; shift
	said() { codes $n; [[ $CODES == "$*" ]]; }
	wait_for "wgx why in $n says '$*'" said "$@" || { echo "it says '$CODES'"; return 1; }
}
# try NAMESPACE: has something to send to the other side, and waits for no answer.
try() { ns $1 ping -q -c 1 -W 1 10.8.0.${NUM[${OTHER[$1]}]} || true; }

t policy 'requests that are wrong, or from somebody without the right, are refused with a reason'
policy() {
	ext policy
	ns_add b
	must_fail ns b $WGX show wg0 2> /tmp/said
	grep -q 'wg0: No such device' /tmp/said
	must_fail ns a $RESTRICTED $WGX show wg0 2> /tmp/said
	grep -q 'wg0: Operation not permitted' /tmp/said
	must_fail ns a $RESTRICTED $WGX monitor 2> /tmp/said
	grep -q 'CAP_NET_ADMIN' /tmp/said
	must_fail ns a $WGX nonsense
	ns a $WGX --help | grep -q monitor
}

t hostile 'random requests are answered or refused, and nothing else happens'
hostile() { ext hostile; }

t ynl "the kernel's own client reads the dump by the specification alone"
ynl() { ext ynl; }

t dump_1000 'a dump of 1,000 peers has each of them once, also if peers go while it is read'
dump_1000() { ext dump_1000; }

t counts 'each event moves its own counter'
counts() { ext counts; }

t reasons "a tracer sees each refusal and each drop, with its reason and the core's"
reasons() { ext reasons; }

t drop_reasons "a packet that is dropped has the core's reason that says why"
drop_reasons() { ext drop_reasons; }

t traces 'a tracer sees handshake messages, sessions and moves'
traces() { ext traces; }

t events 'events arrive in order, in the namespace of the interface and in no other'
events() { ext events; }

t prompt 'each event arrives within 10 ms of its cause'
prompt() { ext prompt; }

t endpoint_states 'an endpoint is said to be proven, not proven yet, or refused'
endpoint_states() { ext endpoint_states; }

t moved 'an allowed IP that moves from one peer to another is told with both'
moved() { ext moved; }

t silent_listener 'a listener that never reads loses messages, is told so, and holds up nobody'
silent_listener() { ext silent_listener; }

t flood 'a million refused messages make at most ten messages a second, and the rest is counted'
flood() { ext flood; }

t load 'under load the interface says so, and wgx why names the rate limit'
load() { ext load; }

t faults_of_keys 'wgx why names wrong keys on either side, and a wrong preshared key'
faults_of_keys() {
	diagnose
	local b=${PUB[b]} a=${PUB[a]}
	says a idle
	# This side has a wrong key for the other one.
	ns a wg set wg0 peer "$b" remove
	keys x
	ns a wg set wg0 peer "${PUB[x]}" allowed-ips 10.8.0.2/32 endpoint 10.9.0.2:$PORT
	try a
	says b idle wrong-mac1
	says a no-answer
	# The other side does not know this one.
	ns a wg set wg0 peer "${PUB[x]}" remove peer "$b" allowed-ips 10.8.0.2/32 \
		endpoint 10.9.0.2:$PORT
	ns b wg set wg0 peer "$a" remove peer "${PUB[x]}" allowed-ips 10.8.0.1/32
	try a
	says b no-endpoint unknown-key wrong-mac1
	says a no-answer
	# The preshared keys differ.
	ns b wg set wg0 peer "${PUB[x]}" remove peer "$a" allowed-ips 10.8.0.1/32 \
		preshared-key <(wg genpsk)
	ns a wg set wg0 peer "$b" remove peer "$b" allowed-ips 10.8.0.2/32 endpoint 10.9.0.2:$PORT
	try a
	says a preshared-key
	says b answers-unconfirmed unknown-key wrong-mac1
	ns b wg set wg0 peer "$a" preshared-key /dev/null
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	says a
}

t faults_outside 'wgx why names a firewall or wrong port as far as can be seen, and no route'
faults_outside() {
	diagnose
	local b=${PUB[b]}
	ns b iptables -A INPUT -p udp --dport $PORT -j DROP
	try a
	says a no-answer
	says b idle
	ns b iptables -F INPUT
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	says a
	# A wrong port.
	ns a wg set wg0 peer "$b" remove peer "$b" allowed-ips 10.8.0.2/32 endpoint 10.9.0.2:7
	try a
	says a no-answer
	ns a $WGX why wg0 | grep -q 'nothing comes back from 10.9.0.2:7\.'
	# No route.
	ns a wg set wg0 peer "$b" endpoint 203.0.113.1:$PORT
	try a
	says a no-route
	# No endpoint.
	ns a wg set wg0 peer "$b" remove peer "$b" allowed-ips 10.8.0.2/32
	try a
	says a no-endpoint
	ipn a link set wg0 down
	says a interface-down
}

t faults_inside 'wgx why names allowed IPs that lack the source, and an MTU too large for the path'
faults_inside() {
	diagnose
	ns b wg set wg0 peer "${PUB[a]}" allowed-ips 10.8.0.77/32
	try a
	says b allowed-ips
	says a
	ns b wg set wg0 peer "${PUB[a]}" allowed-ips 10.8.0.1/32
	ping_ok a 10.8.0.2
	ipn a link set eth0 mtu 1400
	says a mtu
	ns a $WGX why | grep -q 'ip link set wg0 mtu 1336'
	ipn a link set wg0 mtu 1336
	says a
	must_fail ns a ping -c 1 -W 1 10.8.0.99
	says a tx-no-peer
}

t faults_of_clock 'wgx why names a clock that was set back'
faults_of_clock() {
	diagnose
	ping_ok a 10.8.0.2
	date -s '-1 hour'
	# A new start, with a clock that lags behind.
	ns a wg set wg0 peer "${PUB[b]}" remove
	wg_peer a endpoint 10.9.0.2:$PORT
	try a
	says b clock
	says a no-answer
	date -s '+1 hour'
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	says a
}

t faults_of_copies 'wgx why names two hosts with one private key'
faults_of_copies() {
	diagnose
	ipn a link add wg1 type wireguard
	ns a wg set wg1 private-key <(echo "${KEY[a]}") peer "${PUB[b]}" endpoint 10.9.0.2:$PORT \
		allowed-ips 10.8.0.2/32
	ipn a link set wg1 up
	# Each begins a handshake when it gets no answers, and takes the other one's away.
	bg a ping -q -I wg0 10.8.0.2 > /dev/null
	bg a ping -q -I wg1 10.8.0.2 > /dev/null
	moved() { codes b; [[ " $CODES " == *" endpoint-moved "* ]]; }
	wait_for 'wgx why says that the endpoint moves' moved
}

t show 'wgx show prints what was counted, for people and as JSON'
show() {
	need_ours
	pair
	ping_ok a 10.8.0.2
	ns a $WGX > /tmp/shown
	grep -q '^interface: wg0$' /tmp/shown
	grep -q "^peer: ${PUB[b]}\$" /tmp/shown
	grep -q '^  session: current, .* begun here, index [0-9a-f]* here' /tmp/shown
	grep -q '^  handshake-completed: 1$' /tmp/shown
	grep -q '^  round trip of it: [0-9.]* ms$' /tmp/shown
	ns a $WGX show wg0 --json | python3 -c "
import json, sys
device, = json.load(sys.stdin)
peer, = device['peer']
assert device['is-up'] and peer['public-key'] == '${PUB[b]}' and peer['rx-bytes'] > 0, device
assert peer['counts']['handshake-begun'] == peer['counts']['handshake-completed'] == 1, peer"
}

run "$@"
