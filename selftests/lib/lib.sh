# SPDX-License-Identifier: GPL-2.0
#
# Functions that the tests share. Sourced, never run.
#
# A test script declares its tests with `t NAME 'description'`, defines a function NAME for each,
# and ends with `run "$@"`. `./script.sh` runs all of them and prints KTAP version 1; `./script.sh
# NAME…` runs the named ones. Each test is a process of its own with `set -e` and a time limit. It
# passes when its function returns without any command having failed; on a failure the end of its
# trace is printed as diagnostics. No test sleeps for an effect that it can wait for: `wait_for`
# polls, with limits that only a hang reaches.
#
# A test works in network namespaces whose names begin with $NS. All processes in them are killed
# and the namespaces deleted when the test ends, however it ends.

set -u
export LANG=C LC_ALL=C WG_HIDE_KEYS=never
: "${WG_MODULE:=c}"
KCSAN=/sys/kernel/debug/kcsan
LEAKS=/sys/kernel/debug/kmemleak
SELF=$(realpath "${BASH_SOURCE[-1]}")
HERE=$(dirname "$SELF")	# where the test and its own files are
LIB=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
export PYTHONPATH=$LIB	# has the package wgtest
. "$LIB/slow.sh"
# How many times slower than the stock kernel this kernel is.
export SLOW=1
[[ ! -e $KCSAN && ! -e $LEAKS ]] || SLOW=$DEBUG_SLOW
KO=/root/wireguard.ko
WGX=/tools/wgx/wgx
# Runs a program as another user, without any right.
RESTRICTED='setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all'
# Those of the kselftest that this was installed with, or those that a guest of the lab has.
KTAP_HELPERS=$LIB/../../kselftest/ktap_helpers.sh
[[ -e $KTAP_HELPERS ]] || KTAP_HELPERS=/selftests-upstream/kselftest/ktap_helpers.sh
NS=wgt-
LIMIT=$((${LIMIT:-600} * SLOW))	# seconds that one test may take

## The module under test

# Loads the module that WG_MODULE names: `rust` is /root/wireguard.ko, `c` the kernel's own.
module_load() {
	[[ -d /sys/module/wireguard ]] && return 0
	case $WG_MODULE in
	c)	modprobe wireguard || return ;;
	rust)
		local dep
		for dep in $(modinfo -F depends "$KO" | tr , ' '); do
			modprobe "$dep" || return
		done
		insmod "$KO" || return ;;
	*)	echo "WG_MODULE is '$WG_MODULE', and must be rust or c" >&2; return 1 ;;
	esac
}

# Proves that the loaded module is the one WG_MODULE names and prints the evidence. The build id is
# a hash over the linked module; the kernel shows that of the module in its memory.
module_prove() {
	local file id name=wireguard
	file=$(echo /usr/lib/modules/$(uname -r)/kernel/drivers/net/wireguard/wireguard.ko*)
	[[ $WG_MODULE == rust ]] && file=$KO
	[[ -d /sys/module/$name ]] || { echo "no module $name is loaded"; return 1; }
	id=$(module_build_id /sys/module/$name/notes/.note.gnu.build-id) ||
		{ echo "the loaded module has no build id"; return 1; }
	echo "loaded build id:  $id"
	if [[ $WG_MODULE == rust ]]; then
		echo "file:             $file"
		echo "file build id:    $(module_build_id "$file")"
		[[ $(module_build_id "$file") == "$id" ]] ||
			{ echo "the loaded module is not $file"; return 1; }
		echo "taint:            $(< /sys/module/$name/taint) (O: built out of tree)"
		echo "Rust symbols:     $(grep -c '[[:space:]]_R.*\[wireguard\]' /proc/kallsyms)"
		grep -q '[[:space:]]_R.*\[wireguard\]' /proc/kallsyms ||
			{ echo "the loaded module has no Rust in it"; return 1; }
	else
		echo "file:             $file"
		echo "srcversion:       $(< /sys/module/$name/srcversion)"
		[[ $(modinfo -F srcversion "$file") == "$(< /sys/module/$name/srcversion)" ]] ||
			{ echo "the loaded module is not $file"; return 1; }
		[[ $(< /sys/module/$name/taint) != *O* ]] ||
			{ echo "the loaded module is an out-of-tree one"; return 1; }
	fi
}

# need_ours: skips a test of the netlink family `wireguard_ext`, unless the module has it.
need_ours() { [[ $WG_MODULE == rust ]] || skip 'the C module does not have this family'; }

# module_use rust|c: loads that module in place of any other.
module_use() {
	[[ ! -d /sys/module/wireguard ]] || rmmod wireguard
	WG_MODULE=$1
	module_load
	module_prove
}

# module_build_id FILE: prints the build id in a .note.gnu.build-id section or a file that has one.
module_build_id() {
	python3 - "$1" <<-'EOF'
	import struct, sys
	data = open(sys.argv[1], "rb").read()
	head = struct.pack("<III4s", 4, 20, 3, b"GNU\0")
	at = data.find(head)
	if at < 0:
	    sys.exit(1)
	print(data[at + len(head):][:20].hex())
	EOF
}

# Turns on the module's debug messages, where it has any: by its parameter `debug` if there is one,
# and by dynamic debug.
module_debug() {
	local param=/sys/module/wireguard/parameters/debug
	[[ -e $param ]] && echo 1 > $param
	mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug 2>/dev/null
	[[ -e /sys/kernel/debug/dynamic_debug/control ]] &&
		echo 'module wireguard +p' > /sys/kernel/debug/dynamic_debug/control
	return 0
}

# Fails if the kernel has complained about anything since boot, and shows the complaint.
kernel_silent() {
	! dmesg | awk -f "$LIB/complaints.awk" -v stalls=1 -v after=25 | grep .
}

# For a kernel with kmemleak: unloads the module, and fails if memory is left that nothing points
# to, and shows it. kmemleak skips objects younger than five seconds, hence the sleep, and reports
# only objects that look lost in two scans.
leaks_none() {
	[[ ! -d /sys/module/wireguard ]] || rmmod wireguard
	sleep 6
	echo scan > $LEAKS
	echo scan > $LEAKS
	! grep . $LEAKS
}

## Waiting

# wait_for TEXT COMMAND…: polls until COMMAND succeeds, at most 60 seconds (or $WAIT); TEXT is what
# the message about a timeout says.
wait_for() {
	local what=$1 end=$((SECONDS + ${WAIT:-60} * SLOW)); shift
	{ local had=$-; set +x; } 2>/dev/null
	until "$@" &>/dev/null; do
		if ((SECONDS >= end)); then
			echo "gave up waiting until $what: $*"
			return 1
		fi
		sleep 0.1
	done
	[[ $had != *x* ]] || set -x
}

## Namespaces

ns() { ip netns exec "$NS$1" "${@:2}"; }
# bg NAMESPACE COMMAND…: starts COMMAND there in the background; its process id is in $BG.
bg() { ip netns exec "$NS$1" "${@:2}" & BG=$!; }
ipn() { ip -n "$NS$1" "${@:2}"; }

ns_add() {
	local n
	for n; do
		ip netns add "$NS$n"
		ipn "$n" link set lo up
	done
}

ns_del() {
	local n pids
	for n; do
		# Some may have ended by themselves since they were listed.
		pids=$(ip netns pids "$NS$n" 2>/dev/null) && [[ -n $pids ]] &&
			kill -KILL $pids 2>/dev/null || true
		ip netns del "$NS$n"
	done
}

ns_del_all() {
	local n
	for n in $(ip netns list | sed -n "s/^$NS\([^ ]*\).*/\1/p"); do
		ns_del "$n"
	done
}

## Two namespaces, a veth between them, a tunnel over it

# Addresses: outside 10.9.0.1, fd09::1 (a) and 10.9.0.2, fd09::2 (b);
# inside 10.8.0.1, fd08::1 (a) and 10.8.0.2, fd08::2 (b).
declare -A KEY PUB NUM=([a]=1 [b]=2) OTHER=([a]=b [b]=a)
PORT=51820

# veth NAMESPACE INTERFACE NAMESPACE INTERFACE NET: joins two namespaces by a pair of interfaces,
# with the addresses 10.NET.0.1 and fdNET::1, 10.NET.0.2 and fdNET::2. NET has two digits in IPv6.
veth() {
	local n number=0
	ip link add $2 netns $NS$1 type veth peer name $4 netns $NS$3
	for n in "$1 $2" "$3 $4"; do
		number=$((number + 1))
		ipn ${n% *} addr add 10.$5.0.$number/24 dev ${n#* }
		ipn ${n% *} addr add "fd$(printf %02d $5)::$number/64" dev ${n#* } nodad
		ipn ${n% *} link set ${n#* } up
	done
}

pair_link() {
	ns_add a b
	veth a eth0 b eth0 9
	wait_for 'the link is up' ns a ping -c 1 -W 1 10.9.0.2
	wait_for 'the link is up' ns a ping -c 1 -W 1 fd09::2
}

keys() {
	local n
	for n; do
		KEY[$n]=$(wg genkey)
		PUB[$n]=$(wg pubkey <<< "${KEY[$n]}")
	done
}

# outer a|b 4|6: that side's outer address, in the form that an endpoint has.
outer() { case $2 in 4) echo 10.9.0.${NUM[$1]} ;; 6) echo "[fd09::${NUM[$1]}]" ;; esac; }

# wg_new NAMESPACE: makes a wg0 with the namespace's key and inner addresses, without a peer.
wg_new() {
	ipn $1 link add wg0 type wireguard
	ipn $1 addr add 10.8.0.${NUM[$1]}/24 dev wg0
	ipn $1 addr add fd08::${NUM[$1]}/64 dev wg0
	ns $1 wg set wg0 private-key <(echo "${KEY[$1]}") listen-port $PORT
	ipn $1 link set wg0 up
}

# scripted NAME [WORD…]: makes a namespace with a wg0, and runs that part of the test's program in
# Python there, with the private key of wg0. The log limits no message.
scripted() {
	module_debug
	sysctl -q net.core.message_cost=0
	ns_add a
	keys a
	wg_new a
	ns a python3 "${SELF%.sh}.py" "$1" "${KEY[a]}" "${@:2}"
}

# wg_peer NAMESPACE [OPTION…]: makes the other side its peer, with further options of `wg set`.
wg_peer() {
	local o=${OTHER[$1]}
	ns $1 wg set wg0 peer "${PUB[$o]}" \
		allowed-ips 10.8.0.${NUM[$o]}/32,fd08::${NUM[$o]}/128 "${@:2}"
}

# pair [4|6]: makes link, tunnel and peers; both peers have an endpoint of the given family.
pair() {
	local n
	pair_link
	keys a b
	for n in a b; do
		wg_new $n
		wg_peer $n endpoint "$(outer ${OTHER[$n]} "${1:-4}")":$PORT
	done
}

# wg_* NAMESPACE: what `wg show` prints about the namespace's only peer.
wg_rx() { ns $1 wg show wg0 transfer | cut -f 2; }
wg_tx() { ns $1 wg show wg0 transfer | cut -f 3; }
wg_handshake() { ns $1 wg show wg0 latest-handshakes | cut -f 2; }
wg_endpoint() { ns $1 wg show wg0 endpoints | cut -f 2; }
# stat NAMESPACE COUNTER: a counter of `ip -s link`, such as rx_errors.
stat() { ns $1 cat /sys/class/net/wg0/statistics/$2; }

# handshakes_blocked NAMESPACE…: drops initiations. A session that exists goes on, and no new one
# can be made, until handshakes_free NAMESPACE….
handshakes_blocked() { local n; for n; do ns $n nft "add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o udp dport $PORT @th,64,8 1 drop"; done; }
handshakes_free() { local n; for n; do ns $n nft delete table inet t; done; }

# must_fail COMMAND…: succeeds if COMMAND does not.
must_fail() { if "$@"; then echo "this should have failed: $*"; return 1; fi; }

ping_ok() { ns $1 ping -q -c "${3:-1}" -i 0.2 -W 20 "$2"; }
ping_both() {
	ping_ok a 10.8.0.2; ping_ok a fd08::2
	ping_ok b 10.8.0.1; ping_ok b fd08::1
}

# behind_a: makes a network behind a: c, with the addresses 10.7.0.2 and fd07::2, and a as its
# router.
behind_a() {
	ns_add c
	veth a eth1 c eth0 7
	ipn c route add default via 10.7.0.1
	ipn c route add default via fd07::1
	ns a sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ns b wg set wg0 peer "${PUB[a]}" allowed-ips +10.7.0.0/24,+fd07::/64
	ipn b route add 10.7.0.0/24 dev wg0
	ipn b route add fd07::/64 dev wg0
	wait_for 'the way is open' ns c ping -q -c 1 -W 1 10.8.0.2
	wait_for 'the way is open' ns c ping -q -c 1 -W 1 fd08::2
}

# listening NAMESPACE tcp|udp PORT: succeeds if a socket listens there.
listening() { [[ -n $(ns $1 ss -Hln --$2 "sport = $3") ]]; }

# iperf NAMESPACE-OF-CLIENT SERVER-ADDRESS OPTION…: runs iperf3 once, with the server on the other
# side. Prints JSON with -J.
iperf() {
	local server
	bg ${OTHER[$1]} iperf3 -s -1 -B "$2" > /dev/null; server=$BG
	wait_for 'iperf3 listens' listening ${OTHER[$1]} tcp 5201
	ns $1 timeout 120 iperf3 -c "$2" "${@:3}"
	wait $server
}

# capture NAMESPACE FILE FILTER…: runs tcpdump on eth0 (or $CAPTURE_IF) until capture_end. It has
# 64 MB for packets that it has yet to write, 64 KB for each.
capture() {
	: > "$2.log"	# from an earlier one
	bg $1 tcpdump -Z root -i ${CAPTURE_IF:-eth0} -n -U --immediate-mode -B 65536 -s 65535 \
		-w "$2" "${@:3}" 2>> "$2.log"
	CAPTURES[$2]=$BG
	wait_for 'tcpdump listens' grep -q 'listening on' "$2.log"
}
declare -A CAPTURES	# the process that writes a file
# capture_end: ends all captures. Fails if packets were lost.
capture_end() {
	local file
	for file in "${!CAPTURES[@]}"; do
		kill ${CAPTURES[$file]}
		wait ${CAPTURES[$file]} || true
		grep '^0 packets dropped by kernel' "$file.log"
	done
	CAPTURES=()
}

# nothing_in COMMAND…: succeeds if COMMAND, which reads a capture, succeeds and prints nothing.
nothing_in() {
	local found
	found=$("$@") || return
	[[ -z $found ]] || { echo "$found"; return 1; }
}

## Figures

processes() { find /proc -maxdepth 1 -name '[0-9]*' | wc -l; }
# in_use: prints two numbers of kilobytes: all memory in use, and that of slab objects, thread
# stacks and per-CPU variables.
in_use() { python3 -m wgtest.memory used; }
# row NAME UNIT TITLE: prints a line of a table of both modules, of the arrays RUST and C.
row() { note "$(printf '%-58s %10s %10s %s' "$3" "${RUST[$1]}" "${C[$1]}" "$2")"; }

## KTAP

TESTS=()
declare -A TITLE

t() { TESTS+=("$1"); TITLE[$1]=$2; }

# note TEXT…: shows TEXT with the result of the test.
note() { echo "NOTE: $*"; }

# skip REASON: ends a test that cannot run here.
skip() { echo "SKIP: $*"; exit 4; }

# run [NAME…]: runs the tests of the script. It calls the script again with --one for each test.
# With --list it only prints the names and descriptions of the tests.
run() {
	if [[ ${1:-} == --list ]]; then
		local name
		for name in "${TESTS[@]}"; do printf '%s\t%s\n' "$name" "${TITLE[$name]}"; done
		exit 0
	fi
	if [[ ${1:-} == --one ]]; then
		trap '{ set +x; } 2> /dev/null; ns_del_all' EXIT
		set -exE
		shopt -s inherit_errexit
		"$2"
		exit 0
	fi
	(($# == 0)) || TESTS=("$@")
	local log rc name begun checks

	[[ -r $KTAP_HELPERS ]] || { echo "Bail out! $KTAP_HELPERS is missing"; exit 1; }
	. "$KTAP_HELPERS"
	echo 'KTAP version 1'
	if [[ -e $KCSAN ]]; then
		# KCSAN watches one access in skip_watch, and waits udelay_* microseconds there for
		# a second access. These delays are long, because an emulated processor does little
		# in the microseconds that are enough for a real one, and does not run all the time.
		echo 2000 > /sys/module/kcsan/parameters/skip_watch
		echo 2000 > /sys/module/kcsan/parameters/udelay_task
		echo 2000 > /sys/module/kcsan/parameters/udelay_interrupt
		echo on > $KCSAN
	fi
	if ! log=$(module_load 2>&1); then
		echo '1..1'
		ktap_exit_fail_msg "the module cannot be loaded: $log"
	fi
	checks=2
	[[ ! -e $LEAKS ]] || checks=3
	ktap_set_plan $((${#TESTS[@]} + checks))
	if log=$(module_prove 2>&1); then
		ktap_test_pass "the loaded module is the $WG_MODULE one"
	else
		ktap_test_fail "the loaded module is the $WG_MODULE one"
	fi
	sed 's/^/# /' <<< "$log"
	for name in "${TESTS[@]}"; do
		log=/tmp/$name.log
		begun=$SECONDS
		timeout -k 10 $LIMIT "$SELF" --one "$name" > "$log" 2>&1
		rc=$?
		ns_del_all
		echo "# $name: $((SECONDS - begun)) s"
		sed -n 's/^NOTE: /# /p' "$log"
		case $rc in
		0) ktap_test_pass "${TITLE[$name]}" ;;
		4) # skip()
		   ktap_test_skip "${TITLE[$name]} ($(sed -n 's/^SKIP: //p' "$log" | tail -n 1))" ;;
		*) ktap_test_fail "${TITLE[$name]}"
		   ((SECONDS - begun < LIMIT)) || echo "# it took more than $LIMIT seconds"
		   tail -n 40 "$log" | sed 's/^/# /' ;;
		esac
	done
	if log=$(kernel_silent); then
		ktap_test_pass 'the kernel log has no complaint'
	else
		ktap_test_fail 'the kernel log has no complaint'
		tail -n 60 <<< "$log" | sed 's/^/# /'
	fi
	if [[ -e $LEAKS ]]; then
		if log=$(leaks_none 2>&1); then
			ktap_test_pass 'no memory is lost'
		else
			ktap_test_fail 'no memory is lost'
			head -n 60 <<< "$log" | sed 's/^/# /'
		fi
	fi
	ktap_finished
}
