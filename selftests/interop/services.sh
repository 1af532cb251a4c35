#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The services and tools of a whole system that set WireGuard up or move its interfaces: `wg` shows
# the settings that they asked for, traffic flows both ways, and nothing is left of an interface
# that they take down. `make test-clients` runs it.
#
# guests: 1
# system: services
# timeout: 600
# memory: 3072

. "$(dirname "$0")/../lib/lib.sh"
. "$LIB/clients.sh"

# The side `a` is the namespace of the system, in which the services are.
ns() { if [[ $1 == a ]]; then "${@:2}"; else ip netns exec "$NS$1" "${@:2}"; fi; }
ipn() { if [[ $1 == a ]]; then ip "${@:2}"; else ip -n "$NS$1" "${@:2}"; fi; }
bg() { ns "$@" & BG=$!; }

# outside: ends what an earlier test has left, and makes keys and the link from the system, out0, to
# the namespace b. The default route leads to b, which has two more addresses: 203.0.113.2, and
# 192.0.2.1. This one and those of tunnels answer only inside.
outside() {
	local link
	systemctl stop NetworkManager systemd-networkd.socket systemd-networkd
	for link in $(wg show interfaces); do ip link del $link; done
	printf '%s\n' '[keyfile]' 'unmanaged-devices=*,except:type:wireguard' \
		> /etc/NetworkManager/conf.d/test.conf
	fresh
	keys a b
	ns_add b
	ip link add out0 type veth peer name eth0 netns ${NS}b
	ip addr add 10.9.0.1/24 dev out0
	ip addr add fd09::1/64 dev out0 nodad
	# Without an address that the kernel makes later.
	ip link set out0 addrgenmode none up
	ip route add default via 10.9.0.2
	ipn b addr add 10.9.0.2/24 dev eth0
	ipn b addr add fd09::2/64 dev eth0 nodad
	ipn b addr add 203.0.113.2/32 dev eth0
	ipn b addr add 192.0.2.1/32 dev lo
	ipn b link set eth0 up
	ns b nft -f - <<-END
		add table inet o
		add chain inet o i { type filter hook input priority 0; }
		add rule inet o i iifname eth0 ip daddr { 192.0.2.1, 10.8.0.0/16 } drop
	END
	wait_for 'the link is up' ping -c 1 -W 1 203.0.113.2
	wait_for 'the link is up' ping -c 1 -W 1 fd09::2
}
# far_side PSK: makes the side b of the tunnel.
far_side() {
	wg_new b
	wg_peer b preshared-key <(echo "$1")
}
# state: prints all that an interface could leave behind.
state() {
	ip rule
	ip -6 rule
	ip route show table all
	ip -6 route show table all
	ip -br link
	wg show interfaces
	nft list tables
	ss -Hlnu
}
# left_as_before: fails unless everything is as it was when `state > $DIR/before` was called.
left_as_before() {
	wait_for 'nothing is left' eval 'state | diff $DIR/before -' || state | diff $DIR/before -
}
# traffic: sends both ways through the tunnel.
traffic() {
	ping_both
	carries a 10.8.0.2
	carries b fd08::1
}

# imported PSK: lets NetworkManager import a file of wg-quick.
imported() {
	cat > $DIR/wg0.conf <<-END
		[Interface]
		Address = 10.8.0.1/24, fd08::1/64
		ListenPort = $PORT
		PrivateKey = ${KEY[a]}
		MTU = 1390
		DNS = 10.8.0.2

		[Peer]
		PublicKey = ${PUB[b]}
		PresharedKey = $1
		AllowedIPs = 10.8.0.2/32, fd08::2/128, 10.66.0.0/16
		Endpoint = 203.0.113.2:$PORT
		PersistentKeepalive = 25
	END
	nmcli connection import type wireguard file $DIR/wg0.conf
}

t networkmanager \
	'NetworkManager imports a file of wg-quick: up, reapply, default route, down'
networkmanager() {
	local psk profile=/etc/NetworkManager/system-connections/wg0.nmconnection
	outside
	psk=$(wg genpsk)
	far_side "$psk"
	systemctl start NetworkManager
	state > $DIR/before
	imported "$psk"
	nmcli -w 60 connection up wg0
	shown_is a "${KEY[a]} ${PUB[a]} $PORT off" \
		"${PUB[b]} $psk 203.0.113.2:$PORT 10.66.0.0/16,10.8.0.2/32,fd08::2/128 25"
	[[ $(ip link show wg0) == *'mtu 1390 '* ]]
	[[ $(nmcli -g GENERAL.TYPE,GENERAL.STATE device show wg0) == \
		wireguard$'\n'100*connected* ]]
	[[ $(nmcli -g IP4.DNS device show wg0) == 10.8.0.2 ]]
	[[ $(ip route get 10.66.1.1) == *'dev wg0 '* ]]
	traffic

	# A change of the profile is applied to the interface in use, whose session goes on.
	handshakes_blocked a b
	sed -i 's|^persistent-keepalive=.*|persistent-keepalive=9|; s|10.66.0.0/16|10.67.0.0/16|' \
		$profile
	sed -i 's|^\[wireguard\]|&\nfwmark=66|' $profile
	nmcli connection load $profile
	nmcli device reapply wg0
	# NetworkManager has no secrets at hand here, and removes the preshared key.
	shown_is a "${KEY[a]} ${PUB[a]} $PORT 0x42" \
		"${PUB[b]} (none) 203.0.113.2:$PORT 10.67.0.0/16,10.8.0.2/32,fd08::2/128 9"
	[[ $(ip route get 10.67.1.1) == *'dev wg0 '* && $(ip route get 10.66.1.1) != *wg0* ]]
	ping_both
	handshakes_free a b

	# All traffic takes the tunnel; its own datagrams take the old route.
	must_fail ping -c 1 -W 1 192.0.2.1
	sed -i 's|^allowed-ips=.*|allowed-ips=0.0.0.0/0;::/0;|; /^fwmark=/d' $profile
	nmcli connection load $profile
	nmcli -w 60 connection up wg0
	[[ $(shown a) == *" 0.0.0.0/0,::/0 9" && $(wg show wg0 fwmark) == 0x* ]]
	[[ $(ip route get 192.0.2.1) == *'dev wg0 '* ]]
	[[ $(ip route get 203.0.113.2 mark $(wg show wg0 fwmark)) == *'dev out0 '* ]]
	ping_ok a 192.0.2.1
	carries a 192.0.2.1 b
	traffic
	[[ $(ns b wg show wg0 endpoints) == *"10.9.0.1:$PORT" ]]

	nmcli -w 60 connection down wg0
	left_as_before
	nmcli connection delete wg0
	[[ ! -e $profile ]]
}

run "$@"
