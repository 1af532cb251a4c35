# SPDX-License-Identifier: GPL-2.0
"""wg0 with an honest peer, bystanders and an attacker, and the state that they must be in."""

import random
import socket
import struct
import time

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wgtest import wgnl
from wgtest.hostile_inner import ALLOWED4, ALLOWED6, FRAME, LENGTH, OK, verdict
from wgtest.loopback import OURS, STATISTICS, at, key_of, new_peer, statistics, wg
from wgtest.machine import until
from wgtest.peer import DATA, INITIATION, LENGTHS, RESPONSE, UDP_SEGMENT

# Bytes of a keepalive.
KEEPALIVE = 32


class Scene:
    """wg0, its peers, and the state that they must be in. check() accepts no other.

    One peer is honest and has a tunnel. Thirty bystanders do nothing. One is the attacker (`far`).
    The usher sends after the attacker: when wg0 has taken the usher's messages, it has read all
    that were sent before them.
    """

    def __init__(self, key, part):
        self.part = part
        self.sent, self.start = 0, time.monotonic()
        self.random = random.Random(4)
        self.netlink = wgnl.Socket()
        self.honest = wg("show", "wg0", "peers").split()
        words = []
        for number in range(30):
            words += ["peer", f"Bystander{number:02}".ljust(42, "A") + "E=",
                      "allowed-ips", f"10.66.{number}.0/24",
                      "endpoint", f"127.0.0.9:{1 + number}"]
        wg("set", "wg0", *words)
        self.far = new_peer(key, ALLOWED4 + "/32", ALLOWED6 + "/128")
        self.far.sock.connect(OURS)
        self.eve = self.far.new_socket()
        self.eve.connect(OURS)
        self.usher = new_peer(key, "10.8.0.67/32")
        self.quiet = True
        self.before = self.dump()
        self.errors, self.others = self.error_counts(), self.other_counts()
        self.endpoint, self.received, self.handshake = "(none)", 0, "0"

    def dump(self):
        lines = [line.split("\t") for line in wg("show", "all", "dump").splitlines()]
        return {line[1]: line for line in lines}

    def error_counts(self):
        return {name: int(open(STATISTICS + name).read()) for name in ("rx_errors", LENGTH, FRAME)}

    @staticmethod
    def other_counts():
        counted = "rx_packets", "rx_bytes", "rx_errors", LENGTH, FRAME
        return {name: count for name, count in statistics().items()
                if name.startswith("rx_") and name not in counted}

    def received_from(self, far):
        """Bytes received from a peer, according to netlink."""
        for _, message in self.netlink.dump(wgnl.GET_DEVICE, wgnl.attr(wgnl.A_IFNAME, "wg0")):
            for kind, peers in wgnl.parse(message):
                for _, peer in wgnl.parse(peers) if kind == wgnl.A_PEERS else ():
                    attributes = dict(wgnl.parse(peer))
                    if attributes[wgnl.P_PUBLIC_KEY] == far.public and \
                            wgnl.P_RX_BYTES in attributes:
                        return struct.unpack("=Q", attributes[wgnl.P_RX_BYTES])[0]

    # Sending.

    def send(self, message, sock=None):
        (sock or self.far.sock).send(message)
        self.sent += 1

    def burst(self, messages, sock=None):
        """Sends messages: those of one size as one aggregate, which the kernel segments late."""
        sock, first = sock or self.far.sock, 0
        while first < len(messages):
            size, end = len(messages[first]), first + 1
            most = min(64, 65507 // max(size, 1))
            while end < len(messages) and end - first < most and \
                    len(messages[end - 1]) == size and 0 < len(messages[end]) <= size:
                end += 1
            if end - first == 1 or size > 1452:
                sock.send(messages[first])
                end = first + 1
            else:
                sock.sendmsg([b"".join(messages[first:end])],
                             [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))])
            first = end
        self.sent += len(messages)

    def some(self, sequence):
        """A random choice of a sequence, in its order: the part of it that is to be sent."""
        sequence = list(sequence)
        return sequence if self.part == 1 else sorted(self.random.sample(
            sequence, max(1, int(len(sequence) * self.part))))

    def many(self, count):
        return range(max(1, int(count * self.part)))

    # Checking.

    def usher_in(self):
        before = self.received_from(self.usher)
        self.usher.connect()
        until("the usher to be in",
              lambda: self.received_from(self.usher) >= before + LENGTHS[INITIATION] + KEEPALIVE)

    def counted(self, what):
        """Waits until the counters are exactly as expected."""
        try:
            until(what, lambda: self.seen() == (self.received, self.errors))
        except AssertionError:
            print(f"{what}: should be {self.received} {self.errors}\n  and is {self.seen()}")
            raise

    def check(self, what):
        """Checks that everything is as expected, and nothing else has changed."""
        self.usher_in()
        self.counted(what)
        assert self.other_counts() == self.others, (what, self.others, self.other_counts())
        until("data of the honest peer", lambda: all(
            int(self.before[key][6]) < int(line[6])
            for key, line in self.dump().items() if key in self.honest))
        now = self.dump()
        assert now.keys() == self.before.keys(), now.keys() ^ self.before.keys()
        for key, before in self.before.items():
            after = now[key]
            if key in self.honest:
                # The honest peer's traffic has gone on, perhaps with new handshakes.
                assert before[:5] + before[8:] == after[:5] + after[8:], (what, before, after)
                assert all(int(a) <= int(b) for a, b in zip(before[5:8], after[5:8])), \
                    (what, before, after)
            elif key == key_of(self.far):
                want = [*before[:3], self.endpoint, before[4], self.handshake, str(self.received),
                        before[7] if self.quiet else after[7], before[8]]
                assert want == after, (what, want, after)
            elif key != key_of(self.usher):
                assert before == after, (what, before, after)
        print(f"{what}: after {self.sent} messages and {time.monotonic() - self.start:.1f} s "
              "everything is as it must be", flush=True)

    def session(self):
        """Makes a session of the attacker, as initiator. First waits until wg0 is not under load
        any more, or it would answer with a cookie."""
        if self.quiet:
            self.usher_in()
            time.sleep(1.5)
        self.quiet = False
        self.read_all()
        self.far.send(self.far.initiation())
        session = self.far.consume_response(self.far.receive(RESPONSE, timeout=60))
        self.far.send(session.seal())
        self.begun(LENGTHS[INITIATION] + KEEPALIVE)
        return Sealer(session, 1)

    def still(self, seal):
        """The same session, or another one after 60 s: wg0 does not keep keys for ever."""
        return seal if time.monotonic() < seal.begun + 60 else self.session()

    def read_all(self):
        """Empties the attacker's socket buffer, so that there is room for an answer."""
        self.far.sock.setblocking(False)
        try:
            while True:
                self.far.sock.recv(70000)
        except BlockingIOError:
            pass

    def begun(self, size):
        """Notes that a session has begun with `size` bytes of messages, and has moved the
        endpoint."""
        self.received += size
        self.counted("the session")
        self.endpoint, self.handshake = at(self.far), self.dump()[key_of(self.far)][5]

    def seen(self):
        return self.received_from(self.far), self.error_counts()

    def accepted(self, plain):
        """Notes how wg0 must count an authentic message with `plain` inside."""
        kind = verdict(plain)
        if kind == OK:
            self.received += KEEPALIVE + len(plain)
        else:
            for name in "rx_errors", kind:
                self.errors[name] += 1


class Sealer:
    """Encrypts for a session, with one cipher object for all messages."""

    def __init__(self, session, counter):
        self.begun = time.monotonic()
        self.cipher, self.head, self.counter = (
            ChaCha20Poly1305(session.sending), struct.pack("<II", DATA, session.remote), counter)

    def __call__(self, plain=b"", counter=None):
        if counter is None:
            counter = self.counter
            self.counter += 1
        number = struct.pack("<Q", counter)
        return self.head + number + self.cipher.encrypt(bytes(4) + number, plain, None)
