# SPDX-License-Identifier: GPL-2.0
"""What the interface wg0 counts in this namespace, and what tracers see of it."""

import re
import socket
import struct

from wgtest import tracing, wgnl
from wgtest.extension import EVENTS, EXT, GET, PEER
from wgtest.machine import until
from wgtest.wgnl import attr


def counts_of(data):
    return {EVENTS[number]: struct.unpack("=I", value)[0] for number, value in wgnl.parse(data)}


def counts():
    """What is counted now: of the interface under None, of each peer under its key."""
    found = {}
    for _, message in wgnl.Socket("wireguard_ext").dump(GET, attr(EXT["ifname"], "wg0")):
        for number, value in wgnl.parse(message):
            if number == EXT["counts"]:
                found[None] = counts_of(value)
            elif number == EXT["peer"]:
                attrs = dict(wgnl.parse(value))
                found[attrs[PEER["public-key"]]] = counts_of(attrs[PEER["counts"]])
    return found


# What wg0 does of its own accord after a while.
OF_TIMERS = {"keepalive-sent", "handshake-begun"}


def changes(before, wanted):
    """What was counted since, as {key: {event: number}}. Events of timers only if `wanted`."""
    after, found = counts(), {}
    for key, events in after.items():
        more = {name: number - before.get(key, {}).get(name, 0) for name, number in events.items()}
        more = {name: number for name, number in more.items()
                if number and name not in OF_TIMERS - set(wanted)}
        if more:
            found[key] = more
    return found


class Trace(tracing.Trace):
    """What tracers see of the module."""

    def __init__(self):
        super().__init__("wireguard", "skb/kfree_skb")

    def read(self):
        """The events since the last clear(), as (name, fields)."""
        found = []
        for line in self.text().splitlines():
            match = re.search(r" (wg_\w+): (.*)$", line)
            if match:
                found.append((match[1], dict(word.split("=", 1) for word in match[2].split())))
        return found

    def freed(self):
        """The reasons for which the module has dropped packets, by the core's names."""
        return re.findall(r"kfree_skb: .* \[wireguard\] reason: (\w+)$", self.text(), re.M)

    def losses(self):
        """What was refused or dropped, as (kind, reason, count)."""
        return [(name, fields["reason"], int(fields["count"])) for name, fields in self.read()
                if "reason" in fields]


# What is traced when it is counted.
REFUSED = {"initiation-not-authentic", "initiation-old-timestamp", "initiation-too-soon",
           "response-not-authentic", "response-not-awaited", "wrong-mac1", "unknown-key",
           "initiation-unreadable", "response-unknown", "cookie-sent", "rate-limited",
           "handshake-queue-full"}
DROPPED = {"no-endpoint", "no-route", "send-failed", "rx-expired", "rx-replayed",
           "rx-not-authentic", "rx-wrong-source", "rx-malformed", "rx-queue-full", "tx-no-key",
           "tx-queue-full", "no-memory", "datagram-malformed", "unknown-index",
           "arrival-queue-full", "tx-no-peer", "tx-not-ip"}


# The core's reasons for these; those of the others are DEV_HDR.
CORE = {"no-endpoint": "NO_TX_TARGET", "tx-no-peer": "NO_TX_TARGET",
        "rx-wrong-source": "IP_RPFILTER", "rx-malformed": "IP_INHDR",
        "datagram-malformed": "UNHANDLED_PROTO"}


class Counted:
    """Checks what an action counts."""

    def __init__(self, far):
        self.far = far

    def __call__(self, title, action, device=None, **mine):
        before = counts()
        action()
        mine = {name.replace("_", "-"): number for name, number in mine.items()}
        want = ({None: {device: 1}} if device else {}) | ({self.far.public: mine} if mine else {})
        try:
            until(title, lambda: changes(before, mine) == want)
        except AssertionError:
            print(f"{title}: {changes(before, mine)}, should be {want}")
            raise
        print(f"{title}: {device or mine}")


class Traced(Counted):
    """Checks what an action counts, and what a tracer sees of it."""

    def __init__(self, far):
        super().__init__(far)
        self.trace = Trace()

    def __call__(self, title, action, device=None, **mine):
        self.trace.clear()
        super().__call__(title, action, device, **mine)
        want, freed = [], []
        for name in [device, *(name.replace("_", "-") for name in mine)]:
            if name in REFUSED | DROPPED:
                want.append(("wg_handshake_refused" if name in REFUSED else "wg_packet_dropped",
                             name, 1))
                freed.append(CORE.get(name, "DEV_HDR"))
        # What is taken is not dropped.
        until(f"the core's reasons are {freed}", lambda: self.trace.freed() == freed)
        assert self.trace.losses() == want, (title, self.trace.read(), want)
        for name, fields in self.trace.read():
            assert fields["interface"] == "wg0", (name, fields)
            assert int(fields["ifindex"]) == socket.if_nametoindex("wg0"), (name, fields)
            if "reason" in fields:
                assert (fields["peer"] == "0") == (device is not None), (name, fields)
