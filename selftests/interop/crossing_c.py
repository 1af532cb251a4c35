# SPDX-License-Identifier: GPL-2.0
"""Initiations that cross, with the C module in another guest at the other end.

crossing_c.py far
    is the other end, in the guest of the C module: it does what it is told at the port COMMANDS

crossing_c.py near CARD OUTER FAR-OUTER FAR-CONTROL DELAY
    lets both ends begin within 50 ms of each other, again and again, with new keys each time, over
    a link of DELAY ms one way. CARD is the network card, OUTER and FAR-OUTER are the addresses of
    the tunnel, and FAR-CONTROL is another address of the far end

The clocks follow the machine's time, so no time is checked, but the order of messages: when both
initiations were sent before either arrived, no end needs another one.
"""

import base64
import os
import select
import socket
import struct
import subprocess
import sys
import time

from wgtest import peer
from wgtest.peer import DATA, INITIATION, RESPONSE

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
COMMANDS = 18
PORT, NEAR, FAR = 51820, "10.8.0.1", "10.8.0.2"
# Rounds that are wanted with either key as the greater one, and most rounds to get them in.
WANTED, MOST = 4, 40
# Of this many crossings, one may cost a handshake: the machine may stop a guest for 5 s.
FAIR = 8
# Seconds after which an answer is given up: those of several handshakes.
PATIENCE = 120


def configure(private, old, public, endpoint):
    """Gives wg0 of this guest a new private key, and a new peer in place of the last one."""
    words = ["wg", "set", "wg0", "private-key", "/proc/self/fd/0"]
    if old:
        words += ["peer", old, "remove"]
    words += ["peer", public, "allowed-ips", "10.8.0.0/24", "endpoint", endpoint]
    subprocess.run(words, input=private, check=True, text=True)


def far():
    """Commands are `key PRIVATE PUBLIC ENDPOINT`, to configure wg0, and `go TEXT`, to send a packet
    into the tunnel. A packet out of the tunnel is sent back."""
    outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outside.bind(("", COMMANDS))
    inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inner.bind((FAR, 7))
    old = None
    while True:
        for sock in select.select([outside, inner], [], [])[0]:
            message, sender = sock.recvfrom(2000)
            if sock is inner:
                if message[:1] == b"q":
                    inner.sendto(b"a" + message[1:], sender)
                continue
            word, *words = message.decode().split()
            if word == "key":
                private, public, endpoint = words
                configure(private, old, public, endpoint)
                old = public
                outside.sendto(b"done", sender)
            else:
                inner.sendto(b"q" + words[0].encode(), (NEAR, 7))


class Tap:
    """What passes the network card."""

    def __init__(self, card, outer):
        self.outer = socket.inet_aton(outer)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.bind((card, 3))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.sock.setblocking(False)
        self.found = []

    def messages(self):
        """(whether it was sent by this end, message) of each message since the last clear()."""
        while True:
            try:
                packet, address = self.sock.recvfrom(70000)
            except BlockingIOError:
                return self.found
            header = (packet[0] & 15) * 4
            if address[1] == 0x0800 and packet[9] == 17 and \
                    packet[header + 2:header + 4] == PORT.to_bytes(2):
                self.found.append((packet[12:16] == self.outer, packet[header + 8:]))

    def clear(self):
        self.messages().clear()


def kinds(messages, kind):
    """Number of messages of this kind from the near end and from the far one."""
    return [sum(is_near == near and message[0] == kind for is_near, message in messages)
            for near in (True, False)]


def sessions_of(messages):
    """(index of the near end, index of the far end) of each handshake among these messages."""
    found = set()
    for is_near, message in messages:
        if message[0] == RESPONSE:
            sender, receiver = struct.unpack_from("<II", message, 4)
            found.add((sender, receiver) if is_near else (receiver, sender))
    return found


def near(card, outer, far_outer, control, delay_ms):
    delay = int(delay_ms) / 1000
    tap = Tap(card, outer)
    outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outside.settimeout(PATIENCE)
    outside.connect((control, COMMANDS))
    inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inner.bind((NEAR, 7))

    def exchange(number):
        """A packet from either end, until both were answered or arrived. Returns the seconds."""
        text, got = str(number).encode(), set()
        begun = time.monotonic()
        inner.sendto(b"q" + text, (FAR, 7))
        while got != {b"q", b"a"}:
            left = begun + PATIENCE - time.monotonic()
            assert left > 0 and select.select([inner], [], [], left)[0], \
                f"nothing came in {PATIENCE} s"
            message, sender = inner.recvfrom(2000)
            if message[1:] != text:
                continue  # of the round before
            got.add(message[:1])
            if message[:1] == b"q":
                inner.sendto(b"a" + text, sender)
        return time.monotonic() - begun

    old, crossings, costly, longest = None, [0, 0], 0, 0
    for number in range(MOST):
        greater = crossings[0] > crossings[1]
        # Whose public key is the greater one.
        keys = sorted((os.urandom(32) for _ in range(2)), key=peer.public_of, reverse=not greater)
        privates = [base64.b64encode(key).decode() for key in keys]
        publics = [base64.b64encode(peer.public_of(key)).decode() for key in keys]
        outside.send(f"key {privates[1]} {publics[0]} {outer}:{PORT}".encode())
        assert outside.recv(100) == b"done"
        configure(privates[0], old, publics[1], f"{far_outer}:{PORT}")
        old = publics[1]
        tap.clear()
        # The other end begins when this has arrived.
        outside.send(f"go {number}".encode())
        time.sleep(max(0, delay + 0.05 * (number % 5 - 2) / 2))
        took = exchange(number)
        messages = list(tap.messages())
        begins, answers = kinds(messages, INITIATION), kinds(messages, RESPONSE)
        # An end that has got an initiation answers it, and begins none of its own for 5 s.
        crossed = {is_near for is_near, message in messages[:2]
                   if message[0] == INITIATION} == {True, False}
        print(f"round {number + 1}: the {'far' if greater else 'near'} key is greater, initiations "
              f"{begins}, responses {answers}, {took:.3f} s, crossed: {crossed}")
        if not crossed:
            continue
        crossings[greater] += 1
        longest = max(longest, took)
        costly += begins != [1, 1]
        # One more packet from either end, to see which session they use.
        time.sleep(2 * delay)
        tap.clear()
        outside.send(f"go again{number}".encode())
        exchange(f"again{number}")
        time.sleep(delay)
        used = [None, None]
        for is_near, message in tap.messages():
            if message[0] == DATA:
                # The index is that of the receiver.
                used[is_near], = struct.unpack_from("<I", message, 4)
        assert tuple(used) in sessions_of(messages), "the ends use different sessions"
        if min(crossings) >= WANTED:
            break
    print(f"NOTE: {crossings[0]} crossings in which the near key was the greater one, and "
          f"{crossings[1]} with the far one: all was answered after {longest:.3f} s at most")
    assert min(crossings) >= WANTED, "hardly anything has crossed"
    assert costly <= sum(crossings) // FAIR, f"{costly} crossings have cost a handshake"


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    {"near": near, "far": far}[name](*words)
