# SPDX-License-Identifier: GPL-2.0
"""The tunnel that pair() of lib.sh makes, seen from outside both of its namespaces, and traffic
through it."""

import contextlib
import hashlib
import os
import socket
import struct
import subprocess
import threading

from wgtest.machine import LIMIT, until
from wgtest.peer import UDP_SEGMENT
from wgtest.wire import SO_RCVBUFFORCE, SO_SNDBUFFORCE

NAMESPACE = "/run/netns/wgt-"
INNER = {"a": ("10.8.0.1", "fd08::1"), "b": ("10.8.0.2", "fd08::2")}
OTHER = {"a": "b", "b": "a"}
PORT = 51820


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True).stdout


def ip(name, *words):
    return run("ip", "-n", "wgt-" + name, *words)


def ns(name, *words, check=True):
    return run("ip", "netns", "exec", "wgt-" + name, *words, check=check)


@contextlib.contextmanager
def inside(name):
    """The body of the `with` runs in this namespace. Sockets made in it stay there."""
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(NAMESPACE + name, os.O_RDONLY)
    try:
        os.setns(there, os.CLONE_NEWNET)
        yield
    finally:
        os.setns(ours, os.CLONE_NEWNET)
        os.close(ours)
        os.close(there)


def ping(name, address, timeout=20):
    return ns(name, "ping", "-q", "-c", "1", "-W", str(timeout), address,
              check=False).count(" 1 received") == 1


def works():
    """The tunnel carries packets of both families both ways."""
    for name in "ab":
        for address in INNER[OTHER[name]]:
            until(f"{name} reaches {address}", lambda: ping(name, address))


class Flow:
    """Numbered UDP packets that go one way through the tunnel, each with contents that follow from
    its number."""

    def __init__(self, source, family=4, size=600):
        address = INNER[OTHER[source]][family == 6]
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        with inside(OTHER[source]):
            self.receiver = socket.socket(kind, socket.SOCK_DGRAM)
            self.receiver.bind((address, 0))
        self.receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.receiver.setblocking(False)
        with inside(source):
            self.sender = socket.socket(kind, socket.SOCK_DGRAM)
            self.sender.connect(self.receiver.getsockname()[:2])
        self.sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 26)
        self.size, self.sent, self.refused, self.got = size, 0, 0, []

    def contents(self, number):
        return hashlib.shake_128(struct.pack(">I", number)).digest(self.size - 4)

    def send(self, count):
        """Sends the next `count`. One whose sender gets an error counts as refused."""
        for _ in range(count):
            try:
                self.sender.send(struct.pack(">I", self.sent) + self.contents(self.sent))
            except OSError:
                self.refused += 1
            self.sent += 1

    def send_joined(self, count):
        """Sends the next `count` in one call. They go as one packet to the first device that
        segments."""
        data = b"".join(struct.pack(">I", number) + self.contents(number)
                        for number in range(self.sent, self.sent + count))
        self.sender.sendmsg([data], [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", self.size))])
        self.sent += count

    def arrived(self):
        """The number that has arrived. Checks that each came only once, and unchanged."""
        try:
            while True:
                data = self.receiver.recv(70000)
                number, = struct.unpack_from(">I", data)
                assert data[4:] == self.contents(number), f"packet {number} was changed"
                self.got.append(number)
        except BlockingIOError:
            pass
        assert len(set(self.got)) == len(self.got), "a packet arrived twice"
        return len(self.got)

    def complete(self):
        until("all have arrived", lambda: self.arrived() == self.sent)

    def carries(self, count=20):
        """Sends `count` more, and checks that all of them arrive."""
        first = self.sent
        self.send(count)
        until("they have arrived",
              lambda: self.arrived() and set(range(first, self.sent)) <= set(self.got))

    def passes(self):
        """Sends more until one of them arrives. Any that was sent before has then arrived or is
        lost."""
        first = self.sent
        until("one gets through", lambda: self.send(1) or self.arrived() and self.got[-1] >= first)

    def close(self):
        self.sender.close()
        self.receiver.close()


class Stream:
    """A TCP connection through the tunnel that carries random data one way, as fast as it can."""

    BLOCK = os.urandom(1 << 16)

    def __init__(self, source, family=4):
        self.received, self.over, self.error = 0, threading.Event(), None
        self.sent_hash, self.received_hash = hashlib.sha256(), hashlib.sha256()
        self.path = f"{source} to {OTHER[source]}, IPv{family}"
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        with inside(OTHER[source]):
            listener = socket.socket(kind, socket.SOCK_STREAM)
            listener.bind((INNER[OTHER[source]][family == 6], 0))
            listener.listen()
        with inside(source):
            self.out = socket.socket(kind, socket.SOCK_STREAM)
        for sock in (listener, self.out):
            sock.settimeout(LIMIT)
        # A small buffer, so that the end does not have to wait long for data under way.
        self.out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        self.out.connect(listener.getsockname()[:2])
        self.into = listener.accept()[0]
        self.into.settimeout(LIMIT)
        listener.close()
        self.threads = [threading.Thread(target=self.guard, args=(part,), daemon=True)
                        for part in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def guard(self, part):
        try:
            part()
        except Exception as error:
            self.error = error

    def send(self):
        number = 0
        while not self.over.is_set():
            data = struct.pack(">Q", number) + self.BLOCK[8:]
            self.out.sendall(data)
            self.sent_hash.update(data)
            number += 1
        self.out.shutdown(socket.SHUT_WR)

    def receive(self):
        while data := self.into.recv(1 << 16):
            self.received_hash.update(data)
            self.received += len(data)

    def goes_on(self, amount=200_000):
        before = self.received
        until(f"the stream from {self.path} goes on",
              lambda: self.error or self.received >= before + amount)
        assert not self.error, self.error

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), f"the stream from {self.path} hangs"
        assert not self.error, self.error
        assert self.received_hash.digest() == self.sent_hash.digest(), \
            f"the data from {self.path} were changed"
        self.out.close()
        self.into.close()
        return self.received
