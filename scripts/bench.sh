#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/bench.sh [PART…]
#        scripts/bench.sh --show FILE.json
#        scripts/bench.sh --picture FILE.json >FILE.svg
#
# Measures the cost of traffic with the kernel's own module, with ours, with wireguard-go and
# without a tunnel, side by side: in one guest, so with the same kernel, tools and settings, the C
# module first and last. Prints tables, and the path of the results as JSON. Without a PART,
# measures all there are:
#
# instructions of the kernel
#     tcp1, tcp8              per byte of one and of eight TCP flows, MTU 1420 inside
#     tcp1_big, tcp8_big      the same with an MTU of 8920
#     tcp1_plain              one flow over a link that does not cut datagrams up itself, as most
#                             network cards do not
#     tcp1_nic, tcp8_nic      one and eight flows as between two machines: datagrams leave one by
#                             one, and GRO joins them
#     forward_nic             the same with a client behind the tunnel's one end, a router that
#                             masquerades: TCP into the tunnel and out of it, and UDP. All three
#                             machines are counted: client, router, and the tunnel's other end
#     spread1, spread8        one and eight flows with eight processors
#     spread_tunnels          eight tunnels, a flow in each, with eight processors
#     udp64, udp1400          per packet with 64, or 1,400, bytes of UDP payload, as many as go
#     udp1400_nic             as between two machines
#     ping                    per round trip, one at a time
#     handshake               per handshake, the module's side only: answering it, and beginning it
#     peers                   per datagram that one interface receives from, or sends to, 1,000
#                             peers in turn, or one of them
# by the clock, on two processors
#     rtt                     round trip when nothing else happens
#     rate_tcp1, rate_tcp8, rate_udp64, rate_udp1400, rate_tunnels
#                             throughput a second; tunnels: eight of them, each with one TCP flow
#     handshakes              handshakes answered a second
#     rate_peers              datagrams a second out of a burst from 1,000 peers in turn, or one
#     memory                  memory of a peer
#
# A plugin of the emulator, scripts/bench/instructions.c, counts the instructions. The guest has one
# processor, whose clock counts instructions, too. So the figures do not depend on the machine or on
# its load. (The guest with eight processors has the time of the machine. On a busy machine, waiting
# for one another takes more instructions.) Both ends of the tunnel are in the guest, and both are
# counted. Only the kernel's instructions are counted, unless the table says otherwise.
# scripts/bench/classes says to which class a function belongs. With eight processors, the table
# shows what all execute, the busiest one, and each of the others, and how many segments of TCP
# arrived out of order. Figures by the clock depend on the machine and on its load. "spread" is how
# far apart the rounds with the same module are.
#
# The parts by the clock are measured twice: with processors that have AVX2, and with processors
# without it, where the kernel's ciphers are plain code. An emulator is quick with plain code, but
# slow with AVX2, above all where bytes change places.
#
# With --show, prints the tables of results that are there; with --picture, a picture of them. The
# results of several files are joined.
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64). PROFILE=1 also shows
# the functions that executed most instructions. ROUNDS: the variants, in the order in which they
# take turns (default: c rust go none rust c).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
amd64_only

counted=(
	tcp1 tcp8 tcp1_big tcp8_big tcp1_plain tcp1_nic tcp8_nic udp64 udp1400 udp1400_nic ping
	handshake peers forward_nic
)
wide=(spread1 spread8 spread_tunnels)
timed=(rtt rate_tcp1 rate_tcp8 rate_tunnels rate_udp64 rate_udp1400 handshakes rate_peers memory)

of_results=''
case ${1:-} in
--show | --picture)
	of_results=$1
	shift
	[[ $# -gt 0 ]] || die "$of_results needs a file of results"
	for file; do
		[[ -r $file ]] || die "$file cannot be read"
	done ;;
esac
[[ $# -gt 0 ]] || set -- "${counted[@]}" "${wide[@]}" "${timed[@]}"
count=() spread=() time=()
for part; do
	if [[ -n $of_results ]]; then
		break
	elif [[ " ${counted[*]} " == *" $part "* ]]; then
		count+=("$part")
	elif [[ " ${wide[*]} " == *" $part "* ]]; then
		spread+=("$part")
	elif [[ " ${timed[*]} " == *" $part "* ]]; then
		time+=("$part")
	else
		die "there is no part $part: see $self --help"
	fi
done

call env buildenv.sh
use_part "$env"
scratch run

# program NAME ARGUMENT…: runs scripts/bench/NAME.py.
program() { in_env "$run" python3 -B "$scripts/bench/$1.py" "${@:2}"; }

# Prints the tables. Rust's function names are mangled: they are shown as in the source.
tables() {
	program report table results.json ${PROFILE:+profile} | in_env "$run" c++filt |
		sed 's/\[[0-9a-f]*\]::/::/g'
}

if [[ -n $of_results ]]; then
	copies=()
	for file; do
		copies+=("${#copies[@]}.json")
		cp "$file" "$run/${copies[-1]}"
	done
	program report join results.json "${copies[@]}"
	if [[ $of_results == --show ]]; then tables; else program picture results.json; fi
	exit
fi

call kernel kernel.sh
call module module.sh
use_part "$kernel"
cp "$module" "$run/wireguard.ko"

start_log
mkdir -p "$cache/bench"
plugin=$run/instructions.so
step 'building the plugin that counts' in_env "$run" gcc-14 -O2 -Wall -Wextra \
	-Wno-unused-parameter -Werror -shared -fPIC -fvisibility=hidden -o "$plugin" \
	"$scripts/bench/instructions.c"

# measure OPTION… -- COMMAND…: runs COMMAND in a guest. All its output goes to a file of messages,
# the plugin's counts to a file of counts; the lines for people are shown.
guests=() # both files of each guest
measure() {
	local number=${#guests[@]}
	guests+=("messages$number" "counts$number")
	: >"$run/counts$number"
	run_job boot "$@"
}
boot() {
	"$scripts/boot.sh" --ko "$run/wireguard.ko" --timeout 21600 --memory 2048 \
		--console "$cache/log/bench-console.log" "$@" |
		tee "$run/${guests[-2]}" | sed -u '/^SYMBOLS /d; /^BENCH /d; s/^# /  /' >&2
}
rounds=${ROUNDS:-c rust go none rust c}
# count PART… -- OPTION…: measures parts whose instructions are counted, in a guest with these
# options of boot.sh.
count() {
	local parts=()
	while [[ $1 != -- ]]; do
		parts+=("$1")
		shift
	done
	[[ ${#parts[@]} -eq 0 ]] || measure "${@:2}" --plugin "$plugin,out=$run/counts${#guests[@]}" \
		-- env ROUNDS="$rounds" /selftests/bench/bench.sh count "${parts[@]}"
}

count "${count[@]}" -- --cpus 1 --clock instructions --append nokaslr
# The emulator gives up counting instructions as time when it starts a second processor with a
# plugin. Without ERMS, FSRM and FSRS, moving a byte does not count as an instruction, as in the
# other guest. The HPET would have a lock that processors wait for.
count "${spread[@]}" -- --cpus 8 --processor max,-erms,-fsrm,-fsrs \
	--append 'nokaslr clocksource=tsc'
# On an idle machine, which this needs, the kernel can measure the rate of the TSC, whose reading
# costs next to nothing.
for processor in max:avx2 qemu64:plain; do
	[[ ${#time[@]} -eq 0 ]] ||
		measure --cpus 2 --processor "${processor%:*}" --append clocksource=tsc \
			-- env ROUNDS="$rounds" PROCESSOR="${processor#*:}" \
			/selftests/bench/bench.sh time "${time[@]}"
done
program report collect "$scripts/bench/classes" results.json "$(<"$kernel/version")" "${guests[@]}"
results=$cache/bench/$(date -u +%Y%m%d-%H%M%S).json
cp "$run/results.json" "$results"
tables
printf '\n%s\n' "$results"
