# SPDX-License-Identifier: GPL-2.0
#
# Interoperability with another WireGuard implementation. Sourced by interop-*.sh after lib.sh.
#
# One side is near: the module under test. The other side is far. The script that sources this
# defines how to reach both:
#   near COMMAND…   runs a command on the near side (words as they are)
#   far COMMAND…    runs a command on the far side (words as they are); returns output and status
#   near_bg, far_bg COMMAND…    start a command there that goes on running
#   near_new, far_new NAME      make a WireGuard interface anew, without configuration, down
#   near_del, far_del NAME      remove it
#   near_reload, far_reload     load the implementation afresh; all its interfaces go
#   interop_setup   makes the link between both and ends what an earlier test left in the tunnel
#   FAR_NAME        name of the far interfaces before the number; the near ones are wg0, wg1, …
# It also sets the outer addresses: 10.9.0.1, fd09::1 near and 10.9.0.2, fd09::2 far. The inner
# addresses are set here.
#
# Several tunnels can exist together, each with interfaces, ports and inner addresses of its own:
# `use_tunnel N` chooses the current one. Tunnels 1 and 2 live until they have changed keys; the
# other tests use 0 and 3.

OTHER+=([near]=far [far]=near) NUM+=([near]=1 [far]=2)
declare -A OUT4=([near]=10.9.0.1 [far]=10.9.0.2) OUT6=([near]=fd09::1 [far]=fd09::2)
declare -A DEV IN4 IN6 LISTEN

use_tunnel() {
	local side
	TUNNEL=$1
	DEV=([near]=wg$1 [far]=$FAR_NAME$1)
	for side in near far; do
		IN4[$side]=10.8.$1.${NUM[$side]}
		IN6[$side]=fd08:$1::${NUM[$side]}
		LISTEN[$side]=$((PORT + $1))
	done
}

# Makes the keys of both sides, and a preshared key.
interop_keys() {
	keys near far
	PSK=$(wg genpsk)
}

# endpoint near|far 4|6: that side's outer address and port.
endpoint() {
	case $2 in
	4) echo ${OUT4[$1]}:${LISTEN[$1]} ;;
	6) echo "[${OUT6[$1]}]:${LISTEN[$1]}" ;;
	esac
}

# set_up near|far PSK|none 4|6|none: makes that side's interface anew and configures it, with an
# endpoint of that family for the other side, or with none.
set_up() {
	local side=$1 to=${OTHER[$1]} conf
	conf=$(printf '%s\n' '[Interface]' "PrivateKey = ${KEY[$side]}" \
		"ListenPort = ${LISTEN[$side]}" \
		'[Peer]' "PublicKey = ${PUB[$to]}" "AllowedIPs = ${IN4[$to]}/32, ${IN6[$to]}/128"
		[[ $2 == none ]] || echo "PresharedKey = $2"
		[[ $3 == none ]] || echo "Endpoint = $(endpoint $to $3)")
	${side}_new ${DEV[$side]}
	$side bash -ec "wg setconf ${DEV[$side]} <(echo '$conf')
		ip addr add ${IN4[$side]}/24 dev ${DEV[$side]}
		ip addr add ${IN6[$side]}/64 dev ${DEV[$side]} nodad
		ip link set ${DEV[$side]} mtu 1420 up"
}

# tunnel 4|6 PSK|none near|far: makes a fresh tunnel; no packet has been sent yet. Only the side
# named last knows the other's address, so only it can initiate.
tunnel() {
	set_up ${OTHER[$3]} $2 none
	set_up $3 $2 $1
}
tunnel_del() {
	near_del ${DEV[near]}
	far_del ${DEV[far]}
}

endpoint_at() { $1 wg show ${DEV[$1]} endpoints | cut -f 2; }
handshake_at() { $1 wg show ${DEV[$1]} latest-handshakes | cut -f 2; }
# one_ping near|far: pings the other side once; waits as long as a handshake may take.
one_ping() { $1 ping -q -c 1 -W 20 ${IN4[${OTHER[$1]}]}; }
pings_fine() {
	near ping -q -c 3 -i 0.2 -W 20 ${IN6[far]}
	far ping -q -c 3 -i 0.2 -W 20 ${IN4[near]}
}

# listens near|far PORT: succeeds if a TCP port is open there.
listens() { $1 bash -c "[[ -n \$(ss -Hlnt 'sport = $2') ]]"; }

# transfer near|far ADDRESS MEGABYTES: sends so much from that side to the other's address over the
# tunnel, and compares checksums. (Callers do both directions in turn: together they take longer.)
transfer() {
	local from=$1 to=${OTHER[$1]} file=/tmp/interop bytes=$(($3 * 1048576))
	$from bash -ec "[[ -s $file.sum.$from.$3 ]] || {
			head -c $bytes /dev/urandom > $file.out.$from.$3
			sha256sum < $file.out.$from.$3 > $file.sum.$from.$3
		}"
	$to rm -f $file.{done,size}.$to
	${to}_bg bash -c "ncat --recv-only -l $2 5555 | tee >(wc -c > $file.size.$to) | sha256sum > $file.got.$to; touch $file.done.$to"
	WAIT=120 wait_for 'the receiver listens' listens $to 5555
	$from bash -c "timeout 240 ncat --send-only $2 5555 < $file.out.$from.$3"
	WAIT=240 wait_for 'the receiver has all' $to test -e $file.done.$to
	wait_for 'it was counted' $to test -s $file.size.$to
	[[ $($to cat $file.size.$to) == "$bytes" ]]
	[[ $($to cat $file.got.$to) == "$($from cat $file.sum.$from.$3)" ]]
}

# combination 4|6 psk|none near|far MEGABYTES: tests one combination, with so much data each way.
combination() {
	local family=$1 psk=$2 who=$3 other=${OTHER[$3]}
	use_tunnel 0
	interop_setup
	interop_keys
	[[ $psk == none ]] || psk=$PSK
	tunnel $family $psk $who
	# One side knows no address and waits. The first ping of the other makes the handshake, and
	# is not lost.
	[[ $(endpoint_at $other) == '(none)' ]]
	[[ $(handshake_at $other) == 0 ]]
	one_ping $who
	pings_fine
	[[ $(endpoint_at $other) == "$(endpoint $who $family)" ]]
	(($(handshake_at near) > 0 && $(handshake_at far) > 0))
	transfer near ${IN4[far]} $4
	transfer far ${IN6[near]} $4
	tunnel_del
}

wrong_preshared_key() {
	local key pinger
	use_tunnel 0
	interop_setup
	interop_keys
	tunnel 4 $PSK near
	key=$(wg genpsk)
	far bash -c "wg set ${DEV[far]} peer ${PUB[near]} preshared-key <(echo '$key') endpoint $(endpoint near 4)"
	near ping -q -c 1 -W 3 ${IN4[far]} & pinger=$!
	must_fail far ping -q -c 1 -W 3 ${IN4[near]}
	must_fail wait $pinger
	[[ $(handshake_at near) == 0 ]]
	# With the right key the next attempt succeeds: either side retries after five seconds.
	far bash -c "wg set ${DEV[far]} peer ${PUB[near]} preshared-key <(echo '$PSK')"
	wait_for 'a session is made' near ping -q -c 1 -W 2 ${IN4[far]}
	tunnel_del
}

## Traffic that goes on while something happens to the tunnel

# stream_begin near|far: begins a TCP connection from there to the other side that carries numbered
# lines at 8 KB a second.
stream_begin() {
	local from=$1 to=${OTHER[$1]} file=/tmp/stream-$1-$TUNNEL
	${to}_bg bash -c "rm -f $file.{got,closed}
		ncat --recv-only -l ${IN4[$to]} 5556 > $file.got && touch $file.closed"
	wait_for 'the receiver listens' listens $to 5556
	# `read` waits without starting a process for each line: the stream costs next to nothing.
	${from}_bg bash -o pipefail -c "rm -f $file.{sent,stop,ended}
		exec {never}<> <(:)
		for ((i = 0; ; i++)); do
			[[ ! -e $file.stop ]] || break
			printf '%04095d\\n' \$i
			read -r -t 0.5 -u \$never
		done | tee $file.sent | ncat --send-only ${IN4[$to]} 5556 && touch $file.ended"
	stream_moves $from
}

# stream_moves near|far: waits until more of the stream arrives.
stream_moves() {
	local to=${OTHER[$1]} file=/tmp/stream-$1-$TUNNEL
	$to timeout 120 bash -c "had=\$(wc -c < $file.got); until ((\$(wc -c < $file.got) > had)); do sleep 0.1; done"
}

# stream_end near|far: closes the stream in the ordinary way, and compares the received bytes with
# those sent.
stream_end() {
	local from=$1 to=${OTHER[$1]} file=/tmp/stream-$1-$TUNNEL sent got
	$from touch $file.stop
	wait_for 'the stream was closed by its sender' $from test -e $file.ended
	wait_for 'the stream was closed at its receiver' $to test -e $file.closed
	sent=$($from bash -c "sha256sum < $file.sent; wc -c < $file.sent")
	got=$($to bash -c "sha256sum < $file.got; wc -c < $file.got")
	[[ $sent == "$got" ]]
	note "tunnel $TUNNEL: one TCP connection from the $from side carried ${got##*$'\n'} bytes"
	$from rm $file.sent
	$to rm $file.got
}

# pings_begin near|far COUNT INTERVAL DELAY: begins to send COUNT pings to the other side, INTERVAL
# seconds apart, after DELAY seconds.
pings_begin() {
	local file=/tmp/pings-$1-$TUNNEL-$2
	$1 rm -f $file
	${1}_bg bash -c "sleep $4; ping -D -i $3 -c $2 -W 20 ${IN4[${OTHER[$1]}]} > $file.part 2>&1; mv $file.part $file"
}

# pings_end near|far COUNT TIME: fails if a ping before the last answered one was lost or answered
# twice, or if that answer came before TIME. (Later pings may miss their answers: ping waits for the
# last answers at most twice as long as the slowest took, which can be too short on a busy machine.)
pings_end() {
	local file=/tmp/pings-$1-$TUNNEL-$2
	$1 cat $file | awk -v time=$3 -v words="tunnel $TUNNEL: pings from the $1 side" '
		match($0, /icmp_seq=[0-9]+/) {
			seq = substr($0, RSTART + 9, RLENGTH - 9) + 0
			came[seq]++
			late += seq < last
			if (seq > last)
				last = seq
			at = substr($1, 2, length($1) - 2) + 0
		}
		END {
			for (seq = 1; seq <= last; seq++)
				if (came[seq] != 1)
					wrong = wrong " " seq " came " came[seq] + 0 " times"
			print "NOTE: " words ": " last " came back, " late + 0 " of them late, " (wrong ? "but" wrong : "none was lost")
			exit wrong != "" || at < time
		}'
}

## Change of keys
#
# An initiator makes new keys when it sends something and the old keys are 120 seconds old. There
# are two tunnels with steady traffic: the near side is the initiator of one, the far side of the
# other. They run in a process of their own while other tests run.
#
# Two pings a second keep the tunnels busy; around the change of keys there are fifty a second.

STEADY=270 DENSE=800	# numbers of pings: for 135 seconds and for 16

# wire FILE: begins to capture the first bytes of each message of tunnels 1 and 2; the process is
# $WIRE.
wire() {
	near_bg tcpdump -Z root -i any -n -s 128 -w $1 \
		"udp portrange $((PORT + 1))-$((PORT + 2))" 2> $1.log
	WIRE=$!
	wait_for 'tcpdump listens' grep -q 'listening on' $1.log
}

rekey_run() {
	local n side file=/tmp/rekey-run.pcap since from
	declare -A initiator=([1]=near [2]=far) family=([1]=4 [2]=6) first
	NS=wgl-	# not the namespaces that other tests make and delete meanwhile
	use_tunnel 1
	interop_setup
	interop_keys
	wire $file
	for n in 1 2; do
		use_tunnel $n
		tunnel ${family[$n]} none ${initiator[$n]}
		one_ping ${initiator[$n]}
		one_ping ${OTHER[${initiator[$n]}]}
		for side in near far; do
			first[$side$n]=$(handshake_at $side)
			((${first[$side$n]} > 0))
			stream_begin $side
			pings_begin $side $STEADY 0.5 0
			pings_begin $side $DENSE 0.02 \
				$((114 - ($($side date +%s) - ${first[$side$n]})))
		done
	done
	since=$(near date +%s)
	touch /tmp/rekey-run.up
	for n in 1 2; do
		use_tunnel $n
		for side in near far; do
			WAIT=500 wait_for 'all pings are done' $side \
				test -e /tmp/pings-$side-$n-$STEADY -a -e /tmp/pings-$side-$n-$DENSE
		done
	done
	# Messages that follow when the tunnel falls silent are not checked.
	kill $WIRE
	wait $WIRE || true
	for n in 1 2; do
		use_tunnel $n
		for side in near far; do
			(($(handshake_at $side) - ${first[$side$n]} >= 119))
			pings_end $side $STEADY $((${first[$side$n]} + 125))
			pings_end $side $DENSE $((${first[$side$n]} + 125))
			stream_moves $side
			stream_end $side
		done
		[[ ${family[$n]} == 4 ]] && from=${OUT4[${initiator[$n]}]} ||
			from=${OUT6[${initiator[$n]}]}
		python3 -m wgtest.wire sessions $file $((PORT + n)) $from $since \
			$([[ ${initiator[$n]} == near ]] || echo other)
		tunnel_del
	done
}

rekey_begin() {
	rm -f /tmp/rekey-run.{up,status}
	setsid bash -c '
		"$0" --one rekey_run > /tmp/rekey-run.log 2>&1
		echo $? > /tmp/rekey-run.status' "$SELF" < /dev/null > /dev/null 2>&1 &
	touch /tmp/rekey-run.begun
	WAIT=300 wait_for 'both tunnels carry traffic' \
		eval '[[ -e /tmp/rekey-run.up || -s /tmp/rekey-run.status ]]'
	[[ -e /tmp/rekey-run.up ]]
}

rekey() {
	[[ -e /tmp/rekey-run.begun ]] || rekey_begin
	WAIT=500 wait_for 'the keys have changed' test -s /tmp/rekey-run.status
	{ set +x; } 2> /dev/null
	cat /tmp/rekey-run.log
	[[ $(< /tmp/rekey-run.status) == 0 ]]
}

## Restart

# restart near|far: that side loses its interface with all its state, and gets it again with the
# same key, while TCP connections go on. In tunnel 0 the restarted side knows no endpoint, and must
# wait until the other side has heard nothing for 15 seconds and initiates. In tunnel 3 the
# restarted side knows the endpoint and has data to send, so it initiates itself.
restart() {
	local side=$1 other=${OTHER[$1]} n down up
	declare -A knows=([0]=none [3]=4) sender=([0]=$other [3]=$side) first last
	interop_keys
	for n in 0 3; do
		use_tunnel $n
		interop_setup
		# TCP must not give up, and must notice soon that the tunnel is back.
		${sender[$n]} sysctl -q -w net.ipv4.tcp_rto_max_ms=1000 net.ipv4.tcp_retries2=60
		tunnel 4 none $other
		one_ping $other
		stream_begin ${sender[$n]}
		first[$n]=$(handshake_at $other)
	done
	# New sessions are told from these by the second of their handshake.
	wait_for 'a second has passed' eval "((\$($other date +%s) > ${first[3]}))"

	down=$($other date +%s)
	for n in 0 3; do
		use_tunnel $n
		${side}_del ${DEV[$side]}
	done
	${side}_reload
	for n in 3 0; do
		use_tunnel $n
		set_up $side none ${knows[$n]}
	done
	up=$($other date +%s)
	for n in 3 0; do
		use_tunnel $n
		wait_for 'there is a new session' \
			eval "((\$(handshake_at $other) > ${first[$n]} && \$(handshake_at $side) > 0))"
		last[$n]=$(handshake_at $other)
	done
	note "the $side side was down for $((up - down)) s;" \
		"new sessions after $((last[3] - down)) s," \
		"and without an address after $((last[0] - down)) s"
	((last[0] - down >= 14))
	((up - down > 5 || last[3] + 5 < last[0]))
	for n in 0 3; do
		use_tunnel $n
		pings_fine
		stream_moves ${sender[$n]}
		stream_end ${sender[$n]}
		tunnel_del
	done
}
restart_near() { restart near; }
restart_far() { restart far; }

## Roaming

# move near|far 4|6 ADDRESS PORT: changes that side's outer address and port. Another IPv4 address
# is proven to our module by a handshake; another IPv6 address of the same network needs no proof.
move() {
	local side=$1 old new=$3 bits made
	made=$(handshake_at near)
	if [[ $2 == 4 ]]; then
		old=${OUT4[$side]} bits=24
		OUT4[$side]=$new
	else
		old=${OUT6[$side]} bits='64 nodad'
		OUT6[$side]=$new
	fi
	LISTEN[$side]=$4
	$side bash -ec "ip addr del $old/${bits% *} dev ${card[$side]}
		ip addr add $new/$bits dev ${card[$side]}
		wg set ${DEV[$side]} listen-port $4"
	followed $side $2
	[[ $side$2 != far4 || $WG_MODULE != rust ]] || wait_for 'the new address is proven' \
		eval "((\$(handshake_at near) > $made))"
}

# followed near|far 4|6: waits until the other side has that side's new address as its endpoint.
followed() {
	local other=${OTHER[$1]}
	wait_for 'the other side has the new address' \
		eval "[[ \$(endpoint_at $other) == '$(endpoint $1 $2)' ]]"
	pings_fine
}

roaming() {
	local side now
	declare -A made card
	use_tunnel 0
	interop_setup
	interop_keys
	# Addresses that no other test uses.
	for side in near far; do
		card[$side]=$($side ip -br addr show to ${OUT4[$side]})
		card[$side]=${card[$side]%%[@ ]*}
		$side bash -ec "ip addr flush dev ${card[$side]} to 10.9.1.0/24
			ip addr flush dev ${card[$side]} to fd09:1::/64
			ip addr add 10.9.1.${NUM[$side]}/24 dev ${card[$side]}
			ip addr add fd09:1::${NUM[$side]}/64 dev ${card[$side]} nodad"
		OUT4[$side]=10.9.1.${NUM[$side]} OUT6[$side]=fd09:1::${NUM[$side]}
	done
	tunnel 4 none near
	one_ping near
	one_ping far
	for side in near far; do
		made[$side]=$(handshake_at $side)
		stream_begin $side
	done
	move near 4 10.9.1.11 51911
	move far 4 10.9.1.12 51912
	# One side leaves the IPv4 network, and knows the other's IPv6 address. (If it kept IPv4,
	# data still on its way from the other side would turn the endpoint back.)
	near ip addr del ${OUT4[near]}/24 dev ${card[near]}
	near wg set ${DEV[near]} peer ${PUB[far]} endpoint "$(endpoint far 6)"
	followed near 6
	move far 6 fd09:1::12 51922
	move near 6 fd09:1::11 51921
	for side in near far; do
		stream_moves $side
		# The same session goes on, unless it has lived for its 120 seconds. Our module
		# proves a new address with a new session.
		now=$(handshake_at $side)
		[[ $WG_MODULE == rust ]] || ((now == made[$side] || now - made[$side] >= 119))
	done
	for side in near far; do
		stream_end $side
	done
	tunnel_del
}

# Declares the tests. Tests that load a module afresh come before the tunnels that live long.
interop_tests() {
	local family key who words megabytes
	t restart_near \
		'this side restarts with its old key: the tunnel returns, TCP goes on'
	t restart_far \
		'the other side restarts with its old key: the tunnel returns, TCP goes on'
	t rekey_begin 'two tunnels, one initiated by each side, begin to carry traffic'
	t roaming \
		'TCP goes on while either side changes its address, port and address family'
	for family in 4 6; do
		for key in none psk; do
			for who in near far; do
				words="IPv$family outside, "
				[[ $key == psk ]] && words+='with ' || words+='without '
				words+='a preshared key, '
				[[ $who == near ]] && words+='this ' || words+='the other '
				words+='side initiates'
				# How much makes no difference to what is combined here: much is
				# sent twice.
				case $family$key$who in
				4nonenear | 6pskfar) megabytes=2 ;;
				*) megabytes=1 ;;
				esac
				eval "combination_${family}_${key}_$who() {
					combination $family $key $who $megabytes
				}"
				t combination_${family}_${key}_$who \
					"$words: pings, $megabytes MB each way"
			done
		done
	done
	t wrong_preshared_key 'a wrong preshared key makes no session, the right one does'
	t rekey \
		'an initiator makes new keys after 120 seconds; no ping and no TCP byte is lost'
}
