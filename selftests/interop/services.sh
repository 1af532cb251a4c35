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
# append: systemd.mask=bird.service

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
# tunnel_at_b N: makes the side b of one of several tunnels.
tunnel_at_b() {
	ipn b link add wg$1 type wireguard
	ipn b addr add 10.8.$1.2/24 dev wg$1
	ipn b addr add fd08:$1::2/64 dev wg$1
	ns b wg set wg$1 private-key <(echo "${KEY[b]}") listen-port $((PORT + $1)) \
		peer "${PUB[a]}" allowed-ips 10.8.$1.1/32,fd08:$1::1/128
	ipn b link set wg$1 up
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

t wg_quick_units \
	'wg-quick@ starts, reloads and stops three interfaces, each for itself, and fails cleanly'
wg_quick_units() {
	local n
	outside
	state > $DIR/before
	for n in 1 2 3; do
		tunnel_at_b $n
		install -m 600 <(cat <<-END
			[Interface]
			Address = 10.8.$n.1/24, fd08:$n::1/64
			ListenPort = $((PORT + n))
			PrivateKey = ${KEY[a]}

			[Peer]
			PublicKey = ${PUB[b]}
			AllowedIPs = 10.8.$n.2/32, fd08:$n::2/128
			Endpoint = $(outer b $((n % 2 ? 6 : 4))):$((PORT + n))
		END
		) /etc/wireguard/wg$n.conf
		systemctl start wg-quick@wg$n
	done
	[[ $(systemctl is-active wg-quick@wg{1,2,3}) == active$'\n'active$'\n'active ]]
	for n in 1 2 3; do
		DEV=wg$n shown_is a "${KEY[a]} ${PUB[a]} $((PORT + n)) off" \
			"${PUB[b]} (none) $(outer b $((n % 2 ? 6 : 4))):$((PORT + n)) 10.8.$n.2/32,fd08:$n::2/128 off"
		ping_ok a 10.8.$n.2
		ping_ok b fd08:$n::1
		carries a 10.8.$n.2
		carries b fd08:$n::1
	done

	# Reloading keeps the session of the peer that stays.
	PORT=51821-51823 handshakes_blocked a b
	sed -i 's|^AllowedIPs = .*|&, 10.77.0.0/16\nPersistentKeepalive = 21|' /etc/wireguard/wg1.conf
	systemctl reload wg-quick@wg1
	DEV=wg1 shown_is a "${KEY[a]} ${PUB[a]} $((PORT + 1)) off" \
		"${PUB[b]} (none) [fd09::2]:$((PORT + 1)) 10.77.0.0/16,10.8.1.2/32,fd08:1::2/128 21"
	ping_ok a 10.8.1.2
	handshakes_free a b

	systemctl stop wg-quick@wg1
	must_fail ip link show wg1
	must_fail ping -c 1 -W 1 10.8.1.2
	ping_ok a 10.8.3.2
	ping_ok b 10.8.2.1
	systemctl restart wg-quick@wg3
	ping_ok a 10.8.3.2
	ping_ok b fd08:3::1
	systemctl stop wg-quick.target wg-quick@wg{2,3}
	left_as_before
	# A unit with a mistake fails, and leaves nothing behind.
	sed -i 's/^AllowedIPs = .*/AllowedIPs = 10.8.3.256/' /etc/wireguard/wg3.conf
	must_fail systemctl start wg-quick@wg3
	systemctl is-failed wg-quick@wg3
	left_as_before
}

# netplan_file RENDERER MARK ALLOWED-IPS: writes the file of netplan.
netplan_file() {
	install -m 600 <(cat <<-END
		network:
		  version: 2
		  renderer: $1
		  tunnels:
		    wg0:
		      mode: wireguard
		      addresses: [10.8.0.1/24, "fd08::1/64"]
		      mtu: 1400
		      port: $PORT
		      mark: $2
		      key: ${KEY[a]}
		      peers:
		        - keys:
		            public: ${PUB[b]}
		            shared: $(< $DIR/psk)
		          allowed-ips: [$3]
		          endpoint: 10.9.0.2:$PORT
		          keepalive: 25
		      routes:
		        - to: 198.51.100.0/24
		          via: 10.8.0.2
	END
	) /etc/netplan/50-tunnel.yaml
}
# netplan_with RENDERER MTU: sets wg0 up, changes it and removes it. MTU is that which it has then.
netplan_with() {
	outside
	wg genpsk > $DIR/psk
	far_side "$(< $DIR/psk)"
	state > $DIR/before
	netplan_file $1 66 '10.8.0.2/32, "fd08::2/128"'
	netplan apply
	wait_for 'the route is there' eval \
		'[[ $(ip route show 198.51.100.0/24) == *"via 10.8.0.2 dev wg0 "* ]]'
	wait_for 'the address is there' eval '[[ $(ip addr show wg0) == *"inet6 fd08::1/64 "* ]]'
	shown_is a "${KEY[a]} ${PUB[a]} $PORT 0x42" \
		"${PUB[b]} $(< $DIR/psk) 10.9.0.2:$PORT 10.8.0.2/32,fd08::2/128 25"
	[[ $(ip link show wg0) == *"mtu $2 "* ]]
	traffic
	netplan_file $1 67 '10.8.0.2/32, "fd08::2/128", 198.51.100.0/24'
	netplan apply
	wait_for 'the change is there' eval \
		'[[ $(shown a) == *" 0x43"*" 10.8.0.2/32,198.51.100.0/24,fd08::2/128 25" ]]'
	traffic
	rm /etc/netplan/50-tunnel.yaml
	netplan apply
	# systemd-networkd leaves the interface.
	[[ $1 == NetworkManager ]] || networkctl delete wg0
	left_as_before
}

t netplan_networkd 'netplan sets an interface up by systemd-networkd, and changes it'
netplan_networkd() {
	netplan_with networkd 1400
}

t netplan_networkmanager 'netplan sets an interface up by NetworkManager, and changes it'
netplan_networkmanager() {
	netplan_with NetworkManager 1420	# netplan hands the MTU on as one of Ethernet
}

# bird_file NAMESPACE NUMBER: prints the configuration of bird.
bird_file() {
	local n
	printf '%s\n' 'log stderr all;' "router id 10.0.0.$2;" 'protocol device { scan time 1; }'
	for n in 4 6; do
		cat <<-END
			protocol kernel { ipv$n { export all; import none; }; }
			protocol ospf v$((n / 2)) {
				ipv$n { import all; export none; };
				area 0 {
					interface "wg1" { type ptp; cost 10; hello 1; dead 5; };
					interface "wg2" { type ptp; cost 20; hello 1; dead 5; };
					interface "dummy0" { stub; };
				};
			}
		END
	done
}
# routes_by INTERFACE: waits until the routes between b and c take that tunnel.
routes_by() {
	wait_for "b reaches c by $1" eval '[[ $(ipn b route get 192.0.2.3) == *" dev '$1' "* ]]'
	wait_for "b reaches c by $1" eval '[[ $(ipn b route get 2001:db8:3::1) == *" dev '$1' "* ]]'
	wait_for "c reaches b by $1" eval '[[ $(ipn c route get 192.0.2.2) == *" dev '$1' "* ]]'
	wait_for "c reaches b by $1" eval '[[ $(ipn c route get 2001:db8:2::1) == *" dev '$1' "* ]]'
	ping_ok b 192.0.2.3
	ping_ok c 2001:db8:2::1
}
# bird_up NAMESPACE: makes two tunnels to the other namespace, and starts bird there.
bird_up() {
	local n me=${NUM[$1]} other=$((5 - NUM[$1]))
	ipn $1 addr add 10.9.0.$me/24 dev eth0
	ipn $1 link set eth0 up
	ipn $1 link add dummy0 type dummy
	ipn $1 addr add 192.0.2.$me/32 dev dummy0
	ipn $1 addr add 2001:db8:$me::1/64 dev dummy0
	ipn $1 link set dummy0 up
	for n in 1 2; do
		ipn $1 link add wg$n type wireguard
		ipn $1 addr add 10.8.$n.$me/24 dev wg$n
		ipn $1 addr add fe80::$me/64 dev wg$n
		ns $1 wg set wg$n private-key <(echo "${KEY[$1]}") listen-port $((PORT + n)) \
			peer "${PUB[${OTHER[$1]}]}" allowed-ips 0.0.0.0/0,::/0 \
			endpoint 10.9.0.$other:$((PORT + n))
		ipn $1 link set wg$n up
	done
	bird_file $1 $me > $DIR/$1.conf
	systemd-run --unit=bird-$1 -p NetworkNamespacePath=/run/netns/$NS$1 \
		bird -f -c $DIR/$1.conf -s $DIR/$1.ctl
}

t bird 'bird speaks OSPF over two tunnels, and its routes change over when one is cut'
bird() {
	local n
	NUM+=([c]=3)
	OTHER=([b]=c [c]=b)
	fresh
	keys b c
	ns_add b c
	ip link add eth0 netns ${NS}b type veth peer name eth0 netns ${NS}c
	bird_up b
	bird_up c
	routes_by wg1
	[[ $(birdc -s $DIR/b.ctl show ospf neighbors | grep -c '10\.0\.0\.3.*Full/PtP.*wg[12]') == 4 ]]
	carries b 192.0.2.3
	carries c 2001:db8:2::1
	for n in b c; do
		ns $n nft -f - <<-END
			add table inet cut
			add chain inet cut o { type filter hook output priority 0; }
			add rule inet cut o udp dport $((PORT + 1)) drop
		END
	done
	routes_by wg2
	carries b 2001:db8:3::1
	carries c 192.0.2.2
	for n in b c; do
		[[ $(ns $n wg show wg2 allowed-ips) == *"0.0.0.0/0 ::/0" ]]
		ns $n nft delete table inet cut
	done
	routes_by wg1
	systemctl stop bird-b bird-c
	for n in b c; do
		[[ -z $(ipn $n route show proto bird; ipn $n -6 route show proto bird) ]]
		ipn $n link del wg1
		ipn $n link del wg2
		[[ -z $(ns $n ss -Hlnu) ]]
	done
}

# made_outside: makes both sides of a tunnel. The side a is to move into a container.
made_outside() {
	outside
	state > $DIR/before
	far_side "$(wg genpsk)"
	wg_new a
	wg_peer a preshared-key <(ns b wg show wg0 preshared-keys | cut -f 2) endpoint 10.9.0.2:$PORT
	shown a > $DIR/shown
}
# in_container PROCESS: uses the interface in the network namespace of that process, which then has
# the name `box` here.
in_container() {
	ip netns attach ${NS}box $1
	must_fail ip link show wg0
	ipn box addr add 10.8.0.1/24 dev wg0
	ipn box addr add fd08::1/64 dev wg0
	ipn box link set wg0 up
	shown box | diff $DIR/shown -
	ping_ok box 10.8.0.2
	ping_ok box fd08::2
	ping_ok b 10.8.0.1
	carries box 10.8.0.2 b
	carries b fd08::1 box
	# The container has the tunnel and nothing else. The socket is outside.
	must_fail ns box ping -c 1 -W 1 10.9.0.2
	[[ -z $(ns box ss -Hlnu) && -n $(ss -Hlnu "sport = $PORT") ]]
	# Its settings change from inside.
	ns box wg set wg0 listen-port $((PORT + 1)) peer "${PUB[b]}" persistent-keepalive 5
	ping_ok box fd08::2
	[[ $(ns b wg show wg0 endpoints) == *"10.9.0.1:$((PORT + 1))" ]]
	[[ -z $(ns box ss -Hlnu) && -n $(ss -Hlnu "sport = $((PORT + 1))") ]]
}

t in_nspawn 'systemd-nspawn takes an interface into a container; its socket stays outside'
in_nspawn() {
	made_outside
	systemd-run --unit=box systemd-nspawn --quiet --directory=/ --volatile=yes --machine=box \
		--network-interface=wg0 --as-pid2 sleep infinity
	wait_for 'the container is there' eval '[[ $(machinectl show box -p Leader --value) -gt 0 ]]'
	wait_for 'the container has the interface' eval '! ip link show wg0'
	in_container "$(machinectl show box -p Leader --value)"
	ip netns del ${NS}box
	machinectl terminate box
	# systemd-nspawn gives the interface back.
	wait_for 'the interface is back' ip link show wg0
	[[ $(wg show wg0 peers) == "${PUB[b]}" && $(wg show wg0 listen-port) == $((PORT + 1)) ]]
	ip link del wg0
	left_as_before
}

t in_podman 'podman runs a container that an interface is moved into; its socket stays outside'
in_podman() {
	local files pid
	made_outside
	mkdir -p /var/lib/containers
	mountpoint /var/lib/containers || mount -t tmpfs containers /var/lib/containers
	files=$(ldd /usr/bin/{ping,sleep,wg} | grep -o '/[^ :]*' | sort -u)
	tar -chP $files | podman import - guest
	podman run -d --name box --network none --cap-add NET_RAW guest sleep infinity
	pid=$(podman inspect -f '{{.State.Pid}}' box)
	ip link set wg0 netns $pid
	in_container $pid
	podman exec box ping -q -c 1 -W 20 10.8.0.2
	ip netns del ${NS}box
	podman rm -f -t 0 box
	left_as_before	# the interface has gone with the container
}

run "$@"
