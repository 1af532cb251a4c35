# SPDX-License-Identifier: GPL-2.0
#
# Functions to watch an interface with: its log, its keypairs, its sockets and its messages. Sourced
# after lib.sh, never run.

# debug_log: turns on all messages of the module, and marks the place in the log from which `logged`
# reads.
debug_log() {
	module_debug
	sysctl -q net.core.message_cost=0
	LOG_MARK="test-mark-$EPOCHREALTIME"
	echo "<7>$LOG_MARK" > /dev/kmsg
}
log() { dmesg | sed "1,/$LOG_MARK/d"; }
# logged EXPRESSION: how many lines match.
logged() { log | grep -Ec "$1" || true; }
# keypairs created|destroyed: how many.
keypairs() { logged "Keypair [0-9]+ $1 for peer"; }

# counters NAMESPACE: begins to count the messages that it sends to $PORT.
# sent NAMESPACE [1]: how many messages, or initiations, that was.
counters() {
	ns $1 nft "add table inet c; add chain inet c o { type filter hook output priority -10; }
		add rule inet c o udp dport $PORT counter comment \"all\"
		add rule inet c o udp dport $PORT @th,64,8 1 counter comment \"type1\""
}
sent() {
	ns $1 nft list chain inet c o |
		sed -n "s/.*counter packets \([0-9]*\) .*comment \"${2:+type}${2:-all}\".*/\1/p"
}
# sockets NAMESPACE [FILTER]: how many UDP sockets there are.
sockets() { ns $1 ss -Hlnu "${@:2}" | wc -l; }
# rise NAMESPACE a|b: sets the addresses of that side's wg0, and wg0 up. After a move nothing else
# is needed.
rise() {
	ipn $1 addr replace 10.8.0.${NUM[$2]}/24 dev wg0
	ipn $1 addr replace fd08::${NUM[$2]}/64 dev wg0
	ipn $1 link set wg0 up
}
# destroyed NAME [COUNT]: waits until COUNT interfaces (default: 1) of that name have been destroyed
# completely.
destroyed() {
	wait_for "$1 is destroyed" eval "((\$(logged ' $1: Interface destroyed') == ${2:-1}))"
}

# hold NAMESPACE 4|6 PORT…: starts a process, $HOLD, that takes the ports in one family. It ends
# with the namespace, or by `release`.
hold() {
	bg $1 python3 -c '
import socket, sys, time
family = {"4": socket.AF_INET, "6": socket.AF_INET6}[sys.argv[1]]
held = [socket.socket(family, socket.SOCK_DGRAM) for _ in sys.argv[2:]]
for sock, port in zip(held, sys.argv[2:]):
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("", int(port)))
time.sleep(1000)' "${@:2}"; HOLD=$BG
	wait_for 'the ports are held' eval '(($(sockets '$1' "sport = '${*: -1}'") > 0))'
}
# release: gives the ports up.
release() { kill $HOLD; wait $HOLD || true; }
