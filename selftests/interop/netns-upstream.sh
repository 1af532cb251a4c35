#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own selftest for WireGuard, tools/testing/selftests/wireguard/netns.sh of the
# kernel's source, unmodified, with the module's debug messages on (its last check reads them).
#
# If the first argument is a number, the selftest runs that many times in a row on one loaded
# module. The last check reads the whole kernel log, from the first run on, so the log must be large
# enough to keep its beginning:
#
#     scripts/boot.sh --timeout 2400 --append log_buf_len=4M -- \
#         /selftests/interop/netns-upstream.sh 3
#
# guests: 1
# architectures: amd64 arm64
# kernels: stock kasan
# timeout: 1200
# memory: 1024

LIMIT=3000
. "$(dirname "$0")/../lib/lib.sh"

UPSTREAM=${UPSTREAM:-/selftests-upstream/wireguard/netns.sh}

if [[ ${1:-} == [1-9]* ]]; then
	export RUNS=$1
	shift
fi
upstream() {
	local status=0 trace=/tmp/netns.trace
	set +x
	module_debug
	# All steps go to a trace, each with its line in the script, which shows where a failure
	# was. (Root's shell ignores PS4 in the environment.) Lines after `cleanup` are left out.
	echo 'PS4='\''+$((${#FUNCNAME[@]} > 1 ? BASH_LINENO[${#FUNCNAME[@]} - 2] : LINENO)): '\' > /tmp/netns.env
	BASH_ENV=/tmp/netns.env BASH_XTRACEFD=9 \
		bash -x "$UPSTREAM" > /tmp/netns.out 2>&1 9> $trace || status=$?
	note "$(grep -c '\[+\]' /tmp/netns.out) steps were taken"
	if ((status)); then
		local line
		line=$(sed -n 's/^+*\([0-9]*\): cleanup$/\1/p' $trace | head -n 1)
		sed '/^+*[0-9]*: cleanup$/,$d' $trace | tail -n 32 | cut -c 1-200
		grep '^Error: ' /tmp/netns.out || true
		# What the module did before the interfaces went.
		dmesg | grep -F 'wireguard: ' | grep -v destroyed | tail -n 16
		# A section of the script begins with a comment at the start of a line.
		echo "section: $(head -n "${line:-1}" "$UPSTREAM" | grep '^# ' | tail -n 1)"
		echo "it exited with status $status in line $line:" \
			"$(sed -n "${line:-1}p" "$UPSTREAM")"
		return 1
	fi
	grep -q 'Objects that were created were also destroyed' /tmp/netns.out
}
t upstream 'netns.sh passes'
for ((n = 2; n <= ${RUNS:-1}; n++)); do
	eval "upstream_$n() { upstream; }"
	t upstream_$n "netns.sh passes once more ($n of $RUNS)"
done

t objects 'its last check saw the creation and the destruction of objects'
objects() {
	local param=/sys/module/wireguard/parameters/debug
	if [[ ! -e $param ]] &&
		! grep -qs '\[wireguard\]' /sys/kernel/debug/dynamic_debug/control; then
		skip 'this module has no debug messages'
	fi
	dmesg | grep -cE 'wg[0-9]+: (Interface|Peer [0-9]+|Keypair [0-9]+) (created|destroyed)' \
		> /tmp/objects || true
	note "$(< /tmp/objects) messages of objects that came or went are in the kernel log"
	(($(< /tmp/objects) > 100))
}

run "$@"
