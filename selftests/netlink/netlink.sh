#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The configuration interface: `ip link` and `wg` show the settings that they made, and wrong
# requests are refused.
#
# guests: 1
# architectures: amd64 arm64
# kernels: stock kasan
# kasan: peer_attributes allowedips refusals dump_and_change dump_and_delete
# timeout: 600
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"

K1=$(printf '%.0sA' {1..42})E=	# public keys of peers that do not exist
K2=$(printf '%.0sB' {1..42})E=
K3=$(printf '%.0sC' {1..42})E=

# one: makes a namespace with a wg0 that is down.
one() { ns_add a; ipn a link add wg0 type wireguard; }
wga() { ns a wg "$@"; }
# dump_is LINE…: succeeds if `wg show wg0 dump` prints these lines, with spaces for tabs.
dump_is() { [[ $(wga show wg0 dump | tr '\t' ' ') == "$(printf '%s\n' "$@")" ]]; }
# peers_90x60: prints a configuration of 90 peers, ${K1:0:40}10E= to ${K1:0:40}99E=, with 60 allowed
# IPs each. Its dump has many messages.
peers_90x60() {
	local i
	for i in {10..99}; do
		printf '[Peer]\nPublicKey = %s\n' ${K1:0:40}${i}E=
		printf "AllowedIPs = 10.$i.%d.0/24\n" {1..60}
	done
}
feature() { ns a ethtool -k wg0 | grep -Eq "^[[:space:]]*$1: $2"; }

t link_defaults 'a new interface has the kind, type, MTU, flags and features of a WireGuard one'
link_defaults() {
	one
	local all flag
	all=$(ipn a -d link show wg0)
	[[ $all == *'<POINTOPOINT,NOARP>'* ]]
	[[ $all == *'mtu 1420 qdisc noop'* ]]
	[[ $all == *'link/none'* ]]
	[[ $all == *'minmtu 0 maxmtu 2147483552'* ]]
	[[ $all == *$'\n    wireguard '* ]]
	[[ $(ns a cat /sys/class/net/wg0/type) == 65534 ]]
	[[ $(ns a cat /sys/class/net/wg0/addr_len) == 0 ]]
	[[ $(ns a cat /sys/class/net/wg0/uevent) == *DEVTYPE=wireguard* ]]
	for flag in tx-checksumming scatter-gather tcp-segmentation-offload \
		generic-segmentation-offload generic-receive-offload tx-checksum-ip-generic \
		rx-checksumming; do
		feature $flag on
	done
	ipn a link set wg0 mtu 2147483552
	must_fail ipn a link set wg0 mtu 2147483553
	ipn a link set wg0 mtu 1
	dump_is '(none) (none) 0 off'
	ipn a link set wg0 mtu 1420
	ipn a link set wg0 up
	[[ $(ipn a link show wg0) == *'<POINTOPOINT,NOARP,UP,LOWER_UP>'* ]]
	[[ -z $(ipn a -6 addr show dev wg0 scope link) ]]	# no link-local address of its own
	[[ $(ns a cat /proc/sys/net/ipv4/conf/wg0/send_redirects) == 0 ]]
}

t link_names \
	'an interface can be renamed, moved to another namespace, made there, made by the hundred'
link_names() {
	local i
	one; ns_add b
	wga set wg0 listen-port 1234
	ipn a link set wg0 name tunnel7
	[[ $(wga show tunnel7 listen-port) == 1234 ]]
	must_fail wga show wg0
	ipn a link set tunnel7 netns ${NS}b
	[[ $(ns b wg show tunnel7 listen-port) == 1234 ]]
	[[ -z $(wga show interfaces) ]]
	ipn a link add wg1 netns ${NS}b type wireguard
	[[ $(ns b wg show interfaces | tr ' ' '\n' | sort | tr '\n' ' ') == 'tunnel7 wg1 ' ]]
	must_fail ipn b link add wg1 type wireguard
	for ((i = 0; i < 100; i++)); do echo "link add m$i type wireguard"; done | ipn a -b -
	[[ $(wga show interfaces | wc -w) == 100 ]]
	for ((i = 0; i < 100; i++)); do echo "link del m$i"; done | ipn a -b -
	[[ -z $(wga show interfaces) ]]
}

t private_key 'a private key is clamped, shown with its public key, and removed again'
private_key() {
	local key pub
	one
	wga set wg0 private-key <(echo //////////////////////////////////////////8=)
	[[ $(wga show wg0 private-key) == +P///////////////////////////////////////38= ]]
	key=$(wg genkey) pub=$(wg pubkey <<< "$key")
	wga set wg0 private-key <(echo "$key")
	dump_is "$key $pub 0 off"
	wga set wg0 private-key /dev/null
	dump_is '(none) (none) 0 off'
}

t device_attributes 'listen port and mark are set, shown and reset'
device_attributes() {
	one
	wga set wg0 listen-port 65535 fwmark 0xfffffffe
	dump_is '(none) (none) 65535 0xfffffffe'
	wga set wg0 listen-port 0 fwmark 0
	dump_is '(none) (none) 0 off'
}

t listen_port \
	'an interface that is up listens on both families, on a free port if it has none set'
listen_port() {
	local port
	one
	[[ -z $(ns a ss -Hlnu) ]]
	ipn a link set wg0 up
	port=$(wga show wg0 listen-port)
	((port > 0))
	[[ $(ns a ss -Hlnu "sport = $port" | wc -l) == 2 ]]
	wga set wg0 listen-port 4242
	[[ $(ns a ss -Hlnu "sport = 4242" | wc -l) == 2 ]]
	[[ -z $(ns a ss -Hlnu "sport = $port") ]]
	ipn a link add wg1 type wireguard
	wga set wg1 listen-port 4242
	ipn a link set wg1 up 2>&1 | grep -q 'Address already in use'
	wga set wg1 listen-port 4243
	ipn a link set wg1 up
	wga set wg1 listen-port 4242 2>&1 | grep -q 'Address already in use'
	ipn a link set wg0 down
	[[ -z $(ns a ss -Hlnu "sport = 4242") ]]
	[[ $(wga show wg0 listen-port) == 4242 ]]
	ipn a link del wg0
	ipn a link del wg1
	wait_for 'the sockets are gone' eval '[[ -z $(ns a ss -Hlnu) ]]'
}

t without_ipv6 'an interface works where IPv6 is switched off'
without_ipv6() {
	one
	ns a sysctl -q net.ipv6.conf.all.disable_ipv6=1
	ipn a link set wg0 up
	[[ $(wga show wg0 listen-port) != 0 ]]
}

t peer_attributes 'every attribute of a peer is set, changed and shown'
peer_attributes() {
	local psk
	one
	psk=$(wg genpsk)
	wga set wg0 peer $K1
	dump_is '(none) (none) 0 off' "$K1 (none) (none) (none) 0 0 0 off"
	wga set wg0 peer $K1 preshared-key <(echo "$psk") endpoint 192.0.2.7:65535 \
		persistent-keepalive 65535 allowed-ips 198.51.100.0/24,2001:db8::/32
	dump_is '(none) (none) 0 off' \
		"$K1 $psk 192.0.2.7:65535 198.51.100.0/24,2001:db8::/32 0 0 0 65535"
	wga set wg0 peer $K1 endpoint '[2001:db8::7]:1'
	dump_is '(none) (none) 0 off' \
		"$K1 $psk [2001:db8::7]:1 198.51.100.0/24,2001:db8::/32 0 0 0 65535"
	wga set wg0 peer $K1 endpoint '[fe80::7%lo]:1' persistent-keepalive off \
		preshared-key /dev/null
	dump_is '(none) (none) 0 off' \
		"$K1 (none) [fe80::7%lo]:1 198.51.100.0/24,2001:db8::/32 0 0 0 off"
	wga set wg0 peer $K1 allowed-ips ''
	dump_is '(none) (none) 0 off' "$K1 (none) [fe80::7%lo]:1 (none) 0 0 0 off"
}

t peers 'peers are shown in the order they were added, removed singly, and replaced together'
peers() {
	one
	wga set wg0 peer $K2 peer $K1 peer $K3
	[[ $(wga show wg0 peers | tr '\n' ' ') == "$K2 $K1 $K3 " ]]
	wga set wg0 peer $K1 remove
	[[ $(wga show wg0 peers | tr '\n' ' ') == "$K2 $K3 " ]]
	wga set wg0 peer $K1 remove	# not there: nothing happens
	[[ $(wga show wg0 peers | tr '\n' ' ') == "$K2 $K3 " ]]
	wga set wg0 peer $K1 remove peer $K2 remove peer $K2 persistent-keepalive 7
	[[ $(wga show wg0 persistent-keepalive) == "$K3	off"$'\n'"$K2	7" ]]
	wga setconf wg0 <(printf '%s\n' '[Interface]' 'ListenPort = 77' 'FwMark = 0x5' \
		'[Peer]' "PublicKey = $K1" 'AllowedIPs = 192.0.2.0/24')
	dump_is '(none) (none) 77 0x5' "$K1 (none) (none) 192.0.2.0/24 0 0 0 off"
	wga addconf wg0 <(printf '%s\n' '[Peer]' "PublicKey = $K2" 'Endpoint = 192.0.2.1:1')
	dump_is '(none) (none) 77 0x5' "$K1 (none) (none) 192.0.2.0/24 0 0 0 off" \
		"$K2 (none) 192.0.2.1:1 (none) 0 0 0 off"
	wga syncconf wg0 <(printf '%s\n' '[Interface]' 'ListenPort = 77' \
		'[Peer]' "PublicKey = $K2" 'AllowedIPs = ::/0' '[Peer]' "PublicKey = $K3")
	dump_is '(none) (none) 77 off' "$K2 (none) 192.0.2.1:1 ::/0 0 0 0 off" \
		"$K3 (none) (none) (none) 0 0 0 off"
	wga showconf wg0 > /tmp/conf
	wga setconf wg0 /tmp/conf
	dump_is '(none) (none) 77 off' "$K2 (none) 192.0.2.1:1 ::/0 0 0 0 off" \
		"$K3 (none) (none) (none) 0 0 0 off"
}

t own_key \
	'a peer with the interface'"'"'s own key is ignored, or removed when the interface gets it'
own_key() {
	one
	keys a b
	wga set wg0 private-key <(echo "${KEY[a]}")
	wga set wg0 peer "${PUB[a]}" allowed-ips 192.0.2.1/32
	[[ -z $(wga show wg0 peers) ]]
	wga set wg0 peer "${PUB[b]}" peer $K1
	[[ $(wga show wg0 peers | tr '\n' ' ') == "${PUB[b]} $K1 " ]]
	wga set wg0 private-key <(echo "${KEY[b]}")
	[[ $(wga show wg0 peers) == "$K1" ]]
}

t allowedips \
	'allowed IPs lose their host bits, belong to one peer only, and go singly or all together'
allowedips() {
	ips() { wga show wg0 allowed-ips | tr '\t\n' ' |'; }
	one
	wga set wg0 peer $K1 \
		allowed-ips 10.1.2.3/8,192.0.2.255/31,0.0.0.0/0,2001:db8:ffff::1/33,::/0,1.2.3.4
	[[ $(ips) == \
		"$K1 10.0.0.0/8 192.0.2.254/31 0.0.0.0/0 2001:db8:8000::/33 ::/0 1.2.3.4/32|" ]]
	wga set wg0 peer $K2 allowed-ips 10.0.0.0/8,10.0.0.0/9
	[[ $(ips) == "$K1 192.0.2.254/31 0.0.0.0/0 2001:db8:8000::/33 ::/0 1.2.3.4/32|$K2 10.0.0.0/8 10.0.0.0/9|" ]]
	wga set wg0 peer $K1 allowed-ips +10.0.0.0/9
	[[ $(ips) == *"1.2.3.4/32 10.0.0.0/9|$K2 10.0.0.0/8|" ]]
	wga set wg0 peer $K1 allowed-ips +2001:db8:8000::/33	# its own already: it is the last now
	[[ $(ips) == "$K1 192.0.2.254/31 0.0.0.0/0 ::/0 1.2.3.4/32 10.0.0.0/9 2001:db8:8000::/33|$K2 10.0.0.0/8|" ]]
	wga set wg0 peer $K1 allowed-ips -10.0.0.0/8	# of another peer: nothing happens
	wga set wg0 peer $K1 allowed-ips -10.0.0.0/10	# of no peer: nothing happens
	[[ $(ips) == *"1.2.3.4/32 10.0.0.0/9 2001:db8:8000::/33|$K2 10.0.0.0/8|" ]]
	wga set wg0 peer $K1 allowed-ips -0.0.0.0/0,-::/0,-1.2.3.4/32
	[[ $(ips) == "$K1 192.0.2.254/31 10.0.0.0/9 2001:db8:8000::/33|$K2 10.0.0.0/8|" ]]
	wga set wg0 peer $K1 allowed-ips 8.8.8.8/32
	[[ $(ips) == "$K1 8.8.8.8/32|$K2 10.0.0.0/8|" ]]
	wga set wg0 peer $K2 remove
	wga set wg0 peer $K2
	[[ $(ips) == "$K1 8.8.8.8/32|$K2 (none)|" ]]
}

t keys_wiped 'a request that is refused has no keys any more when it comes back with the error'
keys_wiped() {
	need_ours
	one
	ns a timeout 100 python3 - <<-'PY'
	from wgtest.wgnl import (A_IFNAME, A_PEERS, A_PRIVATE_KEY, NETLINK_CAP_ACK, NLM_F_ACK, P_PRESHARED_KEY,
	                         P_PROTOCOL_VERSION, SET_DEVICE, SOL_NETLINK, Socket, attr, nest, peer, u32)
	sock = Socket()
	sock.sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 0)
	keys = [bytes([number]) * 32 for number in (0xa1, 0xa2, 0xa3)]
	public = [bytes([number]) * 32 for number in (0xb1, 0xb2)]
	for version in 1, 2:
	    request = attr(A_IFNAME, "wg0") + attr(A_PRIVATE_KEY, keys[0]) + nest(A_PEERS, *(
	        peer(key, attr(P_PRESHARED_KEY, psk), attr(P_PROTOCOL_VERSION, u32(version)))
	        for key, psk in zip(public, keys[1:])))
	    sock.send(SET_DEVICE, request, NLM_F_ACK)
	    answer = sock.sock.recv(65536)
	    assert (version == 2) == all(key in answer for key in public), (version, answer)
	    assert not any(key in answer for key in keys), (version, answer)
	PY
}

t many_moves 'allowed IPs that are given, moved and taken away again and again stay listed in order'
many_moves() {
	one
	ns a timeout 300 python3 - <<-'PY'
	import random, socket
	from wgtest.wgnl import (A_IFNAME, A_PEERS, GET_DEVICE, I_CIDR, I_FLAGS, I_IPADDR, P_ALLOWEDIPS,
	                         P_PUBLIC_KEY, SET_DEVICE, Socket, allowedip, attr, nest, parse, peer, u32)
	sock, name, random = Socket(), attr(A_IFNAME, "wg0"), random.Random(7)
	keys = [bytes([number]) * 32 for number in (1, 2, 3)]
	prefixes = [(socket.AF_INET, bytes([10, 0, n >> 8, n & 255])) for n in range(400)]
	prefixes += [(socket.AF_INET6, b"\xfd" + bytes(13) + bytes([n >> 8, n & 255]))
	             for n in range(400)]
	model = {key: {} for key in keys}	# for each peer, what it has, in order
	def change(key, changes):
	    """Gives these prefixes to a peer, or takes them from it."""
	    entries = []
	    for prefix, give in changes:
	        family, address = prefix
	        flags = () if give else (attr(I_FLAGS, u32(1)),)
	        entries.append(allowedip(family, address, 8 * len(address), *flags))
	        if give:
	            for theirs in model.values():
	                theirs.pop(prefix, None)
	            model[key][prefix] = True
	        else:
	            model[key].pop(prefix, None)
	    sock.do(SET_DEVICE, name + nest(A_PEERS, peer(key, nest(P_ALLOWEDIPS, *entries))))
	def compare():
	    found = {key: [] for key in keys}
	    for _, data in sock.dump(GET_DEVICE, name):
	        for value in (value for kind, value in parse(data) if kind == A_PEERS):
	            for entry in (dict(parse(p)) for _, p in parse(value)):
	                found[entry[P_PUBLIC_KEY]] += [
	                    dict(parse(ip))[I_IPADDR] for _, ip in parse(entry.get(P_ALLOWEDIPS, b""))]
	    for key in keys:
	        assert found[key] == [address for _, address in model[key]], (key[0], found[key])
	for key in keys:
	    change(key, [])
	for _ in range(300):
	    change(random.choice(keys),
	           [(random.choice(prefixes), random.random() < 0.6) for _ in range(random.choice((1, 5, 40)))])
	    compare()
	# All of them change hands, the first one first, and the last one first; then they go.
	for step in 1, -1:
	    for key, other in (keys[0], keys[1]), (keys[1], keys[2]), (keys[2], keys[0]):
	        change(key, [(prefix, True) for prefix in prefixes[::step]])
	        compare()
	        change(other, [(prefix, True) for prefix in prefixes[::3 * step]])
	        compare()
	for key in keys:
	    change(key, [(prefix, False) for prefix in list(model[key])])
	    compare()
	PY
}

t lookups 'an address belongs to the longest prefix, whatever prefixes were added and removed'
lookups() {
	one
	keys a
	wga set wg0 private-key <(echo "${KEY[a]}")
	ipn a addr add 172.31.0.1/32 dev wg0
	ipn a addr add fdff::1/128 dev wg0
	ipn a link set wg0 up
	ipn a route add default dev wg0
	ipn a -6 route add default dev wg0
	ns a timeout 300 python3 $HERE/lookups.py
}

t replace_allowedips \
	'allowed IPs that replace others appear in the given order, whatever both lists share'
replace_allowedips() {
	local list
	one
	wga set wg0 peer $K1 peer $K2 allowed-ips 10.9.0.0/16
	for list in 10.1.0.0/16,fd01::/64,10.2.0.0/16 10.1.0.0/16,fd01::/64,10.2.0.0/16 \
		10.1.0.0/16,fd01::/64 10.1.0.0/16,fd01::/64,10.2.0.0/16,::/0 \
		::/0,10.2.0.0/16,fd01::/64,10.1.0.0/16 ::/0 ::/1 ::/1,10.9.0.0/16 10.9.0.0/16; do
		wga set wg0 peer $K1 allowed-ips $list
		[[ $(wga show wg0 allowed-ips | grep "^$K1") == "$K1	${list//,/ }" ]]
	done
	[[ $(wga show wg0 allowed-ips | grep "^$K2") == "$K2	(none)" ]]
	# A prefix that another peer took in between comes back.
	wga set wg0 peer $K1 allowed-ips 10.1.0.0/16,10.2.0.0/16
	wga set wg0 peer $K2 allowed-ips 10.2.0.0/16
	wga set wg0 peer $K1 allowed-ips 10.1.0.0/16,10.2.0.0/16
	[[ $(wga show wg0 allowed-ips) == "$K1	10.1.0.0/16 10.2.0.0/16"$'\n'"$K2	(none)" ]]
	wga set wg0 peer $K1 allowed-ips ''
	[[ $(wga show wg0 allowed-ips) == "$K1	(none)"$'\n'"$K2	(none)" ]]
}

t update_only 'a peer that may only be updated is not made'
update_only() {
	one
	ns a python3 - <<-'PY'
	from wgtest.wgnl import (A_IFNAME, A_PEERS, GET_DEVICE, P_FLAGS, P_KEEPALIVE, REMOVE_ME, SET_DEVICE,
	                         UPDATE_ONLY, Socket, attr, nest, parse, peer, u16, u32)
	sock, name, key = Socket(), attr(A_IFNAME, "wg0"), b"\x05" * 32
	def peers():
	    return [p for _, data in sock.dump(GET_DEVICE, name) for kind, value in parse(data) if kind == A_PEERS
	            for _, p in parse(value)]
	sock.do(SET_DEVICE, name + nest(A_PEERS, peer(key, attr(P_FLAGS, u32(UPDATE_ONLY)), attr(P_KEEPALIVE, u16(3)))))
	assert peers() == [], "it was made"
	sock.do(SET_DEVICE, name + nest(A_PEERS, peer(key)))
	sock.do(SET_DEVICE, name + nest(A_PEERS, peer(key, attr(P_FLAGS, u32(UPDATE_ONLY)), attr(P_KEEPALIVE, u16(3)))))
	[only] = [dict(parse(p)) for p in peers()]
	assert only[P_KEEPALIVE] == u16(3), "it was not updated"
	sock.do(SET_DEVICE, name + nest(A_PEERS, peer(key, attr(P_FLAGS, u32(UPDATE_ONLY | REMOVE_ME)))))
	assert peers() == [], "it was not removed"
	PY
}

t get_format 'a dump has each attribute in its type and size, by name and by index'
get_format() {
	one
	keys a
	wga set wg0 private-key <(echo "${KEY[a]}") \
		peer $K1 endpoint 192.0.2.1:5 allowed-ips 192.0.2.0/24 \
		peer $K2 endpoint '[2001:db8::1]:6'
	ns a python3 - <<-'PY'
	import socket
	from wgtest.wgnl import (A_FWMARK, A_IFINDEX, A_IFNAME, A_LISTEN_PORT, A_PEERS, A_PRIVATE_KEY,
	                         A_PUBLIC_KEY, GET_DEVICE, I_CIDR, I_FAMILY, I_IPADDR, P_ALLOWEDIPS,
	                         P_ENDPOINT, P_KEEPALIVE, P_LAST_HANDSHAKE, P_PRESHARED_KEY,
	                         P_PROTOCOL_VERSION, P_PUBLIC_KEY, P_RX_BYTES, P_TX_BYTES, Socket, attr,
	                         parse, u16, u32, u8)
	sock = Socket()
	index = socket.if_nametoindex("wg0")
	[(_, by_name)] = sock.dump(GET_DEVICE, attr(A_IFNAME, "wg0"))
	[(_, by_index)] = sock.dump(GET_DEVICE, attr(A_IFINDEX, u32(index)))
	assert by_name == by_index
	device = dict(parse(by_name))
	sizes = {kind: len(value) for kind, value in device.items() if kind != A_PEERS}
	assert sizes == {A_IFINDEX: 4, A_IFNAME: 4, A_PRIVATE_KEY: 32, A_PUBLIC_KEY: 32, A_LISTEN_PORT: 2, A_FWMARK: 4}, sizes
	assert device[A_IFNAME] == b"wg0\0" and device[A_IFINDEX] == u32(index)
	one, two = [dict(parse(p)) for _, p in parse(device[A_PEERS])]
	sizes = {P_PUBLIC_KEY: 32, P_PRESHARED_KEY: 32, P_ENDPOINT: 16, P_KEEPALIVE: 2, P_LAST_HANDSHAKE: 16, P_RX_BYTES: 8,
	         P_TX_BYTES: 8, P_ALLOWEDIPS: len(one[P_ALLOWEDIPS]), P_PROTOCOL_VERSION: 4}
	# Type 0 is the padding that aligns the 64-bit counters where the machine needs it.
	assert {k: len(v) for k, v in one.items() if k} == sizes, one
	assert one[P_PROTOCOL_VERSION] == u32(1)
	assert one[P_ENDPOINT] == u16(socket.AF_INET) + b"\0\5\xc0\0\2\1" + bytes(8)
	sizes = dict(sizes); del sizes[P_ALLOWEDIPS]; sizes[P_ENDPOINT] = 28
	assert {k: len(v) for k, v in two.items() if k} == sizes, two
	assert two[P_ENDPOINT][:8] == u16(socket.AF_INET6) + b"\0\6" + bytes(4)
	[ip] = [dict(parse(i)) for _, i in parse(one[P_ALLOWEDIPS])]
	assert ip == {I_FAMILY: u16(socket.AF_INET), I_IPADDR: b"\xc0\0\2\0", I_CIDR: u8(24)}, ip
	PY
}

t refusals 'malformed and forbidden requests are refused with the errno of the C module'
refusals() { one; ns a python3 $HERE/refusals.py table; }

t texts 'a refusal of the module itself comes with a text for the user'
texts() {
	[[ $WG_MODULE == rust ]] || skip 'the C module has none'
	one
	ns a python3 $HERE/refusals.py texts
}

t family 'the generic netlink family has the name, version, size and operations that clients expect'
family() {
	ns_add a
	ns a python3 - <<-'PY'
	import struct
	from wgtest.wgnl import GET_DEVICE, SET_DEVICE, Socket, attr, parse
	sock = Socket("nlctrl")
	answer = dict(parse(sock.do(3, attr(2, "wireguard"))[0]))
	number = lambda kind: struct.unpack("=I", answer[kind])[0]
	assert number(3) == 1, "version"
	assert number(4) == 0, "header size"
	operations = {struct.unpack("=I", op[1])[0]: struct.unpack("=I", op[2])[0] for op in (dict(parse(o)) for _, o in parse(answer[6]))}
	# 0x04: dump, 0x02: do, 0x08: has a policy, 0x10: CAP_NET_ADMIN in the network namespace's
	# user namespace
	assert operations == {GET_DEVICE: 0x1c, SET_DEVICE: 0x1a}, operations
	assert 7 not in answer, "multicast groups"
	PY
}

t permission 'reading and writing the configuration needs CAP_NET_ADMIN'
permission() {
	one
	wga set wg0 private-key <(wg genkey)
	must_fail ns a $RESTRICTED wg show wg0
	ns a $RESTRICTED wg show wg0 2>&1 | grep -q 'Operation not permitted'
	ns a $RESTRICTED wg set wg0 fwmark 1 2>&1 | grep -q 'Operation not permitted'
	dump_is "$(wga show wg0 private-key) $(wga show wg0 public-key) 0 off"
}

t user_namespace \
	'the owner of a namespace may configure it, but no socket of an interface made elsewhere'
user_namespace() {
	local pid
	setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urn sleep 300 & pid=$!
	wait_for 'the namespace is there' \
		eval "[[ \$(readlink /proc/$pid/ns/net) != \$(readlink /proc/self/ns/net) ]]"
	wait_for 'its user is root in it' grep -q '^ *0 ' /proc/$pid/uid_map
	inside() { nsenter -t $pid -U -n "$@"; }
	inside ip link add wg0 type wireguard
	inside wg set wg0 listen-port 1 fwmark 2 peer $K1 allowed-ips ::/0
	[[ $(inside wg show wg0 allowed-ips) == "$K1	::/0" ]]
	inside ip link set wg0 up
	ip link add wgt-wg9 type wireguard
	ip link set wgt-wg9 netns $pid
	inside wg set wgt-wg9 peer $K1
	inside wg set wgt-wg9 listen-port 5 2>&1 | grep -q 'Operation not permitted'
	inside wg set wgt-wg9 fwmark 5 2>&1 | grep -q 'Operation not permitted'
	[[ $(inside wg show wgt-wg9 fwmark) == off ]]
	kill $pid
}

t wrong_interface '`wg` reports an interface that does not exist or is of another kind'
wrong_interface() {
	one
	wga show nosuch 2>&1 | grep -q 'No such device'
	wga show lo 2>&1 | grep -q 'Operation not supported'
}

t many_peers '500 peers with 20 allowed IPs each come back as they were set'
many_peers() {
	one
	python3 - > /tmp/conf <<-'PY'
	import base64, hashlib
	print("[Interface]\nListenPort = 1")
	for i in range(500):
	    key = base64.b64encode(hashlib.sha256(b"%d" % i).digest()).decode()
	    psk = base64.b64encode(hashlib.sha256(b"psk%d" % i).digest()).decode()
	    ips = [f"10.{i // 250}.{i % 250}.{j}/32" for j in range(10)] + [f"2001:db8:{i + 1:x}::{j:x}00/120" for j in range(1, 11)]
	    print(f"\n[Peer]\nPublicKey = {key}\nPresharedKey = {psk}\nAllowedIPs = {', '.join(ips)}\nEndpoint = 192.0.2.1:{i + 1}")
	PY
	wga setconf wg0 /tmp/conf
	# The configuration is in the form that `wg` prints, so both are equal if nothing is lost,
	# doubled or mixed up.
	wga showconf wg0 > /tmp/shown
	[[ $(wga show wg0 peers | wc -l) == 500 ]]
	cmp <(grep -v '^$' /tmp/conf) <(grep -v '^$' /tmp/shown)
	wga syncconf wg0 /tmp/conf
	cmp <(grep -v '^$' /tmp/conf) <(wga showconf wg0 | grep -v '^$')
	wga set wg0 $(wga show wg0 peers | sed 's/.*/peer & remove/')
	[[ -z $(wga show wg0 peers) ]]
}

t one_big_peer 'a peer with 20,000 allowed IPs fills many messages and loses none'
one_big_peer() {
	one
	python3 - > /tmp/ips <<-'PY'
	for i in range(1, 20001):
	    print(f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}/32" if i % 2 else f"2001:db8::{i:x}/128")
	PY
	wga setconf wg0 <(printf '[Peer]\nPublicKey = %s\n' $K1
		sed 's/^/AllowedIPs = /' /tmp/ips
		printf '[Peer]\nPublicKey = %s\n' $K2)
	cmp /tmp/ips <(wga show wg0 allowed-ips | sed -n "s|^$K1	||p" | tr ' ' '\n')
	[[ $(wga show wg0 allowed-ips | grep "^$K2") == "$K2	(none)" ]]
}

t dump_and_change 'dumps stay whole while the configuration changes under them'
dump_and_change() {
	local i changer
	one
	wga setconf wg0 <(peers_90x60)
	(
		set +x
		while :; do
			ns a wg set wg0 peer ${K1:0:40}20E= allowed-ips 10.20.1.0/24
			ns a wg set wg0 peer ${K1:0:40}30E= remove
			ns a wg set wg0 peer ${K1:0:40}30E= allowed-ips 10.30.1.0/24,10.30.2.0/24
			sleep 0.1
		done
	) & changer=$!
	for ((i = 0; i < 15; i++)); do
		# `wg` repeats a dump that a change interrupted, so its output is always complete.
		wga show wg0 allowed-ips > /tmp/shown
		(($(grep -c . /tmp/shown) >= 89))
		[[ $(grep "^${K1:0:40}99E=" /tmp/shown | wc -w) == 61 ]]
	done
	kill $changer
	wait $changer || true
}

t dump_goes_on 'a dump omits the rest of a peer if allowed IPs have changed, and only then'
dump_goes_on() {
	one
	ns a timeout 300 python3 - <<-'PY'
	import socket
	from wgtest.wgnl import (A_FLAGS, A_FWMARK, A_IFNAME, A_PEERS, GET_DEVICE, I_FLAGS, NLM_F_DUMP_INTR,
	                         P_ALLOWEDIPS, P_FLAGS, P_KEEPALIVE, P_PUBLIC_KEY, REPLACE_ALLOWEDIPS,
	                         REPLACE_PEERS, SET_DEVICE, Socket, allowedip, attr, nest, parse, peer, u16,
	                         u32)
	sock, name = Socket(), attr(A_IFNAME, "wg0")
	first, second, third = (bytes([number]) * 32 for number in (1, 2, 3))
	NUMBERS = [bytes([i >> 8, i & 255]) for i in range(1500)]
	V4 = [allowedip(socket.AF_INET, b"\n\1" + number, 32) for number in NUMBERS]
	V6 = [allowedip(socket.AF_INET6, b"\x20\1" + bytes(12) + number, 128) for number in NUMBERS]
	NEW4 = allowedip(socket.AF_INET, b"\xc0\0\2\0", 24)
	NEW6 = allowedip(socket.AF_INET6, bytes(16), 0)
	other4 = allowedip(socket.AF_INET, bytes([10, 2, 0, 0]), 16)
	other6 = allowedip(socket.AF_INET6, bytes([0x20, 1, *bytes(14)]), 64)
	removed = allowedip(socket.AF_INET, b"\n\1" + NUMBERS[7], 32, attr(I_FLAGS, u32(1)))
	def change(key, *attrs):
	    sock.do(SET_DEVICE, name + nest(A_PEERS, peer(key, *attrs)))
	def dumped(action):
	    """The allowed IPs by peer in each message of a dump, and the first one after `action`."""
	    sock.do(SET_DEVICE, name + attr(A_FLAGS, u32(REPLACE_PEERS)))
	    for part in range(0, 1500, 500):
	        change(first, nest(P_ALLOWEDIPS, *V4[part:part + 500], *V6[part:part + 500]))
	    change(second, nest(P_ALLOWEDIPS, other4))
	    change(third, nest(P_ALLOWEDIPS, other6))
	    other = Socket()
	    messages, interrupted = [], None
	    dump = other.dump(GET_DEVICE, name)
	    for number, (flags, data) in enumerate(dump):
	        if flags & NLM_F_DUMP_INTR:
	            assert interrupted is None and number >= 1
	            interrupted = number
	        lists = (value for kind, value in parse(data) if kind == A_PEERS)
	        peers = [dict(parse(p)) for value in lists for _, p in parse(value)]
	        messages.append({p[P_PUBLIC_KEY]: parse(p.get(P_ALLOWEDIPS, b"")) for p in peers})
	        if number == 0:
	            action()
	    return messages, interrupted
	messages, interrupted = dumped(lambda: None)
	whole = sum((message.get(first, []) for message in messages), [])
	assert not interrupted and len(whole) == 3000 and len(messages) > 3, len(messages)
	for title, action in (
	        ("one more, IPv4", lambda: change(first, nest(P_ALLOWEDIPS, NEW4))),
	        ("one more, IPv6", lambda: change(first, nest(P_ALLOWEDIPS, NEW6))),
	        ("one less", lambda: change(first, nest(P_ALLOWEDIPS, removed))),
	        ("none", lambda: change(first, attr(P_FLAGS, u32(REPLACE_ALLOWEDIPS)))),
	        ("one that another peer takes", lambda: change(second, nest(P_ALLOWEDIPS, V4[7]))),
	        ("one more of another peer", lambda: change(second, nest(P_ALLOWEDIPS, NEW4)))):
	    messages, interrupted = dumped(action)
	    assert interrupted, title
	    before, after = messages[:interrupted], messages[interrupted:]
	    ips = sum((message[first] for message in before), [])
	    assert 0 < len(ips) < 3000 and ips == whole[:len(ips)], (title, len(ips))
	    assert [message[first] for message in after if first in message] == [[]], title
	    assert len(after[-1][second]) >= 1 and len(after[-1][third]) == 1, title
	    print(f"{title}: {len(ips)} of 3000")
	for title, action in (
	        ("the keepalive interval", lambda: change(first, attr(P_KEEPALIVE, u16(5)))),
	        ("the mark", lambda: sock.do(SET_DEVICE, name + attr(A_FWMARK, u32(5))))):
	    messages, interrupted = dumped(action)
	    assert interrupted, title
	    assert sum((message.get(first, []) for message in messages), []) == whole, title
	PY
}

t dump_and_delete 'an interface that is deleted during a dump vanishes when the dump ends'
dump_and_delete() {
	one
	peers_90x60 > /tmp/conf
	wga setconf wg0 /tmp/conf
	ns a timeout 100 python3 - <<-'PY'
	import os, subprocess
	from wgtest.wgnl import A_IFNAME, GET_DEVICE, NLM_F_DUMP_INTR, Error, Socket, attr
	# The rest of a dump after the deletion may arrive, be empty or be refused; nothing may
	# hang. (With the C module the deletion waits for the end of the dump.)
	for finish in (True, False):
	    sock = Socket()
	    dump = sock.dump(GET_DEVICE, attr(A_IFNAME, "wg0"))
	    next(dump)
	    delete = subprocess.Popen(["ip", "link", "del", "wg0"])
	    if finish:
	        if os.environ["WG_MODULE"] == "rust":
	            delete.wait()
	        try:
	            rest = [flags & NLM_F_DUMP_INTR for flags, _ in dump]
	            assert any(rest) or os.environ["WG_MODULE"] != "rust", rest
	        except Error as error:
	            print(error)
	    sock.sock.close()
	    assert delete.wait() == 0
	    assert subprocess.run(["ip", "link", "show", "wg0"], capture_output=True).returncode != 0
	    assert subprocess.run(["ip", "link", "add", "wg0", "type", "wireguard"]).returncode == 0
	    assert subprocess.run(["wg", "setconf", "wg0", "/tmp/conf"]).returncode == 0
	PY
}

run "$@"
