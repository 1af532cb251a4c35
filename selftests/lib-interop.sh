# SPDX-License-Identifier: GPL-2.0
#
# Interoperability with another WireGuard, whatever and wherever it is. Sourced by interop-*.sh after lib.sh.
#
# One side is near: the module under test. The other is far. The script that sources this says how to reach both:
#   near COMMAND…   runs a command on the near side (words as they are)
#   far COMMAND…    runs a command on the far side (words as they are); output and status come back
#   far_bg COMMAND… starts one there that goes on running
#   near_if, far_if the names of the two WireGuard interfaces
#   near_new, far_new   make the interface anew, without configuration, down; near_del, far_del remove it
# The outer addresses are there already: 10.9.0.1, fd09::1 near and 10.9.0.2, fd09::2 far. Inner addresses are put on here.

NEAR4=10.9.0.1 NEAR6=fd09::1 FAR4=10.9.0.2 FAR6=fd09::2
INNER=20971520	# bytes of each transfer

# Keys of the session: near and far, and the preshared one. Made once, on the near side.
interop_keys() {
	NEAR_KEY=$(wg genkey) FAR_KEY=$(wg genkey) PSK=$(wg genpsk)
	NEAR_PUB=$(wg pubkey <<< "$NEAR_KEY") FAR_PUB=$(wg pubkey <<< "$FAR_KEY")
}

# endpoint near|far 4|6
endpoint() {
	case $1$2 in
	near4) echo $NEAR4:$PORT ;;
	near6) echo "[$NEAR6]:$PORT" ;;
	far4) echo $FAR4:$PORT ;;
	far6) echo "[$FAR6]:$PORT" ;;
	esac
}

# What `wg` is told, as a configuration: conf_of near|far PSK|none ENDPOINT|none
conf_of() {
	local key=$NEAR_KEY pub=$FAR_PUB n=2
	[[ $1 == near ]] || { key=$FAR_KEY pub=$NEAR_PUB n=1; }
	printf '%s\n' '[Interface]' "PrivateKey = $key" "ListenPort = $PORT" '[Peer]' "PublicKey = $pub" \
		"AllowedIPs = 10.8.0.$n/32, fd08::$n/128"
	[[ $2 == none ]] || echo "PresharedKey = $2"
	[[ $3 == none ]] || echo "Endpoint = $3"
}

# A fresh tunnel, no packet sent yet: tunnel 4|6 psk|none near|far. The last one is who knows the other's address, and so
# the only one that can initiate.
tunnel() {
	local psk=none n f
	[[ $2 == none ]] || psk=$PSK
	n=none f=none
	if [[ $3 == near ]]; then n=$(endpoint far $1); else f=$(endpoint near $1); fi
	near_new
	far_new
	near bash -c "wg setconf $near_if <(echo '$(conf_of near $psk $n)')"
	far bash -c "wg setconf $far_if <(echo '$(conf_of far $psk $f)')"
	near bash -c "ip addr add 10.8.0.1/24 dev $near_if; ip addr add fd08::1/64 dev $near_if nodad; ip link set $near_if mtu 1420 up"
	far bash -c "ip addr add 10.8.0.2/24 dev $far_if; ip addr add fd08::2/64 dev $far_if nodad; ip link set $far_if mtu 1420 up"
}

endpoint_at() { $1 wg show $2 endpoints | cut -f 2; }
handshake_at() { $1 wg show $2 latest-handshakes | cut -f 2; }

# transfer near|far: 20 MB from that side to the other over the tunnel, compared by checksum.
transfer() {
	local from=$1 to=far to_addr=10.8.0.2 sent got
	[[ $from == near ]] || { to=near to_addr=10.8.0.1; }
	$from bash -c "[[ -s /tmp/interop.out ]] || head -c $INNER /dev/urandom > /tmp/interop.out"
	$to rm -f /tmp/interop.in /tmp/interop.done
	${to}_bg bash -c "ncat --recv-only -l $to_addr 5555 > /tmp/interop.in; touch /tmp/interop.done"
	WAIT=120 wait_for 'the receiver listens' $to bash -c '[[ -n $(ss -Hlnt "sport = 5555") ]]'
	$from bash -c "timeout 240 ncat --send-only $to_addr 5555 < /tmp/interop.out"
	WAIT=240 wait_for 'the receiver has all' $to test -e /tmp/interop.done
	sent=$($from sha256sum /tmp/interop.out) got=$($to sha256sum /tmp/interop.in)
	[[ $($to wc -c /tmp/interop.in) == "$INNER "* ]]
	[[ ${sent%% *} == "${got%% *}" ]]
}

# One combination: combination 4|6 psk|none near|far
combination() {
	local who=$3 other=far
	[[ $who == near ]] || other=near
	tunnel "$@"
	# The one who does not know an address waits; the other's first ping makes the handshake, and is not lost.
	local if_who if_other
	if [[ $who == near ]]; then if_who=$near_if if_other=$far_if; else if_who=$far_if if_other=$near_if; fi
	[[ $(endpoint_at $other $if_other) == '(none)' ]]
	[[ $(handshake_at $other $if_other) == 0 ]]
	if [[ $who == near ]]; then
		near ping -q -c 1 -W 20 10.8.0.2
		far ping -q -c 3 -i 0.2 -W 20 fd08::1
	else
		far ping -q -c 1 -W 20 10.8.0.1
		near ping -q -c 3 -i 0.2 -W 20 fd08::2
	fi
	[[ $(endpoint_at $other $if_other) == "$(endpoint $who $1)" ]]
	(($(handshake_at near $near_if) > 0 && $(handshake_at far $far_if) > 0))
	transfer near
	transfer far
	near_del
	far_del
}

# Without the right preshared key there is no session, whoever tries.
wrong_psk() {
	local key
	tunnel 4 psk near
	key=$(wg genpsk)
	far bash -c "wg set $far_if peer $NEAR_PUB preshared-key <(echo '$key') endpoint $(endpoint near 4)"
	must_fail near ping -q -c 1 -W 3 10.8.0.2
	must_fail far ping -q -c 1 -W 3 10.8.0.1
	[[ $(handshake_at near $near_if) == 0 ]]
	# With the right one the next attempt succeeds: either side retries after five seconds.
	far bash -c "wg set $far_if peer $NEAR_PUB preshared-key <(echo '$PSK')"
	wait_for 'a session is made' near ping -q -c 1 -W 2 10.8.0.2
	near_del
	far_del
}

# Declares the tests of all combinations.
interop_tests() {
	local family key who words
	for family in 4 6; do
		for key in none psk; do
			for who in near far; do
				words="IPv$family outside, $([[ $key == psk ]] && echo with || echo without) a preshared key, "
				words+="$([[ $who == near ]] && echo 'this side' || echo 'the other side') initiates"
				eval "combination_${family}_${key}_$who() { interop_setup; combination $family $key $who; }"
				t combination_${family}_${key}_$who "$words: pings, 20 MB each way"
			done
		done
	done
	eval 'wrong_preshared_key() { interop_setup; wrong_psk; }'
	t wrong_preshared_key 'a wrong preshared key makes no session, the right one does'
}
