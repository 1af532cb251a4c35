#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An interface between its namespaces; and its sockets, keys, packets and timers when it goes down,
# its namespaces vanish, its port changes, or the machine sleeps or is copied.
#
# guests: 1
# kernels: stock kasan
# kasan: circular pinned
# append: pm_notifier_error_inject.priority=-1
# timeout: 400
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

KA=$(printf '%.0sA' {1..42})E=	# the public key of a peer that does not exist

# debug_log: turns on all messages of the module, and marks the place in the log from which `logged`
# reads.
debug_log() {
	module_debug
	sysctl -q net.core.message_cost=0
	LOG_MARK="test-mark-$EPOCHREALTIME"
	echo "<7>$LOG_MARK" > /dev/kmsg
}
log() { dmesg | sed "1,/$LOG_MARK/d"; }
# logged EXPRESSION: how many lines match.
logged() { log | grep -Ec "$1" || true; }
# keypairs created|destroyed: how many.
keypairs() { logged "Keypair [0-9]+ $1 for peer"; }

# counters NAMESPACE: begins to count the messages that it sends to $PORT.
# sent NAMESPACE [1]: how many messages, or initiations, that was.
counters() {
	ns $1 nft "add table inet c; add chain inet c o { type filter hook output priority -10; }
		add rule inet c o udp dport $PORT counter comment \"all\"
		add rule inet c o udp dport $PORT @th,64,8 1 counter comment \"type1\""
}
sent() {
	ns $1 nft list chain inet c o |
		sed -n "s/.*counter packets \([0-9]*\) .*comment \"${2:+type}${2:-all}\".*/\1/p"
}
# handshakes_blocked NAMESPACE…: drops initiations. A session that exists goes on, and no new one
# can be made, until handshakes_free NAMESPACE….
handshakes_blocked() { local n; for n; do ns $n nft "add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o udp dport $PORT @th,64,8 1 drop"; done; }
handshakes_free() { local n; for n; do ns $n nft delete table inet t; done; }

# sockets NAMESPACE [FILTER]: how many UDP sockets there are.
sockets() { ns $1 ss -Hlnu "${@:2}" | wc -l; }
# rise NAMESPACE a|b: sets the addresses of that side's wg0, and wg0 up. After a move nothing else
# is needed.
rise() {
	ipn $1 addr replace 10.8.0.${NUM[$2]}/24 dev wg0
	ipn $1 addr replace fd08::${NUM[$2]}/64 dev wg0
	ipn $1 link set wg0 up
}
# destroyed NAME [COUNT]: waits until COUNT interfaces (default: 1) of that name have been destroyed
# completely.
destroyed() {
	wait_for "$1 is destroyed" eval "((\$(logged ' $1: Interface destroyed') == ${2:-1}))"
}

t moved \
	'an interface that moves goes down, keeps its configuration and leaves its sockets behind'
moved() {
	local n conf
	pair
	ns_add i j
	ping_both
	debug_log
	conf=$(ns a wg showconf wg0)
	for n in i j a i; do
		if [[ $n == i ]]; then
			at=a
			[[ $(ipn j link) != *wg0* ]] || at=j
		elif [[ $n == j ]]; then
			at=i
		else
			at=j
		fi
		ipn $at link set wg0 netns $NS$n
		must_fail ipn $at link show wg0
		[[ $(ipn $n link show wg0) == *'<POINTOPOINT,NOARP>'* ]]
		[[ -z $(ipn $n -o addr show dev wg0) ]]
		[[ $(ns $n wg showconf wg0) == "$conf" ]]
		[[ $(sockets a) == 0 ]]
		must_fail ns b ping -q -c 1 -W 1 10.8.0.1
		rise $n a
		[[ $(sockets a "sport = $PORT") == 2 ]]
		[[ $n == a || $(sockets $n) == 0 ]]
		ns $n ping -q -c 1 -W 20 10.8.0.2
		ns b ping -q -c 1 -W 20 fd08::1
	done
	# Its port can be changed from the namespace where it lives now.
	ns i wg set wg0 listen-port 4000 fwmark 7
	[[ $(sockets a 'sport = 4000') == 2 && $(sockets a) == 2 ]]
	ping_ok i 10.8.0.2
	[[ $(wg_endpoint b) == 10.9.0.1:4000 ]]
	# It vanishes with the namespace where it lives, not with one where it was.
	ns_del j
	ping_ok i fd08::2
	ns_del i
	destroyed wg0
	[[ $(sockets a) == 0 ]]
	wg_new a
	wg_peer a endpoint 10.9.0.2:$PORT
	ping_ok a 10.8.0.2
}

t made_for 'sockets are in the namespace that the request names, or in the one it came from'
made_for() {
	local i
	ns_add a b c
	ipn b link add wg0 link-netns ${NS}a type wireguard
	ipn a link add wg1 netns ${NS}b type wireguard
	ipn c link add wg2 netns ${NS}b link-netns ${NS}a type wireguard
	ipn c link add wg3 netns ${NS}b type wireguard
	ipn b link add wg4 type wireguard
	for i in {0..4}; do
		ns b wg set wg$i listen-port $((1000 + i))
		ipn b link set wg$i up
	done
	[[ $(ns a ss -Hlnu | awk '{ print $4 }' | sort | paste -sd ' ') == \
		'0.0.0.0:1000 0.0.0.0:1001 0.0.0.0:1002 [::]:1000 [::]:1001 [::]:1002' ]]
	[[ $(ns c ss -Hlnu | awk '{ print $4 }' | sort | paste -sd ' ') == \
		'0.0.0.0:1003 [::]:1003' ]]
	[[ $(ns b ss -Hlnu | awk '{ print $4 }' | sort | paste -sd ' ') == \
		'0.0.0.0:1004 [::]:1004' ]]
	# Ports conflict in the namespace of the sockets, wherever the interfaces live.
	ns b wg set wg3 listen-port 1000
	ns b wg set wg0 listen-port 1001 2>&1 | grep -q 'Address already in use'
}

t orphaned \
	'an interface without the namespace of its sockets keeps its settings, and cannot go up'
orphaned() {
	local state conf
	debug_log
	for state in up down; do
		ns_add a i j
		ipn a link add wg0 netns ${NS}i type wireguard
		ns i wg set wg0 private-key <(wg genkey) listen-port 5 fwmark 9 \
			peer $KA allowed-ips 0.0.0.0/0 endpoint 127.0.0.1:9
		ipn i addr add 10.8.0.1/24 dev wg0
		ipn i link set wg0 $state
		conf=$(ns i wg showconf wg0)
		ns_del a
		wait_for 'the module knows' eval "((\$(logged ' wg0: Creating namespace exiting') ==
			$([[ $state == up ]] && echo 1 || echo 2)))"
		# The message is from the first half of the namespace's exit; the other half comes
		# later.
		if [[ $state == up ]]; then
			[[ $(ipn i link show wg0) == *'<NO-CARRIER,POINTOPOINT,NOARP,UP>'* ]]
			must_fail ns i ping -q -c 1 -W 1 -I wg0 192.0.2.1
		fi
		[[ $(ns i wg showconf wg0) == "$conf" ]]
		ns i wg set wg0 listen-port 6 2>&1 | grep -q 'Operation not permitted'
		ns i wg set wg0 fwmark 6 2>&1 | grep -q 'Operation not permitted'
		[[ $(ns i wg showconf wg0) == "$conf" ]]
		ns i wg set wg0 private-key <(wg genkey) peer $KA remove
		[[ -z $(ns i wg show wg0 peers) ]]
		ipn i link set wg0 down
		ipn i link set wg0 up 2>&1 | grep -q 'Machine is not on the network'
		[[ $(ipn i link show wg0) != *UP* ]]
		ipn i link set wg0 name wg1 netns ${NS}j
		ipn j link set wg1 up 2>&1 | grep -q 'Machine is not on the network'
		if [[ $state == up ]]; then ipn j link del wg1; else ns_del j; fi
		destroyed wg1 $([[ $state == up ]] && echo 1 || echo 2)
		ns_del_all
	done
}

t circular 'two namespaces, each with the sockets of an interface in the other, are freed together'
circular() {
	local n
	pair_link
	ns_add z
	keys a b
	debug_log
	# Each interface is made where the other one lives. z holds an end of a veth pair to each
	# namespace, which vanishes when that namespace has been freed.
	for n in a b; do
		ip link add name $n netns ${NS}z type veth peer name up netns $NS$n
		ipn ${OTHER[$n]} link add wg$n netns $NS$n type wireguard
		ns $n wg set wg$n private-key <(echo "${KEY[$n]}") listen-port $PORT \
			peer "${PUB[${OTHER[$n]}]}" allowed-ips 0.0.0.0/0 \
			endpoint "$(outer $n 4):$PORT"
		ipn $n addr add 10.8.0.${NUM[$n]}/24 dev wg$n
		ipn $n link set wg$n up
	done
	ping_ok a 10.8.0.2
	ping_ok b 10.8.0.1
	[[ $(sockets a) == 2 && $(sockets b) == 2 ]]
	ns_del a b
	for n in a b; do
		destroyed wg$n
		wait_for "namespace $n is gone" eval "! ipn z link show dev $n"
	done
	[[ $(logged 'Peer [0-9]+ \(10[.]9[.]0[.][12]:[0-9]+\) destroyed') == 2 ]]
	[[ $(keypairs created) -ge 2 && $(keypairs created) == "$(keypairs destroyed)" ]]
}

t pinned \
	'sockets, cached routes, waiting packets and a running handshake do not keep a namespace'
pinned() {
	ns_add a i z
	debug_log
	ip link add name a netns ${NS}z type veth peer name eth0 netns ${NS}a
	ipn z link set dev a up
	ipn a link set eth0 up
	ipn a addr add 10.9.0.1/24 dev eth0
	ipn a link add wg0 netns ${NS}i type wireguard
	ns i wg set wg0 private-key <(wg genkey) \
		peer $KA allowed-ips 0.0.0.0/0 endpoint 10.9.0.2:$PORT persistent-keepalive 1
	ipn i addr add 10.8.0.1/24 dev wg0
	ipn i link set wg0 up
	counters a
	must_fail ns i ping -q -c 1 -W 1 192.0.2.1
	wait_for 'an initiation is on its way' eval '(($(sent a 1) > 0))'
	ns_del a
	wait_for 'the namespace is gone' eval '! ipn z link show dev a'
	ipn i link del wg0
	destroyed wg0
}

t down \
	'an interface that goes down closes sockets, forgets keys, drops waiting packets, is silent'
down() {
	local rx tx before n
	debug_log
	pair
	counters a
	ping_both
	rx=$(wg_rx a) tx=$(wg_tx a) before=$(wg_handshake a)
	ipn a link set wg0 down
	[[ $(sockets a) == 0 && $(sockets b) == 2 ]]
	[[ $(ns a wg show wg0 listen-port) == "$PORT" ]]
	wait_for 'the keys are gone' eval '(($(keypairs destroyed) > 0))'
	(($(keypairs destroyed) < $(keypairs created)))	# of one side
	ipn b link set wg0 down
	wait_for 'the keys are gone' eval '(($(keypairs destroyed) == $(keypairs created)))'
	# The history in `wg show` stays.
	[[ $(wg_rx a) == "$rx" && $(wg_tx a) == "$tx" && $(wg_handshake a) == "$before" &&
		$(wg_endpoint a) == "10.9.0.2:$PORT" ]]

	ipn a link set wg0 up
	[[ $(ns a wg show wg0 listen-port) == "$PORT" && $(sockets a "sport = $PORT") == 2 ]]
	before=$(sent a)
	ns a python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(7):
    s.sendto(b"x", ("10.8.0.2", 5))'
	wait_for 'an initiation is sent' eval '(($(sent a 1) > before))'
	[[ $(stat a tx_dropped) == 0 ]]
	ipn a link set wg0 down
	[[ $(stat a tx_dropped) == 7 ]]
	# The initiation would have been repeated after 5 seconds. It is not, neither down nor up
	# again.
	before=$(sent a)
	sleep 3
	ipn a link set wg0 up
	sleep 4
	[[ $(sent a) == "$before" ]]
	# Nor are the packets that waited sent when there is a session.
	rise b b; rise a a
	ping_ok a 10.8.0.2
	[[ $(stat a tx_dropped) == 7 ]]
	(($(stat b rx_packets) <= $(stat a tx_packets)))
	[[ $(keypairs created) != "$(keypairs destroyed)" ]]
	ns_del a b
	wait_for 'all is gone' eval '(($(keypairs created) == $(keypairs destroyed) &&
		$(logged "Interface destroyed") == 2))'
}

t down_flood 'an interface that goes down under a flood keeps no packet of it'
down_flood() {
	local i n senders=()
	ns_add a
	ns a sysctl -q net.ipv6.conf.default.disable_ipv6=1
	ipn a link add wg0 type wireguard
	ns a wg set wg0 private-key <(wg genkey) \
		peer $KA allowed-ips 10.8.0.0/24 endpoint 127.0.0.1:$PORT
	ipn a addr add 10.8.0.1/24 dev wg0
	counters a
	for i in 2 3 4 5; do
		bg a python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        s.sendto(b"x", (sys.argv[1], 5))
    except OSError:
        pass' 10.8.0.$i
		senders+=($BG)
	done
	for i in {1..10}; do
		ipn a link set wg0 up
		kill -CONT "${senders[@]}"
		n=$(stat a tx_dropped)
		wait_for 'packets are given to it' eval '(($(stat a tx_dropped) > n + 200))'
		ipn a link set wg0 down
		kill -STOP "${senders[@]}"
		wait_for 'nothing is sent' stopped "${senders[@]}"
		# A kept packet would begin a handshake when the interface is up again.
		n=$(sent a 1)
		ipn a link set wg0 up
		sleep 0.2
		(($(sent a 1) == n))
		ipn a link set wg0 down
	done
	kill -KILL "${senders[@]}"
	wait "${senders[@]}" || true
}

# stopped PROCESS…: succeeds if all of them are stopped.
stopped() { local p; for p; do grep -q '^State:.T' /proc/$p/status || return; done; }

t down_keys 'an interface that goes down while it answers handshakes has no keys afterwards'
down_keys() {
	local i
	pair
	ipn a link set wg0 down
	ipn a link set wg0 name wga
	debug_log
	for i in {1..15}; do
		ipn a link set wga up
		# Down and up, so that b may send an initiation without waiting for 5 seconds.
		ipn b link set wg0 down
		ipn b link set wg0 up
		ns b bash -c 'for i in 1 2 3; do echo > /dev/udp/10.8.0.1/9; done'
		# Some initiations are answered before wga goes down, some while it does, and some
		# are not.
		sleep 0.0$((i % 10))
		ipn a link set wga down
		wait_for 'the keys are gone' \
			eval '(($(wga_keypairs created) == $(wga_keypairs destroyed)))'
	done
	note "$(wga_keypairs created) sessions were begun"
	(($(wga_keypairs created) > 0))
}
wga_keypairs() { logged " wga: Keypair [0-9]+ $1"; }

t up \
	'an interface that comes up sends its persistent keepalives, and may initiate immediately'
up() {
	local i
	pair
	counters a
	ipn a link set wg0 down
	wg_peer a persistent-keepalive 60
	[[ $(sent a) == 0 ]]
	rise a a
	wait_for 'an initiation is sent' eval '(($(sent a 1) > 0))'
	wait_for 'b has heard of it' eval '(($(wg_handshake b) > 0))'
	# Two initiations are 5 seconds apart, unless the interface was down between them. If down
	# and up take that long on a slow machine, the test sees nothing, and tries again.
	wg_peer a persistent-keepalive 0
	for i in {1..20}; do
		ipn a link set wg0 down
		rise a a
		before=$(sent a 1) begun=${EPOCHREALTIME/./}
		ns a ping -q -c 1 -W 20 10.8.0.2
		ipn a link set wg0 down
		rise a a
		ns a ping -q -c 1 -W 20 10.8.0.2
		if ((${EPOCHREALTIME/./} - begun < 4500000)); then
			(($(sent a 1) >= before + 2))
			return
		fi
	done
	skip 'this machine is too slow'
}

# pm EVENT STATE: tries to send the machine to sleep. A notifier that is called after the module's
# refuses.
pm() {
	local error=/sys/kernel/debug/notifier-error-inject/pm/actions/PM_$1_PREPARE/error
	[[ -d /sys/module/pm_notifier_error_inject ]] ||
		modprobe pm-notifier-error-inject priority=-1
	echo -22 > $error
	echo '<7>test-pm' > /dev/kmsg
	must_fail bash -c "echo $2 > /sys/power/state" 2> /tmp/pm
	echo 0 > $error
	grep -q 'Invalid argument' /tmp/pm
}
# keypairs_left: how many keypairs still exist that were created before pm().
keypairs_left() {
	log | awk '
		/test-pm/ { before = NR }
		match($0, /Keypair [0-9]+ /) { at[substr($0, RSTART, RLENGTH)] = / created / ? NR : 0 }
		END { for (i in at) left += at[i] && at[i] < before; print left + 0 }'
}

t late_answer 'an unfinished handshake is forgotten with the keys: its response comes too late'
late_answer() {
	local way i result
	pair
	counters a
	# The case `nothing` shows that a response does come, and is taken from its new source.
	for way in nothing down sleep; do
		for ((i = 0; i < 6; i++)); do
			result=$(late_answer_after $way | tail -n 1)
			[[ $result == unclear ]] || break
		done
		case $way:$result in
		nothing:taken | down:ignored | sleep:ignored) ;;
		*:unclear) skip 'this machine is too slow' ;;
		*) echo "$way: $result"; false ;;
		esac
	done
	wg_peer a endpoint 10.9.0.2:$PORT
	wait_for 'a session is made' ping_ok a 10.8.0.2
}
# late_answer_after nothing|down|sleep: prints whether a response is taken that comes after that
# event: taken or ignored. After 5 seconds the initiation is repeated, and then a response to the
# first one is too late in any case: unclear.
late_answer_after() {
	local n received initiations
	for n in a b; do
		ipn $n link set wg0 down
		rise $n $n
	done
	# A response that is taken moves the endpoint to a port where no socket listens.
	wg_peer a endpoint 10.9.0.2:$PORT
	[[ $1 != sleep ]] || pm SUSPEND freeze	# this one only loads the module that pm needs
	received=$(wg_rx a) initiations=$(sent a 1)
	ns a nft "add table inet r; add chain inet r i { type filter hook input priority 0; }; add rule inet r i udp sport $PORT @th,64,8 2 drop"
	capture b /tmp/pcap "udp and src host 10.9.0.2 and udp[8] == 2"
	ns a bash -c 'echo > /dev/udp/10.8.0.2/9'
	# A capture without packets is a header of 24 bytes.
	wait_for 'the answer is on the wire' eval '(($(wc -c < /tmp/pcap) > 24))'
	case $1 in
	down) ipn a link set wg0 down; rise a a ;;
	sleep) pm SUSPEND freeze ;;
	esac
	# The copy comes from another port, so the rule lets it pass.
	ns b python3 -m wgtest.wire replay /tmp/pcap 2 10.9.0.1 $PORT
	WAIT=2 wait_for 'it is counted as received' eval "((\$(wg_rx a) > $received))" || true
	n=$(sent a 1)
	capture_end
	ns a nft delete table inet r
	if ((n != initiations + 1)); then
		echo unclear
	elif (($(wg_rx a) > received)); then
		echo taken
	else
		echo ignored
	fi
}

t sleeps 'before the machine sleeps all keys are forgotten; interfaces stay up and make new keys'
sleeps() {
	local event before n
	debug_log
	pair
	ping_both
	for event in 'SUSPEND freeze' 'HIBERNATION disk'; do
		before=$(keypairs created)
		((before > $(keypairs destroyed)))
		pm $event
		[[ $(keypairs_left) == 0 ]]
		[[ $(sockets a) == 2 && $(wg_handshake a) -gt 0 ]]
		[[ $(ipn a link show wg0) == *,UP,* ]]
		# The next initiation waits until 5 seconds after the last one.
		ping_ok a 10.8.0.2
		ping_both
		(($(keypairs created) > before))
	done
	# Sleep also works while an interface is down, and without one.
	ipn a link set wg0 down
	pm SUSPEND freeze
	rise a a
	ping_ok a 10.8.0.2
	ipn a link del wg0
	pm SUSPEND freeze
}

t copied \
	'a copied machine sends with none of its keys, even if the RTNL is held, and makes new keys'
copied() {
	local before destroyed holder waiter
	[[ -e /run-token && -n $(echo /sys/bus/acpi/devices/QEMUVGID*) ]] ||
		skip 'nothing here can copy a machine'
	debug_log
	pair
	ping_both
	handshakes_blocked a b
	ping_both
	destroyed=$(keypairs destroyed)
	# Forgetting the keys does not wait for locks that others hold. (The C module waits for the
	# RTNL.)
	if [[ $WG_MODULE == rust ]]; then
		python3 $HERE/hold_rtnl.py > /tmp/held & holder=$!
		wait_for 'the RTNL is held' grep -q held /tmp/held
		ip link set lo up & waiter=$!
	fi
	echo "<5>guest-fork: $(< /run-token)" > /dev/kmsg
	wait_for 'the machine is a copy' \
		eval '(($(logged "crng reseeded due to virtual machine fork") == 1))'
	# The notifiers were called before that message, or are being called.
	wait_for 'nothing passes' eval '! ns a ping -q -c 1 -W 1 10.8.0.2'
	must_fail ns b ping -q -c 1 -W 1 10.8.0.1
	if [[ $WG_MODULE == rust ]]; then
		kill -0 $waiter
		kill -KILL $holder
		wait $waiter
	fi
	[[ $(keypairs destroyed) == "$destroyed" ]]	# data under way still arrives
	before=$(keypairs created)
	handshakes_free a b
	wait_for 'a session is made' ping_ok a 10.8.0.2
	ping_both
	(($(keypairs created) > before))
}

# hold NAMESPACE 4|6 PORT…: starts a process, $HOLD, that takes the ports in one family. It ends
# with the namespace, or by `release`.
hold() {
	bg $1 python3 -c '
import socket, sys, time
family = {"4": socket.AF_INET, "6": socket.AF_INET6}[sys.argv[1]]
held = [socket.socket(family, socket.SOCK_DGRAM) for _ in sys.argv[2:]]
for sock, port in zip(held, sys.argv[2:]):
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("", int(port)))
time.sleep(1000)' "${@:2}"; HOLD=$BG
	wait_for 'the ports are held' eval '(($(sockets '$1' "sport = '${*: -1}'") > 0))'
}
# release: gives the ports up.
release() { kill $HOLD; wait $HOLD || true; }

t ports \
	'a port taken in either family is refused, and changes nothing; a new one keeps the session'
ports() {
	local family
	pair
	ping_both
	handshakes_blocked a b
	ns a wg set wg0 listen-port 7000
	[[ $(sockets a 'sport = 7000') == 2 && $(sockets a) == 2 ]]
	ping_both
	[[ $(wg_endpoint b) == 10.9.0.1:7000 ]]
	for family in 4 6; do
		debug_log
		hold a $family 6000
		ns a wg set wg0 listen-port 6000 2>&1 | grep -q 'Address already in use'
		[[ $(logged "wg0: Could not create IPv$family socket") == 1 ]]
		[[ $(ns a wg show wg0 listen-port) == 7000 ]]
		[[ $(sockets a 'sport = 6000') == 1 && $(sockets a 'sport = 7000') == 2 ]]
		ping_both
		release
	done
	handshakes_free a b
	for family in 4 6; do
		ipn a link set wg0 down
		hold a $family 6000
		ns a wg set wg0 listen-port 6000
		ipn a link set wg0 up 2>&1 | grep -q 'Address already in use'
		[[ $(ipn a link show wg0) != *UP* ]]
		[[ $(ns a wg show wg0 listen-port) == 6000 && $(sockets a) == 1 ]]
		release
		ipn a link set wg0 up
		[[ $(sockets a 'sport = 6000') == 2 && $(sockets a) == 2 ]]
	done
	rise a a
	ping_both
	# Setting the listen port that is already set touches no socket, and succeeds even where no
	# socket could be opened.
	ns a wg set wg0 listen-port 6000
	ping_both
}

t any_port 'without a port an interface takes one that is free in both families, if there is one'
any_port() {
	local port i
	ns_add a
	ipn a link add wg0 type wireguard
	ns a sysctl -q net.ipv4.ip_local_port_range='40000 40003'
	hold a 6 40000 40001 40003
	for i in 1 2 3; do
		ipn a link set wg0 up
		[[ $(ns a wg show wg0 listen-port) == 40002 && $(sockets a 'sport = 40002') == 2 ]]
		[[ $(sockets a) == 5 ]]
		ipn a link set wg0 down
		[[ $(ns a wg show wg0 listen-port) == 40002 ]]	# it keeps that port
		ns a wg set wg0 listen-port 0
	done
	hold a 6 40002
	ipn a link set wg0 up 2>&1 | grep -q 'Address already in use'
	[[ $(ns a wg show wg0 listen-port) == 0 && $(sockets a) == 4 ]]
	release
	ipn a link set wg0 up
	port=$(ns a wg show wg0 listen-port)
	ns a sysctl -q net.ipv4.ip_local_port_range='50000 50010'
	ns a wg set wg0 listen-port 0
	((port == 40002 && $(ns a wg show wg0 listen-port) >= 50000))
}

t no_ipv6 \
	'with IPv6 switched off the tunnel works over IPv4; switched on again, over both'
no_ipv6() {
	pair
	ns a sysctl -q net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	ping_ok a 10.8.0.2
	ipn a link set wg0 down
	ipn a link set wg0 up
	ping_ok a 10.8.0.2
	must_fail ns a ping -q -c 1 -W 1 fd08::2
	wg_peer a endpoint "[fd09::2]:$PORT"
	must_fail ns a ping -q -c 1 -W 2 10.8.0.2
	ipn a link add wg1 type wireguard
	ipn a link set wg1 up
	ns a sysctl -q net.ipv6.conf.all.disable_ipv6=0
	ipn a addr replace fd09::1/64 dev eth0 nodad
	rise a a
	wait_for 'the tunnel works' ping_ok a fd08::2
	wait_for 'b follows' eval '[[ $(wg_endpoint b) == "[fd09::1]:$PORT" ]]'
	# IPv6 is switched off inside only.
	ns b sysctl -q net.ipv6.conf.wg0.disable_ipv6=1
	ping_ok a 10.8.0.2
	must_fail ns a ping -q -c 1 -W 1 fd08::2
}

run "$@"
