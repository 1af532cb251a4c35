#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The clients that configure WireGuard, each with its own format: a tunnel that they set up carries
# traffic, `wg` shows the settings that they asked for, and nothing is left of an interface that
# they take down.
#
# guests: 1
# timeout: 300
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"
. "$LIB/clients.sh"

K1=$(printf '%.0sA' {1..42})E=	# public keys of peers that do not exist
K2=$(printf '%.0sB' {1..42})E=

quick() { ns $1 wg-quick "${@:2}"; }

t wg_quick_default \
	'wg-quick up and down: all traffic takes the tunnel, its own datagrams take the old route'
wg_quick_default() {
	local n psk
	fresh
	keys a b
	psk=$(wg genpsk)
	# a – r – b: r is a router that forwards nothing but the tunnel. Beyond b is 192.0.2.1, to
	# which r has no route.
	ns_add a r b
	ip link add eth0 netns ${NS}a type veth peer name eth1 netns ${NS}r
	ip link add eth0 netns ${NS}b type veth peer name eth2 netns ${NS}r
	for n in a b; do
		ipn r addr add 10.9.${NUM[$n]}.1/24 dev eth${NUM[$n]}
		ipn r addr add fd09:${NUM[$n]}::1/64 dev eth${NUM[$n]} nodad
		ipn r link set eth${NUM[$n]} up
		ipn $n addr add 10.9.${NUM[$n]}.2/24 dev eth0
		ipn $n addr add fd09:${NUM[$n]}::2/64 dev eth0 nodad
		ipn $n link set eth0 up
		ipn $n route add default via 10.9.${NUM[$n]}.1
		ipn $n route add default via fd09:${NUM[$n]}::1
	done
	# The strict filter drops an answer if an unmarked packet to its sender would leave by
	# another interface than the answer arrived on.
	ns a sysctl -q net.ipv4.conf.all.rp_filter=1
	ns r sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	wait_for 'the link is up' ns a ping -c 1 -W 1 10.9.2.2
	wait_for 'the link is up' ns a ping -c 1 -W 1 fd09:2::2
	ns r nft "add table inet t; add chain inet t f { type filter hook forward priority 0; policy drop; }; add rule inet t f udp dport $PORT accept"
	must_fail ns a ping -c 1 -W 1 10.9.2.2
	ipn b addr add 192.0.2.1/32 dev lo
	ipn b addr add 2001:db8::1/128 dev lo
	wg_new b
	ns b wg set wg0 peer "${PUB[a]}" preshared-key <(echo "$psk") \
		allowed-ips 10.8.0.1/32,fd08::1/128
	cat > $DIR/wg0.conf <<-EOF
		[Interface]
		Address = 10.8.0.1/24, fd08::1/64
		ListenPort = $PORT
		PrivateKey = ${KEY[a]}

		# everything
		[Peer]
		PublicKey = ${PUB[b]}
		PresharedKey = $psk
		AllowedIPs = 0.0.0.0/0, ::/0
		Endpoint = 10.9.2.2:$PORT
		PersistentKeepalive = 25
	EOF
	state() {
		ipn a rule
		ipn a -6 rule
		ipn a route show table all
		ipn a -6 route show table all
		ipn a -br link
		ns a nft list tables
	}
	state > /tmp/before

	quick a up $DIR/wg0.conf
	shown_is a "${KEY[a]} ${PUB[a]} $PORT 0xca6c" \
		"${PUB[b]} $psk 10.9.2.2:$PORT 0.0.0.0/0,::/0 25"
	[[ $(ipn a link show wg0) == *'mtu 1420 '* ]]
	for n in -4 -6; do
		[[ $(ipn a $n rule) == *'not from all fwmark 0xca6c lookup 51820'* ]]
		[[ $(ipn a $n rule) == *'from all lookup main suppress_prefixlength 0'* ]]
		[[ $(ipn a $n route show table 51820) == 'default dev wg0 '* ]]
	done
	[[ $(ipn a route get 192.0.2.1) == *'dev wg0 table 51820 '* ]]
	[[ $(ipn a route get 10.9.2.2 mark 51820) == *'via 10.9.1.1 dev eth0 '* ]]
	[[ $(ns a sysctl -n net.ipv4.conf.all.src_valid_mark) == 1 ]]
	[[ $(ns a nft list tables | sort | tr '\n' ' ') == \
		'table ip wg-quick-wg0 table ip6 wg-quick-wg0 ' ]]

	ping_ok a 192.0.2.1
	ping_ok a 2001:db8::1
	ping_ok a 10.9.2.2	# inside: even the address of the endpoint
	ping_ok a 10.9.1.1	# outside: the router, which is on the same link
	ping_ok b 10.8.0.1; ping_ok b fd08::1
	carries a 192.0.2.1
	carries a 2001:db8::1
	[[ $(ns b wg show wg0 endpoints) == "${PUB[a]}	10.9.1.2:$PORT" ]]
	# Packets that another host on the link sends to the address inside are dropped, until the
	# rules against that are deleted.
	ipn r route add 10.8.0.1 via 10.9.1.2
	must_fail ns r ping -c 1 -W 2 -I 10.9.1.1 10.8.0.1
	ns a nft delete table ip wg-quick-wg0
	ping_ok r 10.8.0.1
	# The reverse path filter needs the mark that the rules restore.
	must_fail ns a ping -c 1 -W 2 192.0.2.1
	ns a wg set wg0 peer "${PUB[b]}" endpoint "[fd09:2::2]:$PORT"
	ping_ok a 192.0.2.1
	[[ $(ns b wg show wg0 endpoints) == "${PUB[a]}	[fd09:1::2]:$PORT" ]]

	quick a down $DIR/wg0.conf
	state > /tmp/after
	diff /tmp/before /tmp/after
	must_fail ns a ping -c 1 -W 1 192.0.2.1
	quick a up $DIR/wg0.conf
	ping_ok a 192.0.2.1
	quick a down $DIR/wg0.conf
	state | diff /tmp/before -
}

t wg_quick_options \
	'wg-quick at both ends: key by a command, MTU, DNS, tables, commands, save, strip, sync'
wg_quick_options() {
	local n
	pair_link
	keys a b
	fresh
	mkdir -m 700 $DIR/{a,b,bin}
	cat > $DIR/bin/resolvconf <<-EOF
		#!/bin/bash
		case \$1 in
		-a) cat > $DIR/dns.\$2 ;;
		-d) rm $DIR/dns.\$2 ;;
		-l) cat $DIR/dns.\$2 ;;
		esac
	EOF
	chmod +x $DIR/bin/resolvconf
	PATH=$PATH:$DIR/bin
	umask 077
	echo "${KEY[a]}" > $DIR/a/key
	cat > $DIR/a/wg0.conf <<-EOF
		[Interface]
		Address = 10.8.0.1/32
		Address = fd08::1/128
		ListenPort = $PORT
		FwMark = 0x77
		MTU = 1380
		DNS = 10.8.0.2, fd08::2, example.org
		PreUp = echo pre-up %i > $DIR/log
		PostUp = wg set %i private-key $DIR/a/key && echo post-up >> $DIR/log
		PreDown = wg show %i public-key >> $DIR/log
		PostDown = echo post-down >> $DIR/log

		[Peer]
		PublicKey = ${PUB[b]}
		AllowedIPs = 10.8.0.2/32, fd08::2/128, 10.66.0.0/16
		Endpoint = [fd09::2]:$PORT
	EOF
	cat > $DIR/b/wg0.conf <<-EOF
		[Interface]
		Address = 10.8.0.2/24, fd08::2/64
		PrivateKey = ${KEY[b]}
		ListenPort = $PORT
		Table = off
		SaveConfig = true
	EOF
	quick a up $DIR/a/wg0.conf
	quick b up $DIR/b/wg0.conf
	shown_is a "${KEY[a]} ${PUB[a]} $PORT 0x77" \
		"${PUB[b]} (none) [fd09::2]:$PORT 10.66.0.0/16,10.8.0.2/32,fd08::2/128 off"
	shown_is b "${KEY[b]} ${PUB[b]} $PORT off"
	[[ $(ipn a link show wg0) == *'mtu 1380 '* && $(ipn b link show wg0) == *'mtu 1420 '* ]]
	[[ $(ipn a route show dev wg0) == *'10.66.0.0/16 scope link'* ]]
	[[ $(ipn a rule | wc -l) == 3 ]]
	[[ $(< $DIR/dns.wg0) == *'nameserver fd08::2'*'search example.org'* ]]
	ns b wg set wg0 peer "${PUB[a]}" allowed-ips 10.8.0.1/32,fd08::1/128,10.77.0.0/16
	ping_both
	carries a 10.8.0.2
	[[ -z $(ipn b route show 10.77.0.0/16) ]]

	# wg-quick starts again from the file that it saved, now with routes in a table of their
	# own.
	quick b down $DIR/b/wg0.conf
	grep -qx "PublicKey = ${PUB[a]}" $DIR/b/wg0.conf
	grep -qx "Endpoint = \[fd09::1\]:$PORT" $DIR/b/wg0.conf
	sed -i 's/^Table = off/Table = 1234/' $DIR/b/wg0.conf
	quick b up $DIR/b/wg0.conf
	shown_is b "${KEY[b]} ${PUB[b]} $PORT off" \
		"${PUB[a]} (none) [fd09::1]:$PORT 10.77.0.0/16,10.8.0.1/32,fd08::1/128 off"
	[[ $(ipn b route show table 1234) == *'10.77.0.0/16 dev wg0 scope link'* ]]
	ping_ok b 10.8.0.1	# first b, which has lost the session and must initiate
	ping_both
	ns b wg set wg0 peer $K1 allowed-ips 10.78.0.0/16
	quick b save $DIR/b/wg0.conf
	quick b strip $DIR/b/wg0.conf > $DIR/stripped
	must_fail grep -Eq 'Address|Table|SaveConfig' $DIR/stripped
	ns b wg showconf wg0 > $DIR/running
	diff <(grep . $DIR/stripped) <(grep . $DIR/running)
	# syncconf is the usual way to apply a changed file. It must keep the session.
	sed -i "$(grep -n '^\[Peer\]' $DIR/b/wg0.conf | tail -n 1 | cut -d : -f 1),\$d" \
		$DIR/b/wg0.conf
	handshakes_blocked a b
	ns b wg syncconf wg0 <(quick b strip $DIR/b/wg0.conf)
	[[ $(ns b wg show wg0 peers) == "${PUB[a]}" ]]
	ns a wg syncconf wg0 <(quick a strip $DIR/a/wg0.conf |
		sed "s|^\[Interface\]|&\nPrivateKey = ${KEY[a]}|"
		echo "PersistentKeepalive = 9")
	shown_is a "${KEY[a]} ${PUB[a]} $PORT 0x77" \
		"${PUB[b]} (none) [fd09::2]:$PORT 10.66.0.0/16,10.8.0.2/32,fd08::2/128 9"
	ping_both

	quick a down $DIR/a/wg0.conf
	quick b down $DIR/b/wg0.conf
	[[ $(< $DIR/log) == "pre-up wg0"$'\n'"post-up"$'\n'"${PUB[a]}"$'\n'"post-down" ]]
	[[ ! -e $DIR/dns.wg0 ]]
	for n in a b; do
		must_fail ipn $n link show wg0
		must_fail quick $n down $DIR/$n/wg0.conf
		[[ -z $(ns $n ss -Hlnu) ]]
	done
	# A file with a mistake leaves nothing behind.
	sed -i 's/^AllowedIPs = .*/AllowedIPs = 10.8.0.256/' $DIR/a/wg0.conf
	must_fail quick a up $DIR/a/wg0.conf
	must_fail ipn a link show wg0
}

# networkd_start NAMESPACE: starts systemd-networkd there, with the files in $DIR; its log is
# $DIR.log.
networkd_start() {
	# networkd waits for ever for udev, which is not here, unless /sys is read-only, as in a
	# container.
	bg $1 bash -c "mount -o remount,ro,bind /sys && mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/network &&
		mount --bind $DIR /run/systemd/network && cd /run/systemd/network &&
		install -d -o systemd-network -g systemd-network ../netif ../netif/{links,leases} &&
		SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=0 exec /usr/lib/systemd/systemd-networkd" > $DIR.log 2>&1
	NETWORKD=$BG
}
networkctl() { nsenter -t $NETWORKD -m -n networkctl --no-pager --no-legend "$@"; }
# setup_is STATE: waits until networkd shows that state for wg0.
setup_is() {
	wait_for "wg0 is $1" eval '[[ $(networkctl list wg0) == *" '$1'" ]]' || {
		tail -n 30 $DIR.log
		false
	}
}

# networkd_files MARK MORE-ALLOWED-IPS OTHER-PEER DESTINATION: writes the files for
# systemd-networkd.
networkd_files() {
	cat > $DIR/wg0.netdev <<-EOF
		[NetDev]
		Name=wg0
		Kind=wireguard
		MTUBytes=1400

		[WireGuard]
		PrivateKeyFile=/run/systemd/network/wg0.key
		ListenPort=$PORT
		FirewallMark=$1
		RouteTable=1000

		[WireGuardPeer]
		PublicKey=${PUB[b]}
		PresharedKeyFile=/run/systemd/network/wg0.psk
		AllowedIPs=10.8.0.2/32, fd08::2/128$2
		Endpoint=10.9.0.2:$PORT
		PersistentKeepalive=25

		[WireGuardPeer]
		PublicKey=$3
		AllowedIPs=192.0.2.0/25
		AllowedIPs=2001:db8::/64
		Endpoint=[2001:db8::1]:5
	EOF
	cat > $DIR/wg0.network <<-EOF
		[Match]
		Name=wg0

		[Network]
		Address=10.8.0.1/24
		Address=fd08::1/64

		[Route]
		Destination=$4
	EOF
}

t networkd \
	'systemd-networkd sets an interface up from its files, applies changes, and deletes it'
networkd() {
	local psk
	pair_link
	keys a b
	psk=$(wg genpsk)
	wg_new b
	wg_peer b preshared-key <(echo "$psk")
	fresh
	chmod 755 $DIR
	install -m 640 -g systemd-network <(echo "${KEY[a]}") $DIR/wg0.key
	install -m 640 -g systemd-network <(echo "$psk") $DIR/wg0.psk

	networkd_files 0x42 '' $K1 198.51.100.1/32
	networkd_start a
	setup_is configured
	# networkd keeps no order of peers.
	diff <(shown a | sort) <(sort <<-EOF
		${KEY[a]} ${PUB[a]} $PORT 0x42
		${PUB[b]} $psk 10.9.0.2:$PORT 10.8.0.2/32,fd08::2/128 25
		$K1 (none) [2001:db8::1]:5 192.0.2.0/25,2001:db8::/64 off
	EOF
	)
	[[ $(ipn a link show wg0) == *'mtu 1400 '* ]]
	[[ $(networkctl list wg0) == *' wg0 '*wireguard* ]]
	[[ $(ipn a route show table 1000 | sort | cut -d ' ' -f 1-3 | paste -sd ,) == \
		'10.8.0.2 dev wg0,192.0.2.0/25 dev wg0' ]]
	[[ $(ipn a route show 198.51.100.1) == *'dev wg0'* ]]
	ping_both
	carries a 10.8.0.2
	carries b fd08::1

	# SIGHUP does the same as `networkctl reload`. The peer that stays keeps its session; the
	# mark, its allowed IPs and the other peer change.
	handshakes_blocked a b
	networkd_files 0x43 ', 10.7.0.0/24' $K2 198.51.100.2/32
	kill -HUP $NETWORKD
	wait_for 'the change is there' eval '[[ $(ipn a route show 198.51.100.2) == *"dev wg0"* ]]'
	wait_for 'the change is there' eval '[[ -n $(ipn a route show table 1000 10.7.0.0/24) ]]'
	setup_is configured
	[[ $(ns a wg show wg0 fwmark) == 0x43 ]]
	[[ $(shown a) == *"${PUB[b]} $psk 10.9.0.2:$PORT 10.7.0.0/24,10.8.0.2/32,fd08::2/128 25"* ]]
	[[ $(ns a wg show wg0 peers | sort) == "$(printf '%s\n' $K2 "${PUB[b]}" | sort)" ]]

	networkctl delete wg0
	must_fail ipn a link show wg0
	[[ -z $(ns a ss -Hlnu) ]]
	wait_for 'networkd knows' grep -q 'wg0: .*linger' $DIR.log
	kill $NETWORKD
	wait $NETWORKD
}

t pyroute2 \
	'pyroute2 at both ends: pyroute2 and `wg` read back the settings and peers it made'
pyroute2() {
	local n
	pair_link
	keys a b
	fresh
	cat > $DIR/client.py <<-'PY'
		import subprocess, sys
		from pyroute2 import NDB, IPRoute, WireGuard

		def as_dump(wg):
		    """The output of `wg show wg0 dump`, made from the library's reading."""
		    none = "A" * 43 + "="
		    text = lambda key: "(none)" if key is None or key.decode() == none else key.decode()
		    lines, peers = [], []
		    for message in wg.info("wg0"):
		        if message.get_attr("WGDEVICE_A_LISTEN_PORT") is not None:
		            key, public = (message.get_attr(f"WGDEVICE_A_{k}_KEY") for k in ("PRIVATE", "PUBLIC"))
		            mark = message.get_attr("WGDEVICE_A_FWMARK")
		            lines.append([text(key), text(public), message.get_attr("WGDEVICE_A_LISTEN_PORT"), hex(mark) if mark else "off"])
		        peers += message.get_attr("WGDEVICE_A_PEERS") or []
		    for peer in peers:
		        get = lambda name: peer.get_attr("WGPEER_A_" + name)
		        at = get("ENDPOINT")
		        at = "(none)" if at is None else f"[{at['addr']}]:{at['port']}" if ":" in at["addr"] else f"{at['addr']}:{at['port']}"
		        ips = ",".join(ip["addr"] for ip in get("ALLOWEDIPS") or [])
		        lines.append([text(get("PUBLIC_KEY")), text(get("PRESHARED_KEY")), at, ips or "(none)",
		                      get("LAST_HANDSHAKE_TIME")["tv_sec"], get("RX_BYTES"), get("TX_BYTES"),
		                      get("PERSISTENT_KEEPALIVE_INTERVAL") or "off"])
		    return "".join("\t".join(map(str, line)) + "\n" for line in lines)

		def check(wg):
		    show = lambda: subprocess.run(["wg", "show", "wg0", "dump"], capture_output=True, text=True, check=True).stdout
		    read = None
		    # A message may have been counted between the two readings.
		    while read is None or before != show():
		        before = show()
		        read = as_dump(wg)
		    assert read == before, (read, before)

		def up(number, private, public, other, psk):
		    ndb = NDB()
		    with ndb.interfaces.create(kind="wireguard", ifname="wg0") as link:
		        link.add_ip(f"10.8.0.{number}/24").add_ip(f"fd08::{number}/64")
		    wg = WireGuard()
		    check(wg)
		    wg.set("wg0", private_key=private, listen_port=51820, fwmark=0x1337, peer={
		        "public_key": public, "preshared_key": psk, "endpoint_addr": f"fd09::{other}", "endpoint_port": 51820,
		        "persistent_keepalive": 15, "allowed_ips": [f"10.8.0.{other}/32", f"fd08::{other}/128", "10.1.2.3/8"]})
		    check(wg)
		    # Setting a peer again keeps its other settings, but the library always
		    # replaces its allowed IPs.
		    wg.set("wg0", peer={"public_key": public, "endpoint_addr": f"10.9.0.{other}", "endpoint_port": 51820,
		                        "allowed_ips": [f"10.8.0.{other}/32", f"fd08::{other}/128"]})
		    for i in range(20):
		        key = subprocess.run("wg genkey | wg pubkey", shell=True, capture_output=True, text=True).stdout.strip() if i < 2 else key
		        wg.set("wg0", peer={"public_key": key, "allowed_ips": [f"192.0.2.{i}/32"]})
		    check(wg)
		    wg.set("wg0", peer={"public_key": key, "remove": True})
		    check(wg)
		    with ndb.interfaces["wg0"] as link:
		        link.set(state="up")
		    wg.set("wg0", listen_port=51821)
		    wg.set("wg0", listen_port=51820)
		    check(wg)
		    ndb.close()

		def down():
		    check(WireGuard())
		    with IPRoute() as ip:
		        [index] = ip.link_lookup(ifname="wg0")
		        assert ip.get_links(index)[0].get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "wireguard"
		        ip.link("del", index=index)
		        assert ip.link_lookup(ifname="wg0") == []

		globals()[sys.argv[1]](*sys.argv[2:])
	PY
	wg genpsk > $DIR/psk
	for n in a b; do
		ns $n python3 $DIR/client.py up ${NUM[$n]} "${KEY[$n]}" "${PUB[${OTHER[$n]}]}" \
			${NUM[${OTHER[$n]}]} "$(< $DIR/psk)"
	done
	diff <(shown a | head -n 2) - <<-EOF
		${KEY[a]} ${PUB[a]} $PORT 0x1337
		${PUB[b]} $(< $DIR/psk) 10.9.0.2:$PORT 10.8.0.2/32,fd08::2/128 15
	EOF
	[[ $(shown a | tail -n 1) == *' (none) (none) 192.0.2.0/32 off' ]]
	[[ $(ns a wg show wg0 peers | wc -l) == 2 ]]
	ping_both
	carries a 10.8.0.2
	for n in a b; do
		ns $n python3 $DIR/client.py down
		must_fail ipn $n link show wg0
	done
}

t ynl 'the kernel'"'"'s own netlink client, which reads its specification, dumps what it set'
ynl() {
	local n bytes
	pair_link
	keys a b
	hex() { base64 -d <<< "$1" | od -An -tx1 -v | tr -d ' \n'; }
	ynl_cli() {
		ns $1 python3 /usr/src/linux/tools/net/ynl/pyynl/cli.py \
			--spec /usr/src/linux/Documentation/netlink/specs/wireguard.yaml "${@:2}"
	}
	for n in a b; do
		ipn $n link add wg0 type wireguard
		ipn $n addr add 10.8.0.${NUM[$n]}/24 dev wg0
		ipn $n addr add fd08::${NUM[$n]}/64 dev wg0
		ipn $n link set wg0 up
	done
	# Without an endpoint, which would be the bytes of a struct sockaddr here.
	ynl_cli a --do set-device --json '{
		"ifname": "wg0", "private-key": "'$(hex "${KEY[a]}")'", "listen-port": '$PORT', "fwmark": 66, "flags": ["replace-peers"],
		"peers": [{
			"public-key": "'$(hex "${PUB[b]}")'",
			"flags": ["replace-allowedips"],
			"persistent-keepalive-interval": 7,
			"allowedips": [
				{"family": 2, "ipaddr": "10.8.0.2", "cidr-mask": 32},
				{"family": 10, "ipaddr": "fd08::2", "cidr-mask": 128},
				{"family": 2, "ipaddr": "10.8.0.77", "cidr-mask": 32}
			]
		}, {"public-key": "'$(hex $K1)'"}]}'
	ns b wg set wg0 private-key <(echo "${KEY[b]}") listen-port $PORT
	wg_peer b endpoint 10.9.0.1:$PORT
	shown_is a "${KEY[a]} ${PUB[a]} $PORT 0x42" \
		"${PUB[b]} (none) (none) 10.8.0.2/32,10.8.0.77/32,fd08::2/128 7" \
		"$K1 (none) (none) (none) off"
	ping_ok b 10.8.0.1; ping_both
	carries a 10.8.0.2
	ynl_cli a --do set-device --json '{"ifindex": '$(ns a cat /sys/class/net/wg0/ifindex)', "peers": [
		{"public-key": "'$(hex $K1)'", "flags": ["remove-me"]},
		{"public-key": "'$(hex "${PUB[b]}")'", "flags": ["update-only"], "persistent-keepalive-interval": 0,
		 "allowedips": [{"family": 2, "ipaddr": "10.8.0.77", "cidr-mask": 32, "flags": ["remove-me"]}]},
		{"public-key": "'$(hex $K2)'", "flags": ["update-only"]}]}'
	shown_is a "${KEY[a]} ${PUB[a]} $PORT 0x42" \
		"${PUB[b]} (none) 10.9.0.2:$PORT 10.8.0.2/32,fd08::2/128 off"
	ns a wg show wg0 dump > /tmp/dump
	ynl_cli a --dump get-device --json '{"ifname": "wg0"}' --output-json > /tmp/json
	ns a wg show wg0 dump > /tmp/later
	python3 - <<-'PY'
		import base64, json, socket
		[device] = json.load(open("/tmp/json"))
		[own, peer] = [line.rstrip("\n").split("\t") for line in open("/tmp/dump")]
		later = open("/tmp/later").readlines()[1].split("\t")
		key = lambda text: " ".join(f"{byte:02x}" for byte in base64.b64decode(text))
		assert set(device) == {"ifindex", "ifname", "private-key", "public-key", "listen-port", "fwmark", "peers"}, device
		assert [device["private-key"], device["public-key"]] == [key(own[0]), key(own[1])], device
		assert [device["ifname"], device["listen-port"], device["fwmark"]] == ["wg0", int(own[2]), int(own[3], 0)], device
		# Each element of an array is named by its index, which is always 0.
		[shown] = [peer["0"] for peer in device["peers"]]
		shown["allowedips"] = [ip["0"] for ip in shown["allowedips"]]
		# The endpoint is the bytes of a struct sockaddr. The time is a struct timespec, and
		# the client knows its members.
		endpoint = bytes.fromhex(shown.pop("endpoint").replace(" ", ""))
		assert endpoint == b"\2\0" + (51820).to_bytes(2, "big") + bytes([10, 9, 0, 2]) + bytes(8), endpoint
		time = shown.pop("last-handshake-time")
		assert set(time) == {"sec", "nsec"} and time["sec"] == int(peer[4]) > 0 and time["nsec"] < 10**9, (time, peer)
		# A keepalive may have come between the readings.
		for name, at in ("rx-bytes", 5), ("tx-bytes", 6):
		    assert 1000 < int(peer[at]) <= shown.pop(name) <= int(later[at])
		assert shown == {
		    "public-key": key(peer[0]), "preshared-key": key("A" * 43 + "="),
		    "persistent-keepalive-interval": 0, "protocol-version": 1, "allowedips": [
		        {"family": socket.AF_INET, "ipaddr": "10.8.0.2", "cidr-mask": 32},
		        {"family": socket.AF_INET6, "ipaddr": "fd08::2", "cidr-mask": 128}]}, shown
	PY
	for n in a b; do
		ipn $n link del wg0
	done
}

t shell \
	'shell commands: `ip -batch`, JSON; the cycle of setconf, addconf, syncconf, showconf'
shell() {
	local n
	pair_link
	keys a b
	fresh
	for n in a b; do
		ip -n $NS$n -batch - <<-EOF
			link add dev wg0 mtu 1410 type wireguard
			address add dev wg0 10.8.0.${NUM[$n]} peer 10.8.0.${NUM[${OTHER[$n]}]}
			address add dev wg0 fd08::${NUM[$n]}/64
			link set dev wg0 alias tunnel txqueuelen 500 group 7 up
		EOF
		cat > $DIR/$n <<-EOF
			[Interface]
			ListenPort = $PORT
			FwMark = 0x9
			PrivateKey = ${KEY[$n]}

			[Peer]
			PublicKey = ${PUB[${OTHER[$n]}]}
			AllowedIPs = fd08::${NUM[${OTHER[$n]}]}/128, 10.8.0.${NUM[${OTHER[$n]}]}/32
			Endpoint = $(outer ${OTHER[$n]} 6):$PORT
			PersistentKeepalive = 3
		EOF
		ns $n wg setconf wg0 $DIR/$n
		[[ $(ns $n wg showconf wg0 | grep .) == "$(grep . $DIR/$n)" ]]
	done
	ping_both
	ipn a -j -d link show wg0 | python3 -c '
import json, sys
[link] = json.load(sys.stdin)
assert [link[k] for k in ("link_type", "mtu", "operstate", "group", "txqlen", "ifalias")] == ["none", 1410, "UNKNOWN", "7", 500, "tunnel"], link
assert link["linkinfo"] == {"info_kind": "wireguard"} and set(link["flags"]) == {"POINTOPOINT", "NOARP", "UP", "LOWER_UP"}, link'
	[[ $(ipn a -br link show type wireguard) == "wg0 "* ]]

	handshakes_blocked a b	# addconf and syncconf must keep the session
	printf '[Peer]\nPublicKey = %s\nAllowedIPs = 192.0.2.0/24\n' $K1 > $DIR/more
	ns a wg addconf wg0 $DIR/more
	[[ $(ns a wg showconf wg0 | grep .) == "$(cat $DIR/a $DIR/more | grep .)" ]]
	ping_both
	ns a wg syncconf wg0 $DIR/a
	[[ $(ns a wg showconf wg0 | grep .) == "$(grep . $DIR/a)" ]]
	ping_both
	ns b wg show wg0 dump > $DIR/dump
	[[ $(ns b wg show all dump) == "$(sed 's/^/wg0	/' $DIR/dump)" ]]
	# setconf makes the peer anew, without a session.
	ns a wg setconf wg0 $DIR/a
	must_fail ns a ping -q -c 1 -W 2 10.8.0.2
	ns a nft delete table inet t
	WAIT=120 wait_for 'a session is made' ping_ok a 10.8.0.2
	for n in a b; do
		ipn $n link del dev wg0
		[[ -z $(ns $n wg show interfaces) && -z $(ns $n ss -Hlnu) ]]
	done
}

run "$@"
