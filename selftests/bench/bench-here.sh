#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# That here.sh, which measures on the machine that it runs on, says all it is to say, and leaves the
# machine as it was.
#
# guests: 1
# timeout: 400

. "$(dirname "$0")/../lib/lib.sh"

here() { "$HERE/here.sh" --ko "$KO" --seconds 1 --rounds 'c rust' "$@"; }

# as_before rust|c: fails unless that module is loaded, and no namespace of here.sh is left.
as_before() {
	WG_MODULE=$1 module_prove
	nothing_left
}
nothing_left() { ! ip netns list | grep wgbench; }

t block 'it prints a row of figures and a ratio for everything, and loads the module again'
block() {
	local row
	module_use rust
	here --yes > /tmp/block
	as_before rust
	sed 's/^/NOTE: /' /tmp/block
	[[ $(head -n 1 /tmp/block) == '---- both WireGuard modules'* ]]
	[[ $(tail -n 1 /tmp/block) == '---- end ----' ]]
	for row in kernel processors link 'C module' 'this module' measured otherwise; do
		grep -Eq "^$row +[^ ]" /tmp/block
	done
	grep -q "^C module .*$(modinfo -F srcversion wireguard)" /tmp/block
	grep -q "^this module .*$(modinfo -F srcversion "$KO")" /tmp/block
	for row in 'one TCP flow' 'eight TCP flows' 'one TCP flow, as between network cards'; do
		has_row "$row, Mbit/s"
		has_row "$row, cores per Gbit/s"
	done
	for row in 64 1,400; do
		has_row "UDP, $row bytes, datagrams/s"
		has_row "UDP, $row bytes, cores per Gbit/s"
	done
	for row in 'when idle' 'beside a TCP flow'; do
		has_row "round trip $row, median, ms"
		has_row "round trip $row, 99 %, ms"
	done
}
# has_row TITLE: both modules have a figure there that is not 0, and there is a ratio.
has_row() {
	awk -v title="$1 " '
	index($0, title) == 1 {
		$0 = substr($0, length(title) + 1)
		gsub(/,/, "")
		found += NF == 3 && $1 > 0 && $2 > 0 && $3 > 0
	}
	END { exit found != 1 }' /tmp/block
}

# started: starts here.sh as a shell does for a terminal, and waits until the C module is at work
# there. Its process id is in STARTED.
started() {
	setsid env --default-signal=INT "$HERE/here.sh" --yes --ko "$KO" --seconds 60 \
		--rounds 'c rust' &> /tmp/started &
	STARTED=$!
	wait_for 'a tunnel is there' ip -n wgbench-b link show wg1
	[[ $(< /sys/module/wireguard/srcversion) == "$(modinfo -F srcversion wireguard)" ]]
}

# ends: succeeds once the program has ended with an error. Shows what runs if it does not end.
ends() {
	gone() { ! kill -0 $STARTED; }
	wait_for 'the program has ended' gone || {
		cat /tmp/started
		ps -ef --forest
		kill -KILL -- -$STARTED
		return 1
	}
	must_fail wait $STARTED
}

t interrupted 'interrupted from the terminal, it loads the module that was loaded before'
interrupted() {
	module_use rust
	echo N > /sys/module/wireguard/parameters/aggregate_tx
	started
	kill -INT -- -$STARTED
	ends
	as_before rust
	[[ $(< /sys/module/wireguard/parameters/aggregate_tx) == N ]]
}

t terminated 'when it is ended, it leaves no module loaded if there was none'
terminated() {
	module_use rust
	rmmod wireguard
	started
	kill -- -$STARTED
	ends
	[[ ! -d /sys/module/wireguard ]]
	nothing_left
}

# refuses WORDS COMMAND…: COMMAND fails and says WORDS, and the C module is still loaded.
refuses() {
	must_fail "${@:2}" &> /tmp/said < /dev/null
	cat /tmp/said
	grep -qF "$1" /tmp/said
	as_before c
}

t refused 'it says what to do where it must not or cannot run, and changes nothing'
refused() {
	module_use c
	refuses 'run it again with --yes' here
	refuses 'nothing was changed' script -qec "$HERE/here.sh --ko $KO" /dev/null
	refuses 'run it again as root' setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$HERE/here.sh" --yes --ko "$KO"
	mkdir /tmp/few
	ln -sf /usr/sbin/* /usr/bin/* /tmp/few/
	rm /tmp/few/{iperf3,wg}
	refuses 'apt install iperf3 wireguard-tools' env PATH=/tmp/few \
		"$HERE/here.sh" --yes --ko "$KO"
	LC_ALL=C sed "s/vermagic=$(uname -r | cut -c 1)/vermagic=0/" "$KO" > /tmp/other.ko
	refuses 'boot that kernel' here --yes --ko /tmp/other.ko
	ns_add a
	keys a
	wg_new a
	refuses '(wg0)' here --yes
	ipn a link show wg0
	# A namespace without a name, as containers have.
	ipn a link del wg0
	unshare --net sleep 1000 &
	wait_for 'it has a namespace' own_namespace $!
	nsenter -t $! -n ip link add inner type wireguard
	refuses '(inner)' here --yes
	kill $!
}
own_namespace() { [[ $(readlink /proc/$1/ns/net) != "$(readlink /proc/$$/ns/net)" ]]; }

run "$@"
