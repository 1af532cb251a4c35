# SPDX-License-Identifier: GPL-2.0
"""A wg0 and the far ends of its tunnels in one namespace: its counters, its log, its messages."""

import base64
import os
import re
import socket
import subprocess
import time

from wgtest import peer
from wgtest.machine import until
from wgtest.peer import INITIATION, Peer

PORT = 51820
OURS = ("127.0.0.1", PORT)
STATISTICS = "/sys/class/net/wg0/statistics/"


def wg(*words):
    return subprocess.run(["wg", *words], check=True, capture_output=True, text=True).stdout


def statistics():
    return {name: int(open(STATISTICS + name).read()) for name in os.listdir(STATISTICS)}


def changes(before):
    return {name: count - before[name]
            for name, count in statistics().items() if count != before[name]}


class Log:
    """The kernel log from now on."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)
        self.lines = []
        self.initiations = 0

    def read(self):
        while True:
            try:
                self.lines.append(os.read(self.file, 8192).decode().split(";", 1)[1].split("\n")[0])
                self.initiations += "Sending handshake initiation" in self.lines[-1]
            except BrokenPipeError:
                continue  # some lines were overwritten
            except BlockingIOError:
                return self.lines

    def has(self, pattern):
        return any(re.search(pattern, line) for line in self.read())


LOG = Log()
SENT_OF_ITSELF = {"tx_packets", "tx_bytes"}


def dropped(title, action, log=None, barrier=None, quiet=True, **want):
    """Checks that `action` changes exactly the counters in `want`, by these amounts, and that the
    log then matches `log`.

    `barrier` runs after the action; the changes that it makes are part of `want`. Unless `quiet`,
    wg0 has a session and may send messages of its own accord: then its counters of sent messages
    are not compared.
    """
    LOG.read().clear()
    before = statistics()
    action()
    if barrier:
        barrier()

    def seen():
        return {name: count
                for name, count in changes(before).items() if quiet or name not in SENT_OF_ITSELF}

    try:
        until(title, lambda: (not log or LOG.has(log)) and seen() == want)
    except AssertionError:
        print(f"{title}: counted {seen()}, should be {want}; the log should have {log!r}, and has:",
              *LOG.read(), sep="\n    ")
        raise
    print(f"{title}: {want or 'nothing counted'}")


def new_peer(private_ours, *allowed, endpoint=False, address=OURS):
    """Makes a peer at the other end of the loopback, and configures wg0 with it."""
    ours = peer.public_of(base64.b64decode(private_ours))
    far = Peer(os.urandom(32), ours, address)
    options = ["allowed-ips", ",".join(allowed)]
    if endpoint:
        options += ["endpoint", at(far)]
    wg("set", "wg0", "peer", base64.b64encode(far.public).decode(), *options)
    return far


def key_of(far):
    return base64.b64encode(far.public).decode()


def at(far):
    host = OURS[0] if ":" not in far.address[0] else f"[{far.address[0]}]"
    return f"{host}:{far.sock.getsockname()[1]}"


def name_of(sock):
    return re.escape(f"127.0.0.1:{sock.getsockname()[1]}")


def endpoint_of(far):
    return dict(line.split("\t")
                for line in wg("show", "wg0", "endpoints").splitlines())[key_of(far)]


def silent(far):
    """Checks that wg0 has sent nothing to this peer."""
    far.sock.settimeout(0.2)
    try:
        answer = far.sock.recv(2000)
    except TimeoutError:
        return
    raise AssertionError(f"this was answered: {len(answer)} bytes, {answer[:16].hex()}")


def established(far):
    """Makes a session, which wg0 has confirmed by receiving its first message."""
    LOG.read().clear()
    session = far.connect()
    until("the session", lambda: LOG.has(
        r"Receiving keepalive packet from peer \d+ \(.*:%d\b" % far.sock.getsockname()[1]))
    return session


def latest(far):
    """The last initiation that was sent: wg0 takes a response to no other."""
    message = far.receive(INITIATION)
    while True:
        try:
            message = far.receive(INITIATION, timeout=0)
        except (TimeoutError, BlockingIOError):
            return message


def answered(far, sock=None):
    """Makes a session with wg0 as initiator, answering from `sock`, if given.

    wg0 sends another initiation every five seconds; an answer to the one before comes too late."""
    LOG.read().clear()
    for _ in range(10):
        far.consume_initiation(latest(far))
        message, session = far.response()
        LOG.read()  # counts the initiation that is answered here, too
        before = LOG.initiations
        far.send(message, sock)
        until("the response, or another initiation",
              lambda: LOG.has("Receiving handshake response from peer") or LOG.initiations > before)
        if LOG.has("Receiving handshake response from peer"):
            return session
    raise AssertionError("the right response was not taken")


# The most that timers are late, in seconds: those of two to sixteen seconds, and those of more than
# two minutes.
LATE, VERY_LATE = 0.3, 17
# The most that wg0 waits before a handshake, besides, in seconds.
JITTER = 1 / 3


def inside():
    """A socket that sends into the tunnel."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def send(sock, text=b"x"):
    sock.sendto(text, ("10.8.0.2", 9))


def arrival(far, timeout):
    """The next message, its source address, and its time of arrival. TimeoutError if none comes."""
    far.sock.settimeout(timeout)
    message, source = far.sock.recvfrom(70000)
    return message, source[0], time.monotonic()


def between(what, low, seconds, high):
    print(f"{what}: {seconds:.3f} s")
    assert low <= seconds < high, f"{what}: {seconds:.3f} s, should be {low} to {high}"
