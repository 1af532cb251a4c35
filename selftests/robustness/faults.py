# SPDX-License-Identifier: GPL-2.0
"""Makes the surroundings of a tunnel fail, and checks what the tunnel carries meanwhile and
afterwards.

faults.py NAME        runs the function NAME below; the tunnel is the one of pair() in lib.sh. This
                      program is in neither of its namespaces
"""

import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time

from wgtest.machine import NoWorkers, until
from wgtest.peer import DATA
from wgtest.tunnel import INNER, OTHER, PORT, Flow, Stream, inside, ip, ns, ping, run, works
from wgtest.wire import SO_RCVBUFFORCE

RUST = os.environ["WG_MODULE"] == "rust"


def statistic(name, counter):
    return int(ns(name, "cat", "/sys/class/net/wg0/statistics/" + counter))


def streams():
    return [Stream("a", 4), Stream("b", 4), Stream("a", 6), Stream("b", 6)]


def flows(**options):
    return [Flow("a", 4, **options), Flow("b", 6, **options)]


def go_on(group):
    for one in group:
        one.goes_on()


def end(group):
    return sum(one.end() for one in group)


def cpu(number, online):
    path = f"/sys/devices/system/cpu/cpu{number}/online"
    with open(path, "w") as file:
        file.write(str(online))
    with open(path) as file:
        assert file.read().strip() == str(online)


def hotplug():
    """Packets in the queues of a CPU that goes offline are not lost, and nothing waits for that
    CPU."""
    works()
    both = flows()
    stop = threading.Event()
    toggled = 0

    def send():
        while not stop.is_set():
            for flow in both:
                flow.send(20)
            # Never more than the queues hold.
            until("the last ones arrive",
                  lambda: all(flow.sent - flow.arrived() < 200 for flow in both))

    thread = threading.Thread(target=send)
    thread.start()
    for _ in range(5):
        for online in (0, 1):
            cpu(1, online)
            toggled += 1
            before = [flow.sent for flow in both]
            until("the traffic flows", lambda: not thread.is_alive() or all(
                flow.sent >= count + 100 for flow, count in zip(both, before)))
    stop.set()
    thread.join()
    for flow in both:
        flow.complete()
        flow.close()
    print(f"NOTE: {sum(flow.sent for flow in both)} datagrams while a CPU came and went "
          f"{toggled} times")

    group = streams()
    for _ in range(3):
        for online in (0, 1):
            cpu(1, online)
            go_on(group)
    print(f"NOTE: {end(group)} bytes by TCP likewise")
    works()
    # Interfaces that go up with one CPU work with two, too.
    cpu(1, 0)
    for name in "ab":
        ip(name, "link", "set", "wg0", "down")
        ip(name, "link", "set", "wg0", "up")
        ip(name, "addr", "replace", INNER[name][1] + "/64", "dev", "wg0")
    works()
    cpu(1, 1)
    works()


def outside():
    """Begins to count the datagrams that `a` sends outside, and those that come to `b`."""
    for name, hook, priority, direction in (("a", "output", -10, "sent"),
                                            ("b", "prerouting", -310, "came")):
        ns(name, "nft", f"add table inet {direction}; "
           f"add chain inet {direction} c {{ type filter hook {hook} priority {priority}; }}; "
           f"add rule inet {direction} c udp dport {PORT} counter")


def counted(name, direction):
    return int(re.search(
        r"packets (\d+)", ns(name, "nft", "list", "chain", "inet", direction, "c"))[1])


def udp_counter(name, counter):
    """A counter of UDP over IPv4, for the whole namespace."""
    names, values = (line.split() for line in ns(name, "cat", "/proc/net/snmp").splitlines()
                     if line.startswith("Udp: "))
    return int(values[names.index(counter)])


def netem(*words):
    """Makes both directions of the link outside behave like `words`; without any, perfectly."""
    for name in "ab":
        ns(name, "tc", "qdisc", "del", "dev", "eth0", "root", check=False)
        if words:
            ns(name, "tc", "qdisc", "add", "dev", "eth0",
               "root", "netem", "limit", "100000", *words)


MODES = {
    "loss": "loss 4%",
    "reordering": "delay 10ms reorder 40% 50%",
    "duplication": "duplicate 30%",
    "corruption": "corrupt 4%",
    "all": "delay 5ms 4ms loss 2% duplicate 10% corrupt 2% reorder 20% 50%",
}


def both_ways(least):
    """Runs a stream and sends 300 packets from each side; each stream goes on for at least `least`
    bytes. Returns the bytes that the streams carried, and the flows of packets, some of which may
    still be on their way."""
    group = [Stream("a", 4), Stream("b", 6)]
    both = flows(size=300)
    for _ in range(20):
        for flow in both:
            flow.send(15)
            flow.arrived()
        time.sleep(0.02)
    for one in group:
        one.goes_on(least)
    return end(group), both


def lossy():
    """Whatever the link does, data arrive unchanged, and each packet at most once."""
    works()
    outside()
    for mode, words in MODES.items():
        netem(*words.split())
        came, sent = counted("b", "came"), counted("a", "sent")
        wrong = sum(udp_counter(name, "InCsumErrors") for name in "ab")
        total, both = both_ways(400_000)
        if mode in ("reordering", "duplication"):
            for flow in both:
                flow.complete()
        counts = [flow.arrived() for flow in both]
        if mode == "reordering":
            late = sum(sorted(flow.got) != flow.got for flow in both)
            assert late, "nothing was reordered"
        came, sent = counted("b", "came") - came, counted("a", "sent") - sent
        if mode == "duplication":
            assert came > sent, "nothing was duplicated"
        # UDP outside counts and drops corrupted datagrams.
        wrong = sum(udp_counter(name, "InCsumErrors") for name in "ab") - wrong
        assert (wrong > 0) == ("corrupt" in words), wrong
        assert all(count >= 150 for count in counts), counts
        print(f"NOTE: {mode}: {total} bytes by TCP; {counts} of 300 datagrams each way; outside "
              f"{came} came of {sent}, {wrong} both ways with wrong checksums")
        for flow in both:
            flow.close()
    # Without outer checksums, corrupted datagrams get as far as the tunnel, which never takes one.
    for name in "ab":
        ns(name, "nft",
           "add table inet t; add chain inet t p { type filter hook prerouting priority -300; }; "
           f"add rule inet t p udp dport {PORT} udp checksum set 0")
    netem("corrupt", "10%")
    came = counted("b", "came")
    wrong = sum(udp_counter(name, "InCsumErrors") for name in "ab")
    endpoint = ns("b", "wg", "show", "wg0", "endpoints")
    total, both = both_ways(300_000)
    for flow in both:
        assert 150 <= flow.arrived() < flow.sent, flow.arrived()
        flow.close()
    netem()
    works()
    # Only datagrams that were corrupted to another port are still caught by UDP.
    came, wrong = (counted("b", "came") - came,
                   sum(udp_counter(name, "InCsumErrors") for name in "ab") - wrong)
    assert wrong <= came / 50, (wrong, came)
    for name in "ab":
        for counter in ("rx_errors", "rx_length_errors", "rx_frame_errors"):
            assert statistic(name, counter) == 0, (name, counter)
    assert endpoint == ns("b", "wg", "show", "wg0", "endpoints")
    print(f"NOTE: corruption without checksums: {total} bytes by TCP")


class Clock:
    """Sets the time of day, and sets it right in the end."""

    def __enter__(self):
        self.real, self.begun = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        return self

    def now(self):
        return self.real + time.clock_gettime(time.CLOCK_BOOTTIME) - self.begun

    def ahead(self, seconds):
        """Sets the time of day to `seconds` after the true one."""
        time.clock_settime(time.CLOCK_REALTIME, self.now() + seconds)

    def year(self, year):
        """Sets the time of day to the beginning of a year and an hour, plus the uptime: so it is
        never before the machine began to run."""
        time.clock_settime(
            time.CLOCK_REALTIME,
            (year - 1970) * 31556952 + 3600 + time.clock_gettime(time.CLOCK_BOOTTIME))

    def __exit__(self, *_):
        self.ahead(0)


HOUR, YEAR = 3600, 31556952


def initiations(name):
    """The number of initiations that this side has sent since counter()."""
    return int(re.search(r"packets (\d+)", ns(name, "nft", "list", "chain", "inet", "c", "o"))[1])


def counter(name):
    """Begins to count the initiations that this side sends."""
    ns(name, "nft",
       "add table inet c; add chain inet c o { type filter hook output priority -10; }; "
       f"add rule inet c o udp dport {PORT} @th,64,8 1 counter")


def new_session(name):
    """Makes this side forget its session, so that its next packet begins another one."""
    ip(name, "link", "set", "wg0", "down")
    ip(name, "link", "set", "wg0", "up")
    ip(name, "addr", "replace", INNER[name][1] + "/64", "dev", "wg0")


def clocks():
    """A session does not depend on the time of day. A new one is made only if the time of the
    initiator is after the last one that the responder has seen of it."""
    works()
    counter("a")
    counter("b")
    with Clock() as clock:
        group = [Stream("a", 4), Stream("b", 6)]
        both = flows()
        go_on(group)
        before = initiations("a") + initiations("b")
        begun = time.monotonic()
        for jump in (HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 100 * YEAR, -1):
            clock.ahead(jump)
            go_on(group)
            for flow in both:
                flow.carries()
        clock.year(1970)
        go_on(group)
        clock.ahead(0)
        end(group)
        for flow in both:
            flow.carries()
            flow.close()
        if time.monotonic() - begun < 60:
            assert before == initiations("a") + initiations("b"), \
                "the time of day has ended a session"

        # Later, then earlier: no initiation of the past is taken, even if the other side was down
        # in the meantime.
        clock.ahead(HOUR)
        new_session("a")
        assert ping("a", "10.8.0.2")
        clock.ahead(0)
        new_session("a")
        assert not ping("a", "10.8.0.2", 3)
        new_session("b")
        new_session("a")
        assert not ping("a", "10.8.0.2", 3)
        # In the other direction, the responder has seen no time of the future yet.
        new_session("a")
        new_session("b")
        assert ping("b", "10.8.0.1")
        assert ping("a", "10.8.0.2")
        # When that time has come, sessions can be made again.
        clock.ahead(HOUR + 60)
        new_session("a")
        assert ping("a", "10.8.0.2")
        clock.ahead(0)
        # A peer that is removed and added again has seen no time at all.
        new_session("a")
        assert not ping("a", "10.8.0.2", 3)
        key, endpoint = ns("b", "wg", "show", "wg0", "endpoints").split()
        ns("b", "wg", "set", "wg0", "peer", key, "remove")
        ns("b", "wg", "set", "wg0", "peer", key, "endpoint",
           endpoint, "allowed-ips", "10.8.0.1/32,fd08::1/128")
        new_session("a")
        assert ping("a", "10.8.0.2")

        # The time of day does not affect the timer that repeats an initiation.
        ns("b", "nft",
           "add table inet t; add chain inet t i { type filter hook input priority 0; }; "
           f"add rule inet t i udp dport {PORT} drop")
        new_session("a")
        before = initiations("a")
        flow = Flow("a")
        flow.send(1)
        until("an initiation is sent", lambda: initiations("a") == before + 1)
        begun = time.monotonic()
        clock.ahead(10 * YEAR)
        ns("b", "nft", "delete table inet t")
        until("another one is sent", lambda: initiations("a") == before + 2)
        assert time.monotonic() - begun > 3, "it was sent too early"
        flow.complete()
        flow.close()
        # Sessions are made in every year that the kernel knows, and shown with the time of day.
        for year in (2038, 2106, 2200):
            clock.year(year)
            new_session("a")
            assert ping("a", "10.8.0.2")
            shown = int(ns("a", "wg", "show", "wg0", "latest-handshakes").split()[1])
            assert abs(shown - time.time()) < 100, (shown, time.time())
    # Both sides have seen the future, so they would refuse initiations of the present: make the
    # peers anew.
    for name in "ab":
        key, endpoint = ns(name, "wg", "show", "wg0", "endpoints").split()
        ns(name, "wg", "set", "wg0", "peer", key, "remove")
        addresses = ",".join(f"{address}/{32 if ':' not in address else 128}"
                             for address in INNER[OTHER[name]])
        ns(name, "wg", "set", "wg0", "peer", key, "endpoint", endpoint, "allowed-ips", addresses)
    works()


def queues():
    """A packet that finds a queue full is dropped and counted there, and all others arrive."""
    works()
    # The workers do not get to run: up to 1024 packets wait for them, on the way out.
    flow = Flow("a", size=100)
    flow.carries()
    dropped, before = statistic("a", "tx_dropped"), flow.sent
    with NoWorkers():
        flow.send(3000)
    flow.passes()
    flow.carries()
    sent, arrived, dropped = (flow.sent - before, flow.arrived() - before,
                              statistic("a", "tx_dropped") - dropped)
    print(f"NOTE: no workers: {arrived} of {sent} arrived, {dropped} were counted")
    # The first packets arrive: later ones find no room. They are counted, which the C module does
    # not do.
    assert 900 <= arrived < sent, (arrived, sent)
    assert flow.got[before:before + 900] == list(range(before, before + 900))
    assert dropped == (sent - arrived if RUST else 0), dropped
    works()
    flow.close()

    # Nor do the NAPIs of `b`: up to 1024 messages wait for that of a CPU. The C module looks for
    # the session first, and there is none.
    threaded = "echo %d > /sys/class/net/wg0/threaded"
    before = statistic("b", "rx_dropped")
    with inside("a"):
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ns("b", "sh", "-c", threaded % 1)
    with NoWorkers():
        for _ in range(3000):
            stranger.sendto(struct.pack("<IIQ16x", DATA, 0, 0), ("10.9.0.2", PORT))
    ns("b", "sh", "-c", threaded % 0)
    dropped = statistic("b", "rx_dropped") - before
    assert dropped == (3000 - 1024 if RUST else 0), dropped
    stranger.close()
    works()

    # More arrives together than a peer may have waiting.
    flow = Flow("a", size=100)
    flow.carries()
    before, unsent, full = flow.sent, statistic("a", "tx_dropped"), statistic("b", "rx_dropped")
    ns("a", "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "limit", "100000", "slot", "1s")
    for _ in range(40):
        flow.send_joined(60)
    until("all are on their way",
          lambda: " 0b 0p " in ns("a", "tc", "-s", "qdisc", "show", "dev", "eth0"))
    ns("a", "tc", "qdisc", "del", "dev", "eth0", "root")
    flow.carries()
    missing = flow.sent - flow.arrived()
    unsent = statistic("a", "tx_dropped") - unsent
    full = statistic("b", "rx_dropped") - full
    print(f"NOTE: a burst: {missing} of {flow.sent - before} did not arrive, {unsent} were counted "
          f"as not sent, {full} as not received")
    # The C module does not count them, if it loses any.
    assert missing == unsent + full > unsent if RUST else full == 0
    flow.close()

    # A queueing discipline of the interface's own.
    flow = Flow("a", size=1000)
    ns("a", "tc", "qdisc", "add", "dev", "wg0", "root",
       "tbf", "rate", "400kbit", "burst", "3000", "limit", "4000")
    flow.send(500)

    def lost(device):
        return int(re.search(
            r"dropped (\d+)", ns("a", "tc", "-s", "qdisc", "show", "dev", device))[1])

    until("all are accounted for", lambda: flow.arrived() + lost("wg0") == 500)
    print(f"NOTE: tbf inside: {flow.arrived()} of 500 arrived, {lost('wg0')} were dropped by the "
          "discipline")
    assert lost("wg0") and flow.got == sorted(flow.got)
    ns("a", "tc", "qdisc", "del", "dev", "wg0", "root")
    flow.carries()
    flow.close()

    # A queueing discipline outside: packets that are dropped there are counted inside.
    flow = Flow("a", size=1000)
    flow.carries()
    counted = statistic("a", "tx_dropped")
    ns("a", "tc", "qdisc", "add", "dev", "eth0", "root",
       "tbf", "rate", "1mbit", "burst", "3000", "limit", "5000")
    flow.send(500)
    flow.passes()
    dropped, outside = statistic("a", "tx_dropped") - counted, lost("eth0")
    # A TCP stream goes on under these conditions.
    stream = Stream("a")
    stream.goes_on()
    stream.end()
    ns("a", "tc", "qdisc", "del", "dev", "eth0", "root")
    # When these have arrived, so have all that the discipline let through.
    flow.carries()
    missing = flow.sent - flow.arrived()
    print(f"NOTE: tbf outside: {missing} of {flow.sent} did not arrive, {dropped} were counted "
          f"inside, {outside} outside")
    # When the discipline splits an aggregate, it does not report the loss of single datagrams.
    # Keepalives and neighbour discovery may be among the datagrams that it dropped.
    assert 0 < dropped and 0 < outside and 0 < missing
    assert dropped <= missing + 5 if RUST else missing <= dropped <= outside
    flow.close()

    # A receiver that does not read: the socket's buffer is full, not the tunnel.
    flow = Flow("a", size=1000)
    flow.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 20000)
    before, full = statistic("b", "rx_packets"), udp_counter("b", "RcvbufErrors")
    for _ in range(10):
        flow.send(50)
        until("they have been received", lambda: statistic("b", "rx_packets") >= before + flow.sent)
    full = udp_counter("b", "RcvbufErrors") - full
    print(f"NOTE: a full socket: {flow.arrived()} of 500 arrived, {full} found no room")
    assert full > 0 and flow.arrived() + full == 500
    flow.carries(5)
    flow.close()
    works()


def links():
    """Streams go on whatever happens to addresses, links and routes outside."""
    # `b` is also behind a second link, and has an address of its own, to which `a` has one default
    # route at a time.
    run("ip", "link", "add", "eth1", "netns", "wgt-a",
        "type", "veth", "peer", "name", "eth1", "netns", "wgt-b")
    for name, number in (("a", 1), ("b", 2)):
        ip(name, "addr", "add", f"10.10.0.{number}/24", "dev", "eth1")
        ip(name, "link", "set", "eth1", "up")
    ip("b", "addr", "add", "192.0.2.2/32", "dev", "lo")
    ip("a", "route", "replace", "default", "via", "10.9.0.2")
    key = ns("a", "wg", "show", "wg0", "peers").strip()
    ns("a", "wg", "set", "wg0", "peer", key, "endpoint", f"192.0.2.2:{PORT}")
    works()
    group = streams()

    def endpoint():
        return ns("b", "wg", "show", "wg0", "endpoints").split()[1]

    first, second = (("a", "route", "replace", "default", "via", router)
                     for router in ("10.9.0.2", "10.10.0.2"))
    for title, *changes in (
            ("the link of a down", ("a", "link", "set", "eth0", "down")),
            ("and up", ("a", "link", "set", "eth0", "up"), first),
            ("the link of b down", ("b", "link", "set", "eth0", "down")),
            ("and up", ("b", "link", "set", "eth0", "up"), first),
            ("an address away", ("a", "addr", "del", "10.9.0.1/24", "dev", "eth0")),
            ("and there again", ("a", "addr", "add", "10.9.0.1/24", "dev", "eth0"), first),
            ("another default route", second),
            ("the first link down", ("a", "link", "set", "eth0", "down")),
            ("and up, the first default route", ("a", "link", "set", "eth0", "up"), first),
            ("a smaller MTU",
             *((name, "link", "set", "eth0", "mtu", "1400") for name in "ba"), first),
            ("and the usual one",
             *((name, "link", "set", "eth0", "mtu", "1500") for name in "ab"), first),
            ("no neighbours", ("a", "neigh", "flush", "all"), first),
            ("an unreachable default route", ("a", "route", "del", "default"),
             ("a", "route", "add", "unreachable", "default", "metric", "9")),
            ("a default route", first)):
        begun = time.monotonic()
        for change in changes:
            ip(*change)
        if changes[-1] in (first, second):
            go_on(group)
        else:
            time.sleep(0.3)  # the tunnel is cut off; the next change mends it
        if changes[-1] == second:
            until("b follows", lambda: endpoint().startswith("10.10."))
        print(f"{title}: {time.monotonic() - begun:.1f} s")
    until("b follows", lambda: endpoint() == f"10.9.0.1:{PORT}")
    print(f"NOTE: {end(group)} bytes by TCP meanwhile")
    works()


def asleep():
    """Before the machine sleeps the keys are forgotten; afterwards the traffic makes new ones."""
    run("modprobe", "pm-notifier-error-inject", "priority=-1")
    error = "/sys/kernel/debug/notifier-error-inject/pm/actions/PM_SUSPEND_PREPARE/error"
    works()
    group = streams()
    both = flows()
    counter("a")
    counter("b")
    for _ in range(2):
        go_on(group)
        before = initiations("a") + initiations("b")
        with open(error, "w") as file:
            file.write("-22")
        # A notifier that is called after the module's refuses the sleep.
        assert subprocess.run(["sh", "-c", "echo freeze > /sys/power/state"],
                              stderr=subprocess.DEVNULL).returncode
        with open(error, "w") as file:
            file.write("0")
        go_on(group)
        assert initiations("a") + initiations("b") > before, "no new session was made"
        for flow in both:
            flow.carries()
    print(f"NOTE: {end(group)} bytes by TCP meanwhile")
    works()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
