#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/bench.sh [PART…]
#        scripts/bench.sh --show FILE.json
#        scripts/bench.sh --picture FILE.json >FILE.svg
#
# Measures what traffic costs with the kernel's own module, with ours, with wireguard-go and without a tunnel, side by side: in
# one guest, so with the same kernel, tools and settings, the C module first and last. Prints tables, and where the results are
# as JSON. Without a PART, measures all there are:
#
# instructions of the kernel
#     tcp1, tcp8              per byte of one and of eight TCP flows, MTU 1420 inside
#     tcp1_big, tcp8_big      the same with an MTU of 8920
#     tcp1_plain              one flow over a link that does not cut datagrams up itself, as most network cards do not
#     tcp1_nic, tcp8_nic      one and eight flows as between two machines: datagrams leave one by one, and GRO joins them
#     udp64, udp1400          per datagram, as many as go
#     udp1400_nic             as between two machines
#     ping                    per round trip, one at a time
#     handshake               per handshake: only the module's side, that which answers and that which begins
#     peers                   per datagram that one interface receives from, or sends to, 1,000 peers in turn, or one of them
# by the clock, on two processors
#     rtt                     round trip when nothing else happens
#     rate_tcp1, rate_tcp8, rate_udp64, rate_udp1400, rate_tunnels
#                             what goes through in a second; tunnels: eight of them, each with one TCP flow
#     handshakes              that are answered in a second
#     rate_peers              datagrams in a second out of a burst from 1,000 peers in turn, or from one of them
#     memory                  that a peer takes
#
# Instructions are counted by a plugin of the emulator, scripts/bench/instructions.c; the guest has one processor, whose clock
# counts instructions, too. So the figures do not depend on the machine, or on what else that is doing. Both ends of the
# tunnel are in the guest, and both are counted. Only the kernel's instructions are, unless it says so. What belongs to what is
# in scripts/bench/classes. What is measured by the clock depends on the machine, and on what else that is doing. "spread" is how far
# apart the rounds with the same module are.
#
# The clock is looked at twice: with processors that have AVX2, and with some that have not, where the kernel's ciphers are plain code.
# An emulator is quick with plain code, but slow with AVX2, above all where bytes change places.
#
# With --show, prints the tables of results that are there, with --picture, a picture of them. Several files can be given: what they
# have is put together.
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64). PROFILE=1: shows the functions, too, that most
# instructions were executed in. ROUNDS: who takes turns in which order (default: c rust go none rust c).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

counted=(tcp1 tcp8 tcp1_big tcp8_big tcp1_plain tcp1_nic tcp8_nic udp64 udp1400 udp1400_nic ping handshake peers)
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
[[ $# -gt 0 ]] || set -- "${counted[@]}" "${timed[@]}"
count=() time=()
for part; do
	if [[ -n $of_results ]]; then
		break
	elif [[ " ${counted[*]} " == *" $part "* ]]; then
		count+=("$part")
	elif [[ " ${timed[*]} " == *" $part "* ]]; then
		time+=("$part")
	else
		die "there is no part $part: see $self --help"
	fi
done

call env buildenv.sh
use_part "$env"
scratch run

# program NAME ARGUMENT…: one of those in scripts/bench/.
program() { in_env "$run" python3 -B "$scripts/bench/$1.py" "${@:2}"; }

# Functions have their names in the source: Rust's are mangled.
tables() { program report table results.json ${PROFILE:+profile} | in_env "$run" c++filt | sed 's/\[[0-9a-f]*\]::/::/g'; }

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
step 'building the plugin that counts' in_env "$run" gcc-14 -O2 -Wall -Wextra -Wno-unused-parameter -Werror -shared -fPIC \
	-fvisibility=hidden -o "$plugin" "$scripts/bench/instructions.c"

# measure OPTION… -- COMMAND…: in a guest. What it says to people is shown, the rest goes to $run/messages.
measure() {
	"$scripts/boot.sh" --ko "$run/wireguard.ko" --timeout 21600 --memory 2048 --console "$cache/log/bench-console.log" "$@" |
		tee -a "$run/messages" | sed -u '/^SYMBOLS /d; /^BENCH /d; s/^# /  /' >&2
}

rounds=${ROUNDS:-c rust go none rust c}
: >"$run/counts"
[[ ${#count[@]} -eq 0 ]] ||
	run_job measure --cpus 1 --clock instructions --append nokaslr --plugin "$plugin,out=$run/counts" \
		-- env ROUNDS="$rounds" /selftests/bench.sh count "${count[@]}"
# On an idle machine, which this needs, the kernel finds out how fast the TSC is, and to read that costs next to nothing.
for processor in max:avx2 qemu64:plain; do
	[[ ${#time[@]} -eq 0 ]] || run_job measure --cpus 2 --processor "${processor%:*}" --append clocksource=tsc \
		-- env ROUNDS="$rounds" PROCESSOR="${processor#*:}" /selftests/bench.sh time "${time[@]}"
done
program report collect "$scripts/bench/classes" results.json messages counts "$(<"$kernel/version")"
results=$cache/bench/$(date -u +%Y%m%d-%H%M%S).json
cp "$run/results.json" "$results"
tables
printf '\n%s\n' "$results"
