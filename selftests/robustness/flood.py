# SPDX-License-Identifier: GPL-2.0
"""Floods wg0, which is in this namespace, with RATE handshake initiations a second, and measures
how much data it receives meanwhile.

flood.py KEY PORT KIND…     KEY is the public key of wg0. Measures first without a flood, then with
                            one of each KIND

The messages come over the loopback, which costs wg0 the same as a network card. One system call
sends a whole train of them, which the kernel takes apart on arrival: so the sender takes next to no
time. The flood has a fixed rate because the sender shares the processors with wg0: at full speed it
would send more against the module that leaves it more time.
"""

import mmap
import os
import signal
import socket
import struct
import sys
import time

from wgtest.peer import INITIATION, UDP_SEGMENT, Peer

RECEIVED = "/sys/class/net/wg0/statistics/rx_bytes"
SETTLE, SECONDS = 0.2, 0.5
RATE = 8000


def messages(far, count, mac):
    """Random initiations; only their first MAC is right, and only if `mac`."""
    for _ in range(count):
        message = struct.pack("<I", INITIATION) + os.urandom(112)
        yield far.macs(message) if mac else message + os.urandom(32)


def flood(far, sent, sources, mac):
    """Sends RATE messages a second for ever, and counts them in `sent`."""
    train = list(messages(far, 64, mac))
    length = 64 if sources == 1 else 8
    socks = []
    for number in range(sources):
        sock = far.new_socket((f"127.66.{number >> 8}.{number & 255}", 0))
        sock.setsockopt(socket.SOL_UDP, UDP_SEGMENT, len(train[0]))
        sock.connect(far.address)
        sock.setblocking(True)
        socks.append(sock)
    trains = [b"".join(train[first:first + length]) for first in range(0, 64, length)]
    due = time.monotonic_ns()
    while True:
        for part in trains:
            for sock in socks:
                sock.send(part)
                sent[0] += length
                due += length * 10**9 // RATE
                time.sleep(max(0, due - time.monotonic_ns()) / 10**9)


KINDS = {
    "one_source": (1, True),
    "many_sources": (400, True),
    "no_mac": (1, False),
}


def received():
    with open(RECEIVED) as file:
        return int(file.read())


def measure(kind, sent):
    """Prints the kilobytes a second that wg0 receives, and the messages a second of the flood."""
    time.sleep(SETTLE)
    begun, before = time.monotonic_ns(), (received(), sent[0])
    time.sleep(SECONDS)
    bytes, messages = received() - before[0], sent[0] - before[1]
    time_ns = time.monotonic_ns() - begun
    print(f"{kind}={bytes * 10**6 // time_ns}\nflood_{kind}={messages * 10**9 // time_ns}",
          flush=True)


def main(key, port, *kinds):
    far = Peer(os.urandom(32), key, ("127.0.0.1", int(port)))
    sent = memoryview(mmap.mmap(-1, 8)).cast("Q")
    first = received()
    while received() < first + 3 * 10**6:
        time.sleep(0.01)
    measure("quiet", sent)
    for kind in kinds:
        child = os.fork()
        if child == 0:
            flood(far, sent, *KINDS[kind])
        try:
            measure(kind, sent)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        time.sleep(SETTLE)


if __name__ == "__main__":
    main(*sys.argv[1:])
