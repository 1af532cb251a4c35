#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the netlink family `wireguard_ext` and `wgx set` set: settings of an interface and of a peer
# that the family `wireguard` does not have.
#
# steer.py has the tests that make requests themselves.
#
# guests: 1
# clock: instructions
# kernels: stock kasan
# kasan: policy hostile disabled preshared_key sealed pinned endpoints
# timeout: 900

. "$(dirname "$0")/../lib/lib.sh"

# tunnel: makes a tunnel, and A and B the public keys of its ends.
tunnel() {
	need_ours
	pair
	A=${PUB[a]} B=${PUB[b]}
}
# one TEST: makes a namespace with a wg0 that has a peer, and runs that part of steer.py in it.
one() {
	need_ours
	ns_add a
	keys a b
	wg_new a
	wg_peer a
	ns a timeout 300 python3 "$HERE/steer.py" "$1" "${PUB[b]}" "${KEY[a]}"
}
# set_peer NAMESPACE WORD…: sets something of the only peer there.
set_peer() { ns $1 $WGX set wg0 peer "${PUB[${OTHER[$1]}]}" "${@:2}"; }
# field NAMESPACE NAME: what `wgx show` says of the only peer there, as JSON; or nothing.
field() {
	ns $1 $WGX show wg0 --json | python3 -c "
import json, sys
peer = json.load(sys.stdin)[0]['peer'][0]
value = {**peer, **peer.get('counts', {})}.get('$2')
print('' if value is None else json.dumps(value))"
}
# refused ERROR COMMAND…: succeeds if COMMAND fails and says ERROR.
refused() {
	must_fail "${@:2}" 2> /tmp/said
	grep -q "$1" /tmp/said || { cat /tmp/said; false; }
}
# sends NAMESPACE ADDRESS: sends a datagram into the tunnel, and prints the error if there is one.
sends() {
	ns $1 python3 -c "
import errno, socket, sys
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('$2', 9))
except OSError as error:
    print(errno.errorcode[error.errno])"
}
# sessions NAMESPACE: the number of sessions with the only peer there.
sessions() { ns $1 $WGX show wg0 | grep -c '^  session: ' || true; }

t policy 'requests that are wrong are refused with a reason, and change nothing'
policy() {
	one policy
	refused 'Operation not permitted' ns a $RESTRICTED $WGX set wg0 peer "${PUB[b]}" label x
	refused 'Operation not permitted' ns a $RESTRICTED $WGX set wg0 sealed yes
	refused 'the interface has no such peer' ns a $WGX set wg0 peer "${PUB[a]}" label x
	refused 'this cannot be set' ns a $WGX set wg0 nonsense 1
	refused 'this is no public key' ns a $WGX set wg0 peer nonsense label x
	refused 'takes one of these: no, yes' ns a $WGX set wg0 peer "${PUB[b]}" disabled maybe
	refused 'a value is missing' ns a $WGX set wg0 peer "${PUB[b]}" disabled
	[[ -z $(field a label)$(field a disabled) ]]
	ns_add b
	refused 'No such device' ns b $WGX set wg0 peer "${PUB[b]}" label x
}

t told 'each change of a setting is told to those who listen'
told() { one told; }

t hostile 'random requests are carried out or refused, and nothing else happens'
hostile() { one hostile; }

t ynl "the kernel's own client sets and reads all of it by the specification alone"
ynl() { one ynl; }

t label 'a peer has the label that it was given, until it is taken away'
label() {
	tunnel
	set_peer a label 'Büro 7'
	[[ $(field a label) == '"B\u00fcro 7"' ]]
	ns a $WGX show wg0 | grep -q '^  label: Büro 7$'
	# Bytes that are not UTF-8, and bytes that a terminal would carry out.
	set_peer a label $'\xff\e[31m'
	ns a $WGX show wg0 | grep -qF '  label: \xff\x1b[31m'
	set_peer a label "$(printf '%.0sx' {1..64})"
	[[ $(field a label) == "\"$(printf '%.0sx' {1..64})\"" ]]
	must_fail set_peer a label "$(printf '%.0sx' {1..65})"
	set_peer a label ''
	[[ -z $(field a label) ]]
	ping_both
}

t disabled 'a disabled peer is sent nothing, and nothing of it is taken'
disabled() {
	tunnel
	ping_ok a 10.8.0.2
	ns a wg set wg0 peer "$B" persistent-keepalive 1
	set_peer a disabled yes
	[[ $(sessions a) == 0 && $(field a disabled) == 1 ]]
	local tx=$(wg_tx a) rx=$(wg_rx a)
	capture b /tmp/disabled.pcap "src host 10.9.0.1 and udp"
	[[ $(sends a 10.8.0.2) == EACCES && $(stat a tx_errors) -gt 0 ]]
	# The other side still has the session. Later it begins a handshake.
	sends b 10.8.0.1
	ns b wg set wg0 peer "$A" remove
	wg_peer b endpoint 10.9.0.1:$PORT
	local count=$(field a peer-disabled)
	another() { sends b 10.8.0.1; [[ $(field a peer-disabled) -gt $count ]]; }
	wait_for 'its handshake is refused' another
	[[ $(sessions a) == 0 ]]
	ns a $WGX why wg0 | grep -q 'The peer is disabled'
	# It stays so when the interface goes down and up.
	ipn a link set wg0 down
	ipn a link set wg0 up
	[[ $(sends a 10.8.0.2) == EACCES ]]
	capture_end
	[[ $(wg_tx a) == "$tx" && $(wg_rx a) == "$rx" ]]
	nothing_in tcpdump -n -r /tmp/disabled.pcap
	# It sends its keepalive as soon as it is enabled, though nobody sends anything.
	ns b wg set wg0 peer "$A" remove
	wg_peer b
	set_peer a disabled no
	[[ -z $(field a disabled) ]]
	wait_for 'there is a session' eval '(($(sessions a) == 1))'
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	ping_ok b 10.8.0.1
}

t preshared_key 'no handshake is begun or answered without a preshared key that is required'
preshared_key() {
	tunnel
	ping_ok a 10.8.0.2
	set_peer a require-preshared-key yes
	[[ $(sessions a) == 0 && $(field a require-preshared-key) == 1 ]]
	local tx=$(wg_tx a)
	[[ $(sends a 10.8.0.2) == ENOKEY ]]
	# The other side begins.
	ns b wg set wg0 peer "$A" remove
	wg_peer b endpoint 10.9.0.1:$PORT
	local count=$(field a no-preshared-key)
	((count >= 1))
	another() { sends b 10.8.0.1; [[ $(field a no-preshared-key) -gt $count ]]; }
	wait_for 'its handshake is refused' another
	[[ $(wg_tx a) == "$tx" && $(sessions a) == 0 ]]
	ns a $WGX why wg0 | grep -q 'requires a preshared key, and there is none'
	wg genpsk > /tmp/psk
	ns a wg set wg0 peer "$B" preshared-key /tmp/psk
	ns b wg set wg0 peer "$A" preshared-key /tmp/psk
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	ping_both
	# The key goes, and with it the session.
	ns a wg set wg0 peer "$B" preshared-key /dev/null
	[[ $(sessions a) == 0 && $(sends a 10.8.0.2) == ENOKEY ]]
	set_peer a require-preshared-key no
	[[ -z $(field a require-preshared-key)$(sends a 10.8.0.2) ]]
	# A session that was made without a key ends, although there is one now.
	ns b wg set wg0 peer "$A" preshared-key /dev/null
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	ns a wg set wg0 peer "$B" preshared-key /tmp/psk
	[[ $(sessions a) != 0 ]]
	set_peer a require-preshared-key yes
	[[ $(sessions a) == 0 ]]
}

t sealed 'sealed keys are never given out again, and others are as before'
sealed() {
	tunnel
	local psk=$(wg genpsk)
	ns a wg set wg0 peer "$B" preshared-key <(echo "$psk")
	ns b wg set wg0 peer "$A" preshared-key <(echo "$psk")
	ipn a link add wg1 type wireguard
	ns a wg set wg1 private-key <(echo "${KEY[a]}") peer "$B" preshared-key <(echo "$psk") \
		peer "$(printf '%.0sA' {1..42})E=" preshared-key <(echo "$psk")
	# A peer alone.
	ns a $WGX set wg1 peer "$B" sealed yes
	[[ $(ns a wg show wg1 preshared-keys | grep -F "$B") == *'(none)' ]]
	[[ $(ns a wg show wg1 preshared-keys | grep -c -F "$psk") == 1 ]]
	[[ $(ns a wg show wg1 private-key) == "${KEY[a]}" ]]
	# All of an interface.
	[[ $(ns a wg show wg0 private-key) == "${KEY[a]}" ]]
	ns a $WGX set wg0 sealed yes
	ns a wg show wg0 dump > /tmp/dump
	ns a $WGX show wg0 --json >> /tmp/dump
	must_fail grep -qF -e "$psk" -e "${KEY[a]}" /tmp/dump
	[[ $(ns a wg show wg0 public-key) == "$A" ]]
	ns a $WGX show wg0 | grep -q '^  sealed: yes$'
	[[ $(ns b wg show wg0 preshared-keys) == *"$psk" ]]
	ping_both
	# New keys are sealed, too, and there is no way back.
	psk=$(wg genpsk)
	ns a wg set wg0 peer "$B" preshared-key <(echo "$psk")
	ns b wg set wg0 peer "$A" preshared-key <(echo "$psk")
	[[ $(ns a wg show wg0 preshared-keys) == *'(none)' ]]
	refused 'keys that are sealed stay sealed' ns a $WGX set wg0 sealed no
	refused 'keys that are sealed stay sealed' set_peer a sealed no
	ns a wg set wg0 private-key <(wg genkey)
	[[ $(ns a wg show wg0 private-key) == '(none)' ]]
}

t pinned 'nothing that arrives moves a pinned endpoint, and its administrator does'
pinned() {
	one pinned
	set_peer a endpoint 192.0.2.1:7 pinned yes
	[[ $(field a endpoint-state) == '"pinned"' ]]
	ns a $WGX show wg0 | grep -q '^  endpoint: 192.0.2.1:7, pinned$'
}

t validation 'an interface has its own validation mode, whatever the parameter is'
validation() { one validation; }

t endpoint 'an endpoint that is set begins a handshake without a wait'
endpoint() { one endpoint; }

t endpoints 'a list of endpoints is tried in turn, and data flow within 6 s if the first is dead'
endpoints() {
	one endpoints
	set_peer a endpoints 192.0.2.1:7,[2001:db8::1]:8
	[[ $(field a endpoints) == '["192.0.2.1:7", "[2001:db8::1]:8"]' ]]
	[[ $(field a endpoint) == '"192.0.2.1:7"' ]]
	refused 'no address with a port' set_peer a endpoints 192.0.2.1
	refused 'no address with a port' set_peer a endpoint example.com:7
	set_peer a endpoints none endpoint [2001:db8::1]:8
	[[ -z $(field a endpoints) && $(field a endpoint) == '"[2001:db8::1]:8"' ]]
}

t lost_initiation 'a lost initiation does not move a session from an endpoint where the peer is heard'
lost_initiation() { one lost_initiation; }

# two_links: makes a tunnel and a second link eth1, with 10.9.1.0/24. Both ends have an address
# 10.9.9.NUM, to which either link can lead; the first one does. Captures what leaves a.
two_links() {
	local n
	need_ours
	pair
	A=${PUB[a]} B=${PUB[b]}
	ip link add eth1 netns ${NS}a type veth peer name eth1 netns ${NS}b
	for n in a b; do
		ipn $n addr add 10.9.1.${NUM[$n]}/24 dev eth1
		ipn $n addr add 10.9.9.${NUM[$n]}/32 dev lo
		ipn $n link set eth1 up
	done
	ipn b route add 10.9.9.1 via 10.9.0.1
	ipn a route add 10.9.9.2 via 10.9.0.2
	E0=$(ns a cat /sys/class/net/eth0/ifindex) E1=$(ns a cat /sys/class/net/eth1/ifindex)
	ns a wg set wg0 peer "$B" endpoint 10.9.9.2:$PORT
	watch a
}
# watch NAMESPACE: captures all of UDP there, by all interfaces, until watched.
watch() { CAPTURE_IF=any capture $1 /tmp/watch.pcap udp and port $PORT; }
# watched FILTER…: ends the capture. Succeeds if something left, and all of it as FILTER says.
watched() {
	sleep 0.5
	capture_end
	[[ -n $(tcpdump -n -r /tmp/watch.pcap outbound and "$@" 2> /dev/null) ]]
	nothing_in tcpdump -n -r /tmp/watch.pcap outbound and not \( "$@" \)
}
# to_ipv6: has a send to the IPv6 address of b. By IPv4 b sends nothing any more: it tries a
# handshake when a is silent, and that would move the endpoint back.
to_ipv6() {
	ns b iptables -A OUTPUT -o eth+ -p udp -j DROP
	ns a wg set wg0 peer "$B" endpoint "[fd09::2]:$PORT"
}
# dropped: succeeds once another message could not leave as bound.
dropped() {
	local before=$(bound_drops)
	another() { sends a 10.8.0.2; (($(bound_drops) > before)); }
	wait_for 'a message is dropped' another
}
bound_drops() {
	ns a $WGX show wg0 --json | python3 -c "
import json, sys
print(json.load(sys.stdin)[0]['counts'].get('not-as-bound', 0))"
}

t bound_device 'nothing leaves by another device than bound, also if that is deleted'
bound_device() {
	two_links
	ping_ok a 10.8.0.2
	watched ifindex $E0
	ns a $WGX set wg0 bind-ifindex eth1
	watch a
	ns a $WGX show wg0 | grep -q '^  bind-ifindex: [0-9]* (eth1 here)$'
	# There is no route by eth1: IPv4 takes the other end as being on that link.
	wait_for 'the tunnel works by eth1' ping_ok a 10.8.0.2
	ipn a route add 10.9.9.2 via 10.9.1.2 metric 9
	wait_for 'the tunnel works by eth1' ping_ok a 10.8.0.2
	# Routes change.
	ipn a route del 10.9.9.2 via 10.9.1.2
	ns a ping -q -c 2 -W 1 10.8.0.2 || true
	ipn a route replace 10.9.9.2 via 10.9.1.2
	wait_for 'the tunnel works by eth1' ping_ok a 10.8.0.2
	# What arrives elsewhere is not taken, nor after the sockets have been made again.
	local change at rx port=$PORT
	for change in none down port; do
		case $change in
		down) ipn a link set wg0 down; ipn a link set wg0 up ;;
		port) port=$((PORT + 1)); ns a wg set wg0 listen-port $port ;;
		esac
		rx=$(wg_rx a)
		for at in 10.9.0.1 '[fd09::1]'; do
			# Without a session the other end begins a handshake.
			ns b wg set wg0 peer "$A" remove
			wg_peer b endpoint "$at:$port"
			must_fail ns b ping -q -c 2 -W 1 10.8.0.1
		done
		[[ $(wg_rx a) == "$rx" ]]
	done
	ns a wg set wg0 listen-port $PORT
	ns b wg set wg0 peer "$A" endpoint 10.9.1.1:$PORT
	wait_for 'the tunnel works by eth1' ping_ok a 10.8.0.2
	ipn a route replace 10.9.9.2 via 10.9.0.2
	# The device goes. Another one of the same name is not the same.
	ipn a link del eth1
	dropped
	ip link add eth1 netns ${NS}a type veth peer name eth1 netns ${NS}b
	ipn a addr add 10.9.1.1/24 dev eth1
	ipn a link set eth1 up
	dropped
	ns a $WGX why wg0 | grep -q 'could not leave as wg0 is bound'
	watched ifindex $E1
	# An endpoint by IPv6, which a route leads to by eth0.
	watch a
	to_ipv6
	dropped
	ns a $WGX set wg0 bind-ifindex none
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	watched ifindex $E0
}

t bound_address 'nothing leaves from another address than bound, whether it is there or not'
bound_address() {
	two_links
	ping_ok a 10.8.0.2
	watched src host 10.9.0.1
	ns a $WGX set wg0 local-ipv4 10.9.9.1 local-ipv6 fd09::77
	watch a
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	wait_for 'the tunnel works' ping_ok b 10.8.0.1
	# A peer that talks to another address is answered from this one.
	ns b wg set wg0 peer "$A" endpoint 10.9.0.1:$PORT
	wait_for 'the tunnel works' ping_ok b 10.8.0.1
	# The address goes and comes.
	ipn a addr del 10.9.9.1/32 dev lo
	dropped
	ipn a addr add 10.9.9.1/32 dev lo
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	# The IPv6 address is not there.
	to_ipv6
	dropped
	watched src host 10.9.9.1
	watch a
	ipn a addr add fd09::77/64 dev eth0 nodad
	wait_for 'the tunnel works' ping_ok a 10.8.0.2
	watched src host fd09::77
}

t bound_vrf 'datagrams leave and arrive by an interface of the VRF that is bound'
bound_vrf() {
	two_links
	ping_ok a 10.8.0.2
	watched ifindex $E0
	ipn a link add red type vrf table 7
	local red=$(ns a cat /sys/class/net/red/ifindex)
	ipn a link set red up
	ipn a link set eth1 master red
	ipn a route add 10.9.9.2 via 10.9.1.2 table 7
	ipn b route replace 10.9.9.1 via 10.9.1.1
	ns a $WGX set wg0 bind-ifindex red
	watch a
	wait_for 'the tunnel works by the VRF' ping_ok a 10.8.0.2
	wait_for 'the tunnel works by the VRF' ping_ok b 10.8.0.1
	ipn a route del 10.9.9.2 via 10.9.1.2 table 7
	dropped
	ipn a link del red
	dropped
	watched "(ifindex $E1 or ifindex $red)"
}

wire() { python3 -m wgtest.wire "$@"; }
# datagrams ADDRESS CLASS/LABEL…: sends datagrams of 1,000 bytes from a into the tunnel, by one
# socket, with these traffic classes and flow labels.
datagrams() { ns a python3 "$HERE/steer.py" datagrams "$@"; }
# unanswered: has b take the datagrams without an ICMP error.
unanswered() {
	ns b iptables -A INPUT -i wg0 -p udp -j DROP
	ns b ip6tables -A INPUT -i wg0 -p udp -j DROP
}
# outside COUNT: waits until a capture has that many packets with data, ends it, and sets CLASSES to
# their lines of `wire classes`.
outside() {
	all_left() { (($(wire classes /tmp/outside.pcap | wc -l) >= $1)); }
	wait_for 'the packets have left' all_left $1
	capture_end
	CLASSES=$(wire classes /tmp/outside.pcap)
}
capture_outside() {
	capture a /tmp/outside.pcap "udp and src port $PORT and (src host 10.9.0.1 or fd09::1)"
}

# leave_as FAMILY DSCP LABEL: sends packets with DSCP EF, each of the congestion bits and, by IPv6,
# the label 12345. Succeeds if the outer headers have this DSCP and these labels, and congestion
# bits as ever.
leave_as() {
	local label=00000 bits
	[[ $1 == 4 ]] || label=$3
	capture_outside
	datagrams 10.8.0.2 b8/0 ba/0 b9/0 bb/0
	datagrams fd08::2 b8/12345 ba/12345 b9/12345 bb/12345
	outside 8
	[[ $CLASSES == "$(
		for bits in 0 2 1 2; do printf '%d %02x 00000 1072\n' $1 $((0x$2 | bits)); done
		for bits in 0 2 1 2; do printf "%d %02x $label 1088\n" $1 $((0x$2 | bits)); done)" ]]
}

t copies 'the outer header has the DSCP and the flow label of the packet where that is set'
copies() {
	need_ours
	local family
	for family in 4 6; do
		pair $family
		ping_both
		unanswered
		leave_as $family 00 00000
		ns a $WGX set wg0 copy-dscp yes
		leave_as $family b8 00000
		ns a $WGX set wg0 copy-flow-label yes
		leave_as $family b8 12345
		ns a $WGX set wg0 copy-dscp no
		leave_as $family 00 12345
		ns a $WGX set wg0 copy-flow-label no
		leave_as $family 00 00000
		ns_del a b
	done
}

t copies_in_runs 'packets whose outer headers differ do not leave in one run'
copies_in_runs() {
	tunnel
	unanswered
	# together: sends datagrams that wait for a session, and then leave. Sets CLASSES.
	together() {
		ns a wg set wg0 peer "$B" remove
		wg_peer a endpoint "[fd09::77]:$PORT"
		capture_outside
		datagrams fd08::2 b8/1 b8/1 00/1 00/1 00/2 00/2
		set_peer a endpoint "[fd09::2]:$PORT"
		outside $1
	}
	together 1
	[[ $CLASSES == '6 00 00000 6528' ]]
	ns a $WGX set wg0 copy-dscp yes
	together 2
	[[ $CLASSES == $'6 b8 00000 2176\n6 00 00000 4352' ]]
	ns a $WGX set wg0 copy-dscp no copy-flow-label yes
	together 2
	[[ $CLASSES == $'6 00 00001 4352\n6 00 00002 2176' ]]
	ns a $WGX set wg0 copy-dscp yes
	together 3
	[[ $CLASSES == $'6 b8 00001 2176\n6 00 00001 2176\n6 00 00002 2176' ]]
}

t aggregation 'an interface has its own way with aggregates, and others go by the parameter'
aggregation() {
	need_ours
	local n parameters=/sys/module/wireguard/parameters
	pair
	for n in a b; do
		ipn $n link add wg1 type wireguard
		ipn $n addr add 10.7.0.${NUM[$n]}/24 dev wg1
		ns $n wg set wg1 private-key <(echo "${KEY[$n]}") listen-port 51821 \
			peer "${PUB[${OTHER[$n]}]}" endpoint 10.9.0.${NUM[${OTHER[$n]}]}:51821 \
			allowed-ips 10.7.0.0/24
		ipn $n link set wg1 up
	done
	ping_ok a 10.8.0.2
	ping_ok a 10.7.0.2
	# sends_by wg0|wg1 NAMESPACE: sends from a to b by that interface. Sets LONG to the number
	# of packets on eth0 there that a packet socket sees and that are longer than a datagram.
	sends_by() {
		capture $2 /tmp/long.pcap "udp and src host 10.9.0.1 and port 5182${1#wg} and greater 1515"
		iperf a 10.$((8 - ${1#wg})).0.2 -n 2M > /dev/null
		capture_end
		LONG=$(tcpdump -n -r /tmp/long.pcap 2> /dev/null | wc -l)
	}
	# ways NAMESPACE tx|rx: succeeds if wg0 has its own way in one direction, and wg1 has not.
	ways() {
		sends_by wg0 $1; ((LONG > 0))
		ns $1 $WGX set wg0 aggregate-$2 never
		sends_by wg0 $1; ((LONG == 0))
		sends_by wg1 $1; ((LONG > 0))
		echo N > $parameters/aggregate_$2
		ns $1 $WGX set wg0 aggregate-$2 always
		sends_by wg0 $1; ((LONG > 0))
		sends_by wg1 $1; ((LONG == 0))
		ns $1 $WGX set wg0 aggregate-$2 parameter
		sends_by wg0 $1; ((LONG == 0))
		echo Y > $parameters/aggregate_$2
	}
	ways a tx
	# As between network cards: datagrams are single on the link, and the receiver may join
	# them.
	for n in a b; do ns $n ethtool -K eth0 tx-udp-segmentation off tso off gro on; done
	ways b rx
}

run "$@"
