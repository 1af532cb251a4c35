# SPDX-License-Identifier: GPL-2.0
"""Sends wg0 handshake messages that it must not take, and checks its counters, the log and the
sessions that it has.

handshakes.py NAME KEY    runs the function NAME below; KEY is the private key of wg0. Both wg0 and
                          the far end of its tunnel are in this namespace
"""

import base64
import os
import socket
import struct
import subprocess
import sys
import time

from wgtest import peer
from wgtest.loopback import (LOG, OURS, PORT, answered, at, changes, dropped, endpoint_of,
                             established, key_of, latest, name_of, new_peer, silent, statistics, wg)
from wgtest.machine import LIMIT, NoWorkers, until
from wgtest.peer import COOKIE, DATA, INITIATION, LENGTHS, LOW_ORDER, RESPONSE, Peer


def handshakes(key):
    far = new_peer(key, "10.8.0.2/32")
    stranger = Peer(os.urandom(32), far.remote, OURS)
    source = name_of(far.sock)
    mac = f"wireguard: wg0: Invalid MAC of handshake, dropping packet from {source}$"
    initiation = f"wireguard: wg0: Invalid handshake initiation from {source}$"
    response = f"wireguard: wg0: Invalid handshake response from {source}$"
    good = far.initiation()
    for title, message, log in (
            ("an initiation with a wrong MAC",
             good[:-17] + bytes([good[-17] ^ 1]) + good[-16:], mac),
            ("an initiation without a MAC", good[:-32] + bytes(32), mac),
            ("a response without a MAC", struct.pack("<I", RESPONSE) + bytes(88), mac),
            ("an initiation with a right MAC and nothing else",
             far.macs(struct.pack("<I", INITIATION) + bytes(112)), initiation),
            ("random bytes with a right MAC",
             far.macs(struct.pack("<I", INITIATION) + os.urandom(112)), initiation),
            ("an initiation of a stranger", stranger.initiation(), initiation),
            ("an initiation by a sender that only knows our public key",
             far.initiation(static_static=bytes(32)), initiation),
            ("an initiation whose ephemeral key was changed",
             far.macs(good[:8] + os.urandom(32) + good[40:-32]), initiation),
            ("an initiation whose timestamp was changed",
             far.macs(good[:88] + os.urandom(28)), initiation),
            ("a response to nothing",
             far.macs(struct.pack("<I", RESPONSE) + os.urandom(56)), response)):
        dropped(title, lambda: far.send(message), log)
    # With a point of small order, everybody knows the shared secret.
    for number, point in enumerate(LOW_ORDER):
        dropped(f"an initiation with an ephemeral key of small order, {number}",
                lambda: far.send(far.initiation(ephemeral=point)), initiation)
    silent(far)
    assert endpoint_of(far) == "(none)"

    dropped("an initiation that is right", lambda: far.send(good),
            f"Receiving handshake initiation from peer \\d+ \\({source}\\)$",
            rx_packets=1, rx_bytes=148, tx_packets=1, tx_bytes=92)
    assert len(far.receive(RESPONSE)) == LENGTHS[RESPONSE]
    assert endpoint_of(far) == at(far)
    # An eavesdropper has this initiation, too.
    eve = far.new_socket()
    again = f"wireguard: wg0: Invalid handshake initiation from {name_of(eve)}$"
    dropped("the same initiation again, from another address", lambda: far.send(good, eve), again)
    dropped("one with an earlier timestamp",
            lambda: far.send(far.initiation(timestamp=peer.tai64n(time.time() - 100)), eve), again)
    assert endpoint_of(far) == at(far)
    silent(far)

    # Now wg0 is the initiator.
    subprocess.run(["ip", "link", "set", "wg0", "down"], check=True)
    subprocess.run(["ip", "link", "set", "wg0", "up"], check=True)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"x", ("10.8.0.2", 9))
    initiation = latest(far)
    for number, point in enumerate(LOW_ORDER):
        try:
            initiation = far.receive(INITIATION, timeout=0)
        except (TimeoutError, BlockingIOError):
            pass
        far.consume_initiation(initiation)
        message, _ = far.response(ephemeral=point)
        dropped(f"a response with an ephemeral key of small order, {number}",
                lambda: far.send(message, eve),
                f"wireguard: wg0: Invalid handshake response from {name_of(eve)}$", quiet=False)
    assert endpoint_of(far) == at(far)
    # After all these, wg0 still takes the right response.
    far.consume_initiation(initiation)
    message, session = far.response()
    far.send(message)
    try:
        far.receive_data(session, timeout=3)
    except TimeoutError:  # wg0 sent its next initiation before the response arrived
        far.receive_data(answered(far))

    # Nothing can be sent to a peer whose key is such a point.
    for point in LOW_ORDER:
        public = base64.b64encode(point).decode()
        far.sock.setblocking(False)
        wg("set", "wg0", "peer", public, "allowed-ips", "10.8.0.3/32", "endpoint", at(far))
        if point[31] & 0x80 and public not in wg("show", "wg0", "peers"):
            continue
        sock.sendto(b"x", ("10.8.0.3", 9))
        until("the attempt",
              lambda: LOG.has(r"Sending handshake initiation to peer \d+ \(%s\)" % source))
        LOG.read().clear()
        weak = Peer(os.urandom(32), far.remote, OURS)
        dropped("an initiation of a peer with such a key",
                lambda: weak.send(weak.initiation(static=point, static_static=bytes(32))),
                f"wireguard: wg0: Invalid handshake initiation from {name_of(weak.sock)}$",
                quiet=False)
        wg("set", "wg0", "peer", public, "remove")
        far.sock.settimeout(0.2)
        try:
            while True:
                assert far.sock.recv(2000)[0] != INITIATION, \
                    "an initiation was sent with a secret that everybody knows"
        except TimeoutError:
            pass


def response(key):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for loopback in ("127.0.0.1", "::1"):
        far = new_peer(key, "10.8.0.2/32", endpoint=True, address=(loopback, PORT))
        before = at(far)
        sock.sendto(b"waits", ("10.8.0.2", 9))
        elsewhere = far.new_socket()
        session = answered(far, elsewhere)
        told_first, far.sock = far.sock, elsewhere
        until("the endpoint to move", lambda: endpoint_of(far) == at(far))
        # The packet that waited for the session goes to the new endpoint, although only the
        # response has come from there.
        assert far.receive_data(session)[28:33] == b"waits"
        far.sock = told_first
        while True:
            try:
                assert far.receive(timeout=0.2)[0] == INITIATION, f"data went to {before}"
            except TimeoutError:
                break
        wg("set", "wg0", "peer", key_of(far), "remove")


def private_key(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def change():
        """Gives wg0 another private key, and the far end the public one."""
        secret = os.urandom(32)
        subprocess.run(["wg", "set", "wg0", "private-key", "/proc/self/fd/0"],
                       input=base64.b64encode(secret), check=True)
        far.remote = peer.public_of(secret)

    def begins_anew(text):
        """A packet that wg0 is to send waits for a session under the new key."""
        sock.sendto(text, ("10.8.0.2", 9))
        message = far.receive()
        assert message[0] == INITIATION, f"type {message[0]}, under the session of the old key"
        far.consume_initiation(message)
        message, session = far.response()
        far.send(message)
        assert far.receive_data(session)[28:28 + len(text)] == text
        silent(far)
        return session

    # Without a key nothing can be sent. When wg0 gets its first key, it sends the packets that
    # wait.
    subprocess.run(["wg", "set", "wg0", "private-key", "/dev/null"], check=True)
    sock.sendto(b"first", ("10.8.0.2", 9))
    silent(far)
    change()
    session = answered(far)
    assert far.receive_data(session)[28:33] == b"first"

    sock.sendto(b"before", ("10.8.0.2", 9))
    assert far.receive_data(session)[28:34] == b"before"
    change()
    begins_anew(b"after")

    # The same for a session that waits for its first message: that would make it the current one.
    session = far.connect(confirm=False)
    change()
    dropped("the first keepalive of a session under the old key", lambda: far.send(session.seal()),
            "Receiving keepalive packet", quiet=False, rx_packets=1, rx_bytes=32)
    begins_anew(b"then")


def sessions(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def taken(title, session, instead_of=None):
        """Checks that wg0 takes two keepalives of `session`, and not one of `instead_of` before."""
        def send_two():
            for _ in range(2):
                far.send(session.seal())

        dropped(title, lambda: instead_of and far.send(instead_of.seal()),
                "Receiving keepalive packet", barrier=send_two, quiet=False,
                rx_packets=2, rx_bytes=64)

    def sent_with(session):
        sock.sendto(b"x", ("10.8.0.2", 9))
        assert session.open(far.receive(DATA))[1]

    def again(**options):
        time.sleep(0.1)  # a peer may begin 50 handshakes a second
        return far.connect(**options)

    first = established(far)
    sent_with(first)
    second = again(confirm=False)
    # wg0 does not know yet whether the far end has the keys of the second session.
    sent_with(first)
    taken("the first message of a new session", second)
    sent_with(second)
    taken("a late one of the session before it", first)
    sent_with(second)
    third = again(confirm=False)
    # The C module forgets it too early: its peer may still send with it.
    if os.environ["WG_MODULE"] == "rust":
        taken("one of the session before that, until the new one is confirmed", first)
    else:
        taken("one of the session before that is not, and one of the last", second,
              instead_of=first)
    # A session under which nothing has come is replaced by the next one.
    fourth = again(confirm=False)
    taken("one of the replaced session is not, and one of the last", second, instead_of=third)
    sent_with(second)
    taken("the first message of the newest", fourth)
    taken("one of the oldest is not, and a late one of the last", second, instead_of=first)
    sent_with(fourth)
    silent(far)


def cookies(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    source = name_of(far.sock)
    received = f"wireguard: wg0: Receiving cookie response from {source}$"
    unreadable = "wireguard: wg0: Could not decrypt invalid cookie response$"
    dropped("a cookie reply to nothing",
            lambda: far.send(struct.pack("<I", COOKIE) + os.urandom(60)), received)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"x", ("10.8.0.2", 9))
    for attempt in range(10):
        initiation, before = latest(far), LOG.initiations
        if attempt and initiation[-16:] != bytes(16):
            break
        assert initiation[-16:] == bytes(16)
        reply = far.cookie_reply(initiation, b"0123456789abcdef")
        dropped("a cookie reply that was changed",
                lambda: far.send(reply[:-1] + bytes([reply[-1] ^ 1])), unreadable, quiet=False)
        dropped("a cookie reply", lambda: far.send(reply), received, quiet=False)
        # One cookie reply is taken; the next is ignored until another initiation has been sent.
        dropped("and again", lambda: far.send(far.cookie_reply(initiation, bytes(16))),
                received, quiet=False)
        if LOG.initiations == before:
            break  # all this was before the next initiation, which would accept a cookie again
    assert not LOG.has(unreadable)
    initiation = far.receive(INITIATION)
    if initiation[-16:] == bytes(16):
        initiation = far.receive(INITIATION)  # the one before was sent before the reply
    assert peer.blake2s(initiation[:-16], key=b"0123456789abcdef", size=16) == initiation[-16:]
    assert endpoint_of(far) == at(far)


def overflow(key):
    far = new_peer(key, "10.8.0.2/32")
    other = far.new_socket()
    # Its first MAC is right: without it a message gets no place in the queue.
    message = far.macs(struct.pack("<I", INITIATION) + bytes(112))
    log = f"wireguard: wg0: Dropping handshake packet from {name_of(other)}$"
    before = statistics()
    LOG.read().clear()
    end = time.monotonic() + LIMIT
    sent = 0
    with NoWorkers():
        while sent % 500 or not sent or not LOG.has(log):
            assert time.monotonic() < end, "none was dropped"
            far.send(message, other)
            sent += 1
    print(f"one of {sent} was dropped")
    assert sent > 4096
    silent(far)
    # The messages that found room are answered with cookies.
    assert set(changes(before)) <= {"tx_packets", "tx_bytes"}, changes(before)
    # A peer gets a session now, if need be with a cookie.
    session = established(far)
    dropped("a keepalive", lambda: far.send(session.seal()), quiet=False, rx_packets=1, rx_bytes=32)


def strangers(key):
    far, eve = new_peer(key, "10.8.0.2/32"), new_peer(key, "10.8.0.3/32")
    nobodys = struct.pack("<II", COOKIE, 0x12345678) + bytes(56)
    for message in (struct.pack("<I", INITIATION) + bytes(144), bytes([RESPONSE]) + bytes(91),
                    nobodys):
        with NoWorkers():
            for _ in range(6000):
                eve.send(message)
            far.send(far.initiation())
        answer = far.receive(RESPONSE, COOKIE)
        assert answer[0] == RESPONSE, "the device was under load"
        time.sleep(0.1)  # until the next initiation is not too soon
    silent(eve)


def field(sock, kind, timeout=LIMIT):
    """TOS or traffic class of the next message of type `kind`. TimeoutError if none comes."""
    end = time.monotonic() + timeout
    while True:
        sock.settimeout(max(0.001, end - time.monotonic()))
        message, ancillary, _, _ = sock.recvmsg(2000, 100)
        if message[0] == kind:
            return ancillary[0][2][0]


def dsfield(key):
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
    for loopback in ("127.0.0.1", "::1"):
        far = new_peer(key, "10.8.0.2/32", endpoint=True, address=(loopback, PORT))
        far.sock.setsockopt(*(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
                            if ":" in loopback else (socket.IPPROTO_IP, socket.IP_RECVTOS, 1))
        sender.sendto(b"x", ("10.8.0.2", 9))
        seen = {"initiation": field(far.sock, INITIATION)}
        far.send(far.initiation())
        seen["response"] = field(far.sock, RESPONSE)
        session = established(far)
        seen["data"] = field(far.sock, DATA)
        wg("set", "wg0", "peer", key_of(far), "persistent-keepalive", "1")
        seen["keepalive"] = field(far.sock, DATA)
        other = far.new_socket()
        message = far.macs(struct.pack("<I", INITIATION) + bytes(112))
        end = time.monotonic() + LIMIT
        while "cookie reply" not in seen:
            # So many others surround the initiation that wg0 is under load when its turn comes. (On
            # a slow machine a kernel thread delivers many of them, perhaps too late for that: hence
            # the loop.)
            with NoWorkers():
                for _ in range(600):
                    far.send(message, other)
                far.send(far.initiation())
                for _ in range(600):
                    far.send(message, other)
            try:
                seen["cookie reply"] = field(far.sock, COOKIE, 3)
            except TimeoutError:
                assert time.monotonic() < end, "no cookie reply"
        print(loopback, seen)
        assert seen == {"initiation": 0x88, "response": 0x88,
                        "data": 0, "keepalive": 0, "cookie reply": 0}
        wg("set", "wg0", "peer", key_of(far), "remove")
        time.sleep(3)  # until wg0 is not under load any more


if __name__ == "__main__":
    name, key = sys.argv[1:]
    {function.__name__: function for function in (
        handshakes, response, private_key, sessions, cookies, overflow, strangers,
        dsfield)}[name](key)
