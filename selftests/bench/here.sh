#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: here.sh --ko FILE [OPTION…]
#
# Measures this module and the kernel's own C module on this machine, at its full speed: loads them
# in turn, and has traffic go through a tunnel between two network namespaces, which a veth joins.
# Prints a block of text for a report: the machine, both modules, and a table.
#
#     --ko FILE           this module
#     --c FILE            the C module (default: the one that the running kernel came with)
#     --yes               do not ask whether modules may be unloaded and loaded
#     --seconds N         time of each measurement (default: 5)
#     --rounds "NAME…"    the order of the modules (default: c rust rust c)
#
# Does nothing where there is a WireGuard interface, because that would go with its module. In the
# end, and also when it is interrupted, the namespaces are deleted. The module that was loaded
# before is loaded again, with its parameters; if there was none, there is none. Modules that both
# need, and veth, stay. Any other work of the machine is in the figures.
#
# scripts/bench-here.sh builds the module and runs this.

. "$(dirname "$0")/../lib/lib.sh"
. "$HERE/traffic.sh"
NS=wgbench-
export PYTHONDONTWRITEBYTECODE=1

KO='' C='' YES='' RATE_TIME=5 ROUNDS='c rust rust c' WORK=''

die() { printf 'bench-here: %s\n' "$*" >&2; exit 1; }
say() { printf '  %s\n' "$*" >&2; }
record() { echo "BENCH {$1}" >> $WORK/results; }

## What must be there

need_tools() {
	local tool packages=() lacking=()
	for tool in iperf3:iperf3 ip:iproute2 ss:iproute2 wg:wireguard-tools ping:iputils-ping \
		ethtool:ethtool modinfo:kmod lsns:util-linux python3:python3 awk:mawk; do
		command -v ${tool%:*} > /dev/null || {
			lacking+=(${tool%:*})
			packages+=(${tool#*:})
		}
	done
	((${#lacking[@]} == 0)) || die "these programs are missing: ${lacking[*]}. Install the packages" \
		"that have them (apt install ${packages[*]}), then run this again"
}

need_modules() {
	local file release
	release=$(uname -r)
	[[ -n $KO ]] || die '--ko FILE must name this module: see --help'
	[[ -n $C ]] || C=$(find -L /lib/modules/$release/kernel/drivers/net/wireguard \
		-name 'wireguard.ko*' 2> /dev/null | head -n 1)
	[[ -n $C ]] || die "no C module is in /lib/modules/$release: name it with --c FILE"
	for file in "$C" "$KO"; do
		[[ -r $file ]] || die "$file cannot be read: name another file"
		[[ $(modinfo -F vermagic "$file") == "$release "* ]] ||
			die "$file is a module for the kernel $(modinfo -F vermagic "$file" | cut -d ' ' -f 1)," \
				"and this one is $release: boot that kernel, or build the module for this one"
	done
}

# tunnels: prints the names of all WireGuard interfaces, in all namespaces.
tunnels() {
	local name pid
	[[ -d /sys/module/wireguard ]] || return 0
	{
		for name in $(ip netns list | cut -d ' ' -f 1); do
			ip -n $name -o link show type wireguard
		done
		# A process may end while they are listed.
		for pid in $(lsns -n -t net -o PID); do
			nsenter -t $pid -n ip -o link show type wireguard || true
		done
	} 2> /dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | sort -u | xargs
}

# Ends this if the loaded module has something to do.
need_idle() {
	local found
	found=$(tunnels)
	[[ -z $found ]] || die "there are WireGuard interfaces ($found), and they would go with the" \
		"module: take them away first (wg-quick down NAME, or ip link del NAME), then run this again"
	[[ ! -d /sys/module/wireguard || $(< /sys/module/wireguard/refcnt) == 0 ]] ||
		die 'the module wireguard is in use: end what uses it, then run this again'
}

## Modules

# was_loaded: prints the file of the module that is loaded, if one is.
was_loaded() {
	local file
	[[ -d /sys/module/wireguard ]] || return 0
	for file in "$(modinfo -n wireguard 2> /dev/null)" "$C" "$KO"; do
		[[ -r $file ]] && is_loaded "$file" || continue
		echo "$file"
		return
	done
	die 'the loaded module wireguard is from no known file, so it could not be put back:' \
		'unload it (modprobe -r wireguard), then run this again'
}
is_loaded() { [[ $(modinfo -F srcversion "$1") == "$(< /sys/module/wireguard/srcversion)" ]]; }

# parameters: prints the parameters of the module that is loaded, as insmod takes them.
parameters() {
	local file
	for file in /sys/module/wireguard/parameters/*; do
		[[ ! -r $file ]] || echo "${file##*/}=$(< $file)"
	done
}
unload() { [[ ! -d /sys/module/wireguard ]] || rmmod wireguard; }
# load FILE [PARAMETER…]
load() {
	local dep
	for dep in $(modinfo -F depends "$1" | tr , ' '); do
		modprobe $dep || return
	done
	insmod "$@" && is_loaded "$1"
}
# use c|rust: loads that module in place of any other.
use() {
	local file=$C
	[[ $1 == c ]] || file=$KO
	need_idle
	unload
	load "$file" || die "$file cannot be loaded: see the end of dmesg. With secure boot, the key that" \
		'it is signed with must be enrolled'
}

# Runs at the end, however it comes.
put_back() {
	local status=$?
	trap '' INT TERM
	trap - ERR
	set +e
	ns_del_all
	rm -rf "$WORK"
	if [[ -n $(tunnels) ]]; then
		say "the module that is loaded stays, for the sake of $(tunnels); it was ${BEFORE:-none} before"
		status=1
	elif unload && { [[ -z $BEFORE ]] || load "$BEFORE" "${PARAMETERS[@]}"; }; then
		say "${BEFORE:-no module wireguard} is loaded, as before"
	else
		say "the module that was loaded before, ${BEFORE:-none}, could not be put back: see dmesg"
		status=1
	fi
	exit $status
}

## Measuring

# busy: prints for how many seconds processors have worked so far, all together.
busy() { awk -v hz=$(getconf CLK_TCK) '/^cpu / { print ($2 + $3 + $4 + $7 + $8) / hz }' /proc/stat; }
# per_second COMMAND…: runs COMMAND, and sets BUSY to the number of processors that worked in the
# meantime.
per_second() {
	local work=$(busy) time=$EPOCHREALTIME
	"$@"
	BUSY=$(awk "BEGIN { print ($(busy) - $work) / ($EPOCHREALTIME - $time) }")
}
# rate_and_cores NAME OPTION…: as rate, and measures what share of the processors that takes.
rate_and_cores() {
	per_second rate "$@"
	measured $1_cores 'cores per Gbit/s' $(python3 $HERE/bench.py cores $WORK/out $BUSY)
}

# trips NAME: measures round trips, 50 in a second.
trips() {
	round_trips $((RATE_TIME * 50))
	measured $1_median ms $(percentile 50)
	measured $1_p99 ms $(percentile 99)
}

round() {
	local flow
	set_up $VARIANT
	serve $ADDRESS
	set_mtu 1420
	round_trips 10
	trips rtt
	bg a iperf3 -c $ADDRESS -t 86400 > /dev/null 2>&1; flow=$BG
	# One connection is for control.
	wait_for 'the flow is there' connections 2
	trips rtt_loaded
	kill $flow
	wait $flow || true
	# Only then is the server free for another client.
	wait_for 'the flow has ended' connections 0
	rate_and_cores rate_tcp1
	rate_and_cores rate_tcp8 -P 8
	as_cards rate_and_cores rate_tcp1_nic
	rate_and_cores rate_udp1400 -u -l 1392 -b 0
	rate_and_cores rate_udp64 -u -l 64 -b 0
	take_down
}
# connections NUMBER: succeeds if iperf3 has that many.
connections() { (($(ns b ss -Htn state established 'sport = 5201' | wc -l) == $1)); }

## The block

# described FILE: prints the versions of a module.
described() {
	local own
	own=$(modinfo -F implementation_version "$1")
	echo "$(modinfo -F version "$1")${own:+ ($own)}, srcversion $(modinfo -F srcversion "$1")"
}

block() {
	echo '---- both WireGuard modules on one machine ----'
	echo "kernel       $(uname -rm)"
	echo "processors   $(nproc), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort -u | head -n 1)"
	echo 'link         a veth between two network namespaces'
	echo "C module     $(described "$C")"
	echo "this module  $(described "$KO")"
	echo "measured     $RATE_TIME s each, in the order $ROUNDS, with $(iperf3 --version | head -n 1 | cut -d ' ' -f 1,2)"
	printf 'otherwise    %.2f processors were busy before\n' $IDLE
	python3 $HERE/bench.py block $WORK/results
	echo '---- end ----'
}

while (($# > 0)); do
	case $1 in
	-h | --help) sed -n '3,/^$/s/^# \{0,1\}//p' "$SELF"; exit 0 ;;
	--yes) YES=1; shift; continue ;;
	--ko | --c | --seconds | --rounds) (($# > 1)) || die "$1 needs a value: see --help" ;;
	*) die "there is no option $1: see --help" ;;
	esac
	case $1 in
	--ko) KO=$2 ;;
	--c) C=$2 ;;
	--seconds) RATE_TIME=$2 ;;
	--rounds) ROUNDS=$2 ;;
	esac
	shift 2
done
[[ $RATE_TIME =~ ^[1-9][0-9]*$ ]] || die "--seconds $RATE_TIME is not a number of seconds"
[[ $ROUNDS =~ ^(c|rust)(\ (c|rust))*$ ]] || die "--rounds $ROUNDS: the names are c and rust"
[[ $(id -u) -eq 0 ]] || die 'this loads and unloads modules of the kernel: run it again as root'
need_tools
need_modules
need_idle
BEFORE=$(was_loaded) || exit
mapfile -t PARAMETERS < <(parameters)
if [[ -z $YES ]]; then
	[[ -t 0 ]] || die 'there is no terminal to ask on whether modules may be unloaded and loaded:' \
		'run it again with --yes'
	read -r -p 'Unload and load the modules of WireGuard on this machine? [y/N] ' answer
	[[ $answer == [yY]* ]] || die 'nothing was changed'
fi

WORK=$(mktemp -d)
trap put_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set -eE
trap 'say "line $LINENO failed: $BASH_COMMAND"; cat $WORK/err >&2 2> /dev/null || true' ERR
per_second sleep 1
IDLE=$BUSY
ROUND=0
for VARIANT in $ROUNDS; do
	ROUND=$((ROUND + 1))
	use $VARIANT
	round
done
block
