#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An interface that goes down and comes up, and a machine that sleeps or is copied: the sockets,
# keys, packets and timers of the interface.
#
# guests: 1
# append: pm_notifier_error_inject.priority=-1
# timeout: 400
# memory: 1024

. "$(dirname "$0")/../lib/lib.sh"
. "$LIB/watch.sh"

KA=$(printf '%.0sA' {1..42})E=	# the public key of a peer that does not exist

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

t falls_asleep 'from the notice that the machine is to sleep until that is over no session begins'
falls_asleep() {
	local state holder before during
	[[ $WG_MODULE == rust ]] || skip 'the C module begins sessions while the machine falls asleep'
	debug_log
	pair
	# A process that cannot be frozen makes the machine try until its time is over. The timers
	# of the interfaces run meanwhile: this one asks for a session, as late as the last one
	# allows.
	wg_peer a persistent-keepalive 6
	python3 $HERE/hold_rtnl.py > /tmp/held & holder=$!
	wait_for 'it waits for a page' grep -q held /tmp/held
	echo 8000 > /sys/power/pm_freeze_timeout
	for state in freeze disk; do
		ping_ok a 10.8.0.2
		before=$(keypairs created)
		echo '<7>test-pm' > /dev/kmsg
		must_fail bash -c "echo $state > /sys/power/state" 2> /tmp/pm
		grep -q 'Device or resource busy' /tmp/pm
		# Then it begins by itself what was asked for, without a wait for 5 seconds.
		wait_for 'a session begins' eval "((\$(keypairs created) > $before))"
		during=$(log | awk '
			/test-pm/ { seen = 1; over = created = late = 0 }
			/Freezing user space processes failed after 8/ { over = 1 }
			seen && !over && /Keypair [0-9]+ created/ { created++ }
			over == 1 && /did not complete after/ { late++ }
			over == 1 && /Keypair [0-9]+ created/ { over = 2 }
			END { print seen, over, created, late }')
		[[ $during == '1 2 0 0' ]]
	done
	kill -KILL $holder
	echo 20000 > /sys/power/pm_freeze_timeout
	ping_ok a 10.8.0.2
	ping_both
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

run "$@"
