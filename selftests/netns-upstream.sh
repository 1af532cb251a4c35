#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own selftest for WireGuard, tools/testing/selftests/wireguard/netns.sh of the kernel's source, unmodified,
# with the module's debug messages on (its last check reads them).
#
# guests: 1
# timeout: 1200
# memory: 1024

LIMIT=3000
. "$(dirname "$0")/lib.sh"

UPSTREAM=${UPSTREAM:-/selftests-upstream/wireguard/netns.sh}

t upstream 'netns.sh passes'
upstream() {
	local status=0 trace=/tmp/netns.trace
	set +x
	module_debug
	# All steps go to a trace with their lines, so that a failure has a place. What comes after `cleanup` is not of interest.
	PS4='+${LINENO}: ' BASH_XTRACEFD=9 bash -x "$UPSTREAM" > /tmp/netns.out 2>&1 9> $trace || status=$?
	echo "$(grep -c '\[+\]' /tmp/netns.out) steps"
	echo "$(grep -c '\[+\]' /tmp/netns.out)" > /tmp/netns.steps
	if ((status)); then
		echo "it exited with status $status; the last sections and steps:"
		# What a section is called is a comment in the script: the last ones before the line that failed.
		local line
		line=$(sed '/^+*[0-9]*: cleanup$/,$d' $trace | sed -n 's/^+\([0-9]*\): .*/\1/p' | tail -n 1)
		head -n "${line:-0}" "$UPSTREAM" | grep -n '^# ' | tail -n 1
		echo "line $line: $(sed -n "${line:-1}p" "$UPSTREAM")"
		sed '/^+*[0-9]*: cleanup$/,$d' $trace | tail -n 40 | cut -c 1-200
		return 1
	fi
	grep -q 'Objects that were created were also destroyed' /tmp/netns.out
}

t objects 'its last check saw the objects that came and went'
objects() {
	local param=/sys/module/wireguard/parameters/debug
	if [[ ! -e $param ]] && ! grep -qs '\[wireguard\]' /sys/kernel/debug/dynamic_debug/control; then
		skip 'this module has no debug messages'
	fi
	dmesg | grep -cE 'wg[0-9]+: (Interface|Peer [0-9]+|Keypair [0-9]+) (created|destroyed)' > /tmp/objects || true
	cat /tmp/objects
	(($(< /tmp/objects) > 100))
}

run "$@"
