#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A demonstration for people: loads the module, builds a tunnel between two network namespaces and
# shows that it carries traffic. Exits non-zero if a check fails. (`make demo` boots a guest and
# runs it there.)
#
# architectures: amd64 arm64

. "$(dirname "$0")/lib/lib.sh"
NS=demo-
export WG_HIDE_KEYS=always
trap ns_del_all EXIT

FAILED=()
STEP=0

section() {
	printf '\n=== %d. %s\n' $((++STEP)) "$1"
	[[ -z ${2:-} ]] || fold -s -w 100 <<< "$2" | sed 's/^/    /'
}
# show NAME COMMAND…: prints COMMAND as a user would type it, and its output, and checks that it
# succeeded.
show() {
	local name=$1 typed; shift
	case $1 in
	ns) typed="ip netns exec $NS$2 ${*:3}" ;;
	ipn) typed="ip -n $NS$2 ${*:3}" ;;
	measure) typed="ip netns exec $NS$2 iperf3 -c ${*:3}" ;;
	esac
	printf '  $ %s\n' "$typed"
	"$@" 2>&1 | sed '/^$/d; s/^/    /'
	check "$name" test "${PIPESTATUS[0]}" -eq 0
}
check() {
	local name=$1; shift
	if "$@" > /dev/null 2>&1; then
		printf '  -> %s: yes\n' "$name"
	else
		printf '  -> %s: NO\n' "$name"
		FAILED+=("$name")
	fi
}
# measure: prints iperf3's last two lines (sender, receiver), and fails unless data was received.
measure() {
	local out
	out=$(iperf "$@" -f m) || { echo "$out"; return 1; }
	grep -E 'sender|receiver' <<< "$out"
	! grep -Eq ' 0\.00 (Bytes|bits/sec).*receiver' <<< "$out"
}
# recent NAMESPACE: succeeds if its last handshake is less than 180 seconds old, the life of a key.
recent() { local at now; at=$(wg_handshake $1); now=$(date +%s); ((at > 0 && now - at < 180)); }

section 'The kernel and the module' \
	'A stock Debian kernel has loaded wireguard.ko. Its build id tells the module in memory from any other.'
printf '  $ uname -r\n    %s\n' "$(uname -r)"
module_load || {
	echo 'The module cannot be loaded; the end of the kernel log:'
	dmesg | tail -n 20
	exit 1
}
module_prove | sed 's/^/    /'
proved=${PIPESTATUS[0]}
if [[ $WG_MODULE == rust ]]; then
	check 'the module at work is ours, in Rust, and not the C one of the kernel' \
		test $proved -eq 0
else
	check 'the module at work is the C one of the kernel' test $proved -eq 0
fi

section 'Two machines' \
	"Two network namespaces, ${NS}a and ${NS}b, stand for two machines. A cable (veth) joins them, with the addresses 10.9.0.1 and fd09::1 (a), 10.9.0.2 and fd09::2 (b)."
pair_link
show 'a reaches b over the bare cable' ns a ping -c 1 10.9.0.2

section 'A tunnel' \
	'Each side gets a WireGuard interface and a key pair, and learns the public key of the other, by the stock "ip" and "wg". Inside the tunnel a is 10.8.0.1 and fd08::1, b is 10.8.0.2 and fd08::2.'
keys a b
wg_new a
wg_new b
cat <<-TYPED
	  \$ ip -n ${NS}a link add wg0 type wireguard
	  \$ ip -n ${NS}a addr add 10.8.0.1/24 dev wg0
	  \$ ip -n ${NS}a addr add fd08::1/64 dev wg0
	  \$ ip netns exec ${NS}a wg set wg0 private-key FILE listen-port $PORT
	  \$ ip -n ${NS}a link set wg0 up
	  \$ ip netns exec ${NS}a wg set wg0 peer ${PUB[b]} \\
	        allowed-ips 10.8.0.2/32,fd08::2/128 endpoint 10.9.0.2:$PORT
	  (and the same on b with the numbers swapped)
TYPED
for n in a b; do
	wg_peer $n endpoint "$(outer ${OTHER[$n]} 4):$PORT"
	check "wg has configured $n" test "$(ns $n wg show wg0 peers)" == "${PUB[${OTHER[$n]}]}"
done
show 'the interface is a WireGuard one' ipn a -d link show wg0

section 'Ping through the tunnel over IPv4'
show 'IPv4 in IPv4' ns a ping -c 2 -i 0.2 -W 10 10.8.0.2
show 'IPv6 in IPv4' ns a ping -c 2 -i 0.2 -W 10 fd08::2

section 'Ping through the tunnel over IPv6' 'Only the endpoints change.'
for n in a b; do
	wg_peer $n endpoint "$(outer ${OTHER[$n]} 6):$PORT"
done
show 'IPv4 in IPv6' ns a ping -c 2 -i 0.2 -W 10 10.8.0.2
show 'IPv6 in IPv6' ns b ping -c 2 -i 0.2 -W 10 fd08::1
check 'b sees a at its IPv6 address' test "$(wg_endpoint b)" == "[fd09::1]:$PORT"

section 'Bulk data' \
	'Two seconds each. The guest is emulated: its rates say nothing about a real machine.'
show 'TCP from a to b' measure a 10.8.0.2 -t 2
show 'TCP from b to a' measure a 10.8.0.2 -t 2 -R
show 'UDP from a to b' measure a fd08::2 -t 2 -u -b 20M

section 'The state afterwards' \
	'"wg show" tells the time of the last handshake and the bytes sent each way.'
show 'wg shows a' ns a wg show
show 'wg shows b' ns b wg show
check 'the last handshake is recent on both sides' eval 'recent a && recent b'
check 'both sides count the data in both directions' \
	eval '(( $(wg_rx a) > 100000 && $(wg_tx a) > 100000 && $(wg_rx b) > 100000 && $(wg_tx b) > 100000 ))'
show 'the interface counts no errors' ipn a -s link show wg0
check 'no error, no drop on either side' eval \
	'(( $(stat a rx_errors) + $(stat a tx_errors) + $(stat b rx_errors) + $(stat b tx_errors) == 0 ))'

section 'The kernel log'
check 'the kernel log has no warning and no bug' kernel_silent

echo
if ((${#FAILED[@]})); then
	echo "VERDICT: FAILED. Not as it should be: $(printf '%s; ' "${FAILED[@]}")"
	exit 1
fi
echo "VERDICT: PASSED. The $([[ $WG_MODULE == rust ]] && echo Rust || echo C) module carried IPv4 and IPv6 over IPv4 and IPv6 in every direction."
