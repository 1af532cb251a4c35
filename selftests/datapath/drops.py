# SPDX-License-Identifier: GPL-2.0
"""Makes wg0 drop packets for every reason there is, and checks its counters and the log.

drops.py NAME KEY     runs the function NAME below; KEY is the private key of wg0. Both wg0 and the
                      far end of its tunnel are in this namespace
"""

import base64
import errno
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

from wgtest import peer, wgnl
from wgtest.loopback import (LOG, OURS, PORT, STATISTICS, answered, at, changes, dropped,
                             endpoint_of, established, key_of, latest, name_of, new_peer, silent,
                             statistics, wg)
from wgtest.machine import LIMIT, NoWorkers, until
from wgtest.peer import (COOKIE, DATA, INITIATION, LENGTHS, LOW_ORDER, REJECT_AFTER_MESSAGES,
                         RESPONSE, UDP_SEGMENT, Peer)
from wgtest.wire import ipv4, ipv6, udp


def told(error, send):
    """An action that calls `send` and checks that it fails with this error."""
    def action():
        try:
            send()
        except OSError as e:
            assert e.errno == error, os.strerror(e.errno)
        else:
            raise AssertionError("the sender got no error")
    return action


def xmit(key):
    far = new_peer(key, "10.8.0.2/32", "fd08::2/128")
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    good4, good6 = (ipv4("10.8.0.1", "10.8.0.2", 17, udp(1, 2, b"x")),
                    ipv6("fd08::1", "fd08::2", 17, udp(1, 2, b"x")))
    for title, protocol, packet in (
            ("neither IPv4 nor IPv6", 0x88B5, good4),
            ("ARP", 0x0806, bytes(28)),
            ("an IPv4 packet that is said to be IPv6", 0x86DD, good4),
            ("an IPv6 packet that is said to be IPv4", 0x0800, good6),
            ("an IPv4 packet without all of its header", 0x0800, good4[:19]),
            ("an IPv6 packet without all of its header", 0x86DD, good6[:39]),
            ("a packet of version 5", 0x0800, b"\x55" + good4[1:])):
        dropped(title, told(errno.EPROTONOSUPPORT, lambda: raw.sendto(packet, ("wg0", protocol))),
                "wireguard: wg0: Invalid IP packet", tx_errors=1)

    v4, v6 = (socket.socket(family, socket.SOCK_DGRAM)
              for family in (socket.AF_INET, socket.AF_INET6))
    for title, sock, to, log in (
            ("an IPv4 address of no peer", v4, "10.8.0.99",
             r"No peer has allowed IPs matching 10\.8\.0\.99"),
            ("an IPv6 address of no peer", v6, "fd08::99",
             r"No peer has allowed IPs matching fd08:.*:0*99")):
        dropped(title, told(errno.ENOKEY, lambda: sock.sendto(b"x", (to, 9))),
                "wireguard: wg0: " + log, tx_errors=1)
    for title, sock, to in (("a peer without an endpoint, IPv4", v4, "10.8.0.2"),
                            ("and IPv6", v6, "fd08::2")):
        dropped(title, told(errno.EDESTADDRREQ, lambda: sock.sendto(b"x", (to, 9))),
                r"wireguard: wg0: No valid endpoint has been configured or discovered for "
                r"peer \d+$", tx_errors=1)

    # The sender gets an ICMP error, too, also for a packet that was to be segmented.
    v4.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    v4.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
    dropped("a packet to be segmented, for no peer",
            told(errno.ENOKEY, lambda: v4.sendto(bytes(5000), ("10.8.0.99", 9))), tx_errors=1)
    until("the ICMP error",
          lambda: v4.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EHOSTUNREACH)
    silent(far)


def numbers(far, session, count):
    """The numbers in the next `count` UDP datagrams."""
    return [struct.unpack_from(">I", far.receive_data(session), 28)[0] for _ in range(count)]


def staged(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 8)

    def send(first, last):
        for number in range(first, last):
            sock.sendto(struct.pack(">II", number, 0), ("10.8.0.2", 9))

    send(0, 1)
    until("an initiation", lambda: LOG.read() is not None and LOG.initiations)
    # There is room for 128. Room is made when the next packet comes, and that one is never dropped
    # itself: so 129 may wait. An initiation without an answer is sent again every five seconds.
    dropped("129 that wait", lambda: send(1, 129), quiet=False)
    dropped("and 71 more", lambda: send(129, 200), quiet=False, tx_dropped=71)
    # A GSO packet of 40 segments makes room as a single packet does: one that waits is dropped. The
    # next packet drops all those that are too many.
    dropped("a segmented packet that waits", lambda: sock.sendto(
        b"".join(struct.pack(">II", number, 0) for number in range(200, 240)), ("10.8.0.2", 9)),
            quiet=False, tx_dropped=1)
    dropped("the next one", lambda: send(240, 241), quiet=False, tx_dropped=40)

    session = answered(far)
    got = numbers(far, session, 129)
    assert got == list(range(112, 241)), got
    silent(far)

    # Packets that wait when the interface goes down, or when their peer is removed, are dropped and
    # counted.
    def down():
        subprocess.run(["ip", "link", "set", "wg0", "down"], check=True)

    down()
    subprocess.run(["ip", "link", "set", "wg0", "up"], check=True)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    send(0, 5)
    dropped("an interface that goes down", down, tx_dropped=5, quiet=False)
    subprocess.run(["ip", "link", "set", "wg0", "up"], check=True)
    send(0, 7)
    dropped("a peer that is removed",
            lambda: wg("set", "wg0", "peer", key_of(far), "remove"), tx_dropped=7, quiet=False)


def refresh(far, session):
    """Sends a keepalive, so that wg0 does not begin a handshake soon."""
    LOG.read().clear()
    far.send(session.seal())
    until("the keepalive", lambda: LOG.has("Receiving keepalive packet"))


def small_buffer(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    far.sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)  # SO_RCVBUFFORCE
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # The kernel rounds this up to its minimum, which has room for two such packets.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    sock.setblocking(False)
    for number in range(128):
        sock.sendto(struct.pack(">I", number) + bytes(1000), ("10.8.0.2", 9))
    got = numbers(far, answered(far), 128)
    assert got == list(range(128)), got
    silent(far)


def nft(rule):
    subprocess.run(["nft", rule], check=True)


def outside(key):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    segmented = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    segmented.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 100)
    nft("add table inet t; add chain inet t o { type filter hook output priority 0; }")
    # When the stack refuses a packet, IPv6 counts another kind of error than IPv4.
    for version, loopback, lost in ((4, "127.0.0.1", {"tx_dropped": 1}),
                                    (6, "::1", {"tx_errors": 1, "tx_aborted_errors": 1})):
        far = new_peer(key, "10.8.0.2/32", endpoint=True, address=(loopback, PORT))
        session = established(far)

        def send(size=0):
            sock.sendto(bytes(size), ("10.8.0.2", 9))

        def send_run(count):
            segmented.sendto(bytes(100 * count), ("10.8.0.2", 9))

        # A packet of 28 bytes is padded to 32, and its message has 64; UDP and IP headers are not
        # counted.
        dropped(f"a packet sent over IPv{version}", send, tx_packets=1, tx_bytes=32 + 32)
        assert len(session.open(far.receive(DATA))[1]) == 32
        dropped("and a longer one", lambda: send(1392), tx_packets=1, tx_bytes=1420 + 32)
        far.receive(DATA)
        for count in (2, 16, 40):
            dropped(f"a run of {count} packets", lambda: send_run(count),
                    tx_packets=count, tx_bytes=count * (128 + 32))
            for _ in range(count):
                assert len(session.open(far.receive(DATA))[1]) == 128
        refresh(far, session)
        before = far_bytes(far)
        nft(f"add rule inet t o udp dport {far.sock.getsockname()[1]} drop")
        dropped(f"one that is refused outside, IPv{version}", send, **lost)
        # The peer's own counter includes bytes that were refused later.
        assert far_bytes(far) == before + 64, (far_bytes(far), before)
        for count in (2, 16, 40):
            dropped(f"a run of {count} that is refused outside, IPv{version}",
                    lambda: send_run(count), **{name: count for name in lost})
        silent(far)
        nft("flush chain inet t o")
        refresh(far, session)
        # Without a route no counter changes.
        unreachable = "192.0.2.1" if version == 4 else "2001:db8::1"
        to = unreachable if version == 4 else f"[{unreachable}]"
        wg("set", "wg0", "peer", key_of(far), "endpoint", f"{to}:9")
        before = far_bytes(far)
        dropped(f"one without a route, IPv{version}", send,
                r"wireguard: wg0: No route to %s:9.*, error -101$" % re.escape(to))
        assert far_bytes(far) == before
        subprocess.run(["ip", "route", "add", "unreachable", unreachable], check=True)
        dropped(f"one with an unreachable route, IPv{version}", send,
                r"wireguard: wg0: No route to %s:9.*, error -113$" % re.escape(to))
        assert far_bytes(far) == before
        silent(far)
        wg("set", "wg0", "peer", key_of(far), "remove")


def far_bytes(far):
    """Bytes sent to the peer, as `wg` shows them."""
    return int({line.split("\t")[0]: line.split("\t")[2]
                for line in wg("show", "wg0", "transfer").splitlines()}[key_of(far)])


def datagrams(key):
    far = new_peer(key, "10.8.0.2/32")
    wrong = far.initiation()[:-32] + bytes(32)

    def send(messages):
        for message in messages:
            far.send(message)

    for title, messages in (
            ("nothing or too short", [b"", b"\1", b"\1\0", b"\4\0\0"]),
            ("a type that does not exist",
             [struct.pack("<I", kind) + bytes(144) for kind in (0, 5, 6, 255)]),
            ("reserved bytes that are not zero", [
                bytes([kind, *reserved]) + bytes(LENGTHS.get(kind, 64) - 4)
                for kind in (INITIATION, RESPONSE, COOKIE, DATA)
                for reserved in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]),
            ("a wrong length", [
                struct.pack("<I", kind) + bytes(LENGTHS[kind] - 4 + more)
                for kind in (INITIATION, RESPONSE, COOKIE) for more in (-1, 1, -60, 1000)]),
            ("data shorter than it can be",
             [struct.pack("<I", DATA) + bytes(size) for size in (0, 4, 12, 27)]),
            ("data for no session",
             [struct.pack("<IIQ", DATA, number, 0) + bytes(16) for number in range(100)])):
        # Only the barrier's message is in the log. It comes after all others.
        dropped(title, lambda: send(messages),
                f"Invalid MAC of handshake, dropping packet from {name_of(far.sock)}$",
                barrier=lambda: far.send(wrong))
    silent(far)
    assert endpoint_of(far) == "(none)"


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
        """Checks that wg0 takes a keepalive of `session`, and not one of `instead_of` before it."""
        dropped(title, lambda: instead_of and far.send(instead_of.seal()),
                "Receiving keepalive packet", barrier=lambda: far.send(session.seal()), quiet=False,
                rx_packets=1, rx_bytes=32)

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


def data(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    session = established(far)
    source = name_of(far.sock)
    keepalive = {"rx_packets": 1, "rx_bytes": 32}
    log = r"wireguard: wg0: Receiving keepalive packet from peer \d+ \(%s\)$" % source

    def barrier():
        far.send(session.seal())

    eve = far.new_socket()
    dropped("a keepalive", barrier, log, quiet=False, **keepalive)
    packet = ipv4("10.8.0.2", "10.8.0.1", 17, udp(9, 9, b"x"))
    good = session.seal(packet, counter=1000)
    for title, message in (
            ("data with a wrong tag", good[:-1] + bytes([good[-1] ^ 1])),
            ("data with another counter than it was made with",
             good[:8] + bytes([good[8] ^ 1]) + good[9:]),
            ("data cut off", good[:-16]),
            ("data with something appended", good + bytes(16)),
            ("data for another index", good[:4] + struct.pack("<I", session.remote ^ 1) + good[8:]),
            ("random bytes", good[:16] + os.urandom(48))):
        dropped(title, lambda: far.send(message, eve),
                log, barrier=barrier, quiet=False, **keepalive)
    replayed = session.seal(counter=2000)
    dropped("a keepalive", lambda: far.send(replayed), log, quiet=False, **keepalive)
    dropped("the same once more", lambda: far.send(replayed, eve),
            r"wireguard: wg0: Packet has invalid nonce 2000 \(max 2001\)$",
            quiet=False)
    assert endpoint_of(far) == at(far)

    # The handshake makes a new session with an index of its own, under which no data has come yet.
    far.send(far.initiation())
    following = far.consume_response(far.receive(RESPONSE))
    unconfirmed = struct.pack("<IIQ", DATA, following.remote, 0) + os.urandom(16)
    dropped("data for a session not begun", lambda: far.send(unconfirmed, eve),
            log, barrier=barrier, quiet=False, **keepalive)
    assert endpoint_of(far) == at(far)
    # An authentic message moves the endpoint.
    far.send(following.seal(), eve)
    until("the endpoint to move", lambda: endpoint_of(far) == f"127.0.0.1:{eve.getsockname()[1]}")


def window(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    session = far.connect(confirm=False)

    def taken(counter):
        dropped(f"counter {counter} is taken",
                lambda: far.send(session.seal(counter=counter)), "Receiving keepalive packet",
                quiet=False, rx_packets=1, rx_bytes=32)

    def refused(counter, most):
        dropped(f"counter {counter} is not", lambda: far.send(session.seal(counter=counter)),
                rf"Packet has invalid nonce {counter} \(max {most}\)$", quiet=False)

    taken(0)
    refused(0, 1)
    taken(8128)
    refused(0, 8129)
    taken(1)
    refused(1, 8129)
    taken(100000)
    refused(100000 - 8129, 100001)
    taken(100000 - 8128)
    refused(100000 - 8128, 100001)
    taken(99999)
    taken(2**40)
    refused(100000, 2**40 + 1)
    refused(REJECT_AFTER_MESSAGES, 2**40 + 1)
    refused(REJECT_AFTER_MESSAGES + 1, 2**40 + 1)
    refused(2**64 - 1, 2**40 + 1)
    taken(2**40 - 1)
    taken(peer.REKEY_AFTER_MESSAGES + 1)
    # The last counter that there is. After it the key is not used any more, whatever the counter.
    last = REJECT_AFTER_MESSAGES - 1
    taken(last)
    other = far.connect(confirm=False)

    def barrier():
        far.send(other.seal())

    LOG.read().clear()
    for counter in (last, last - 1, 2**40 + 5, 5):
        dropped(f"counter {counter} after the last one",
                lambda: far.send(session.seal(counter=counter)), "Receiving keepalive packet",
                barrier=barrier, quiet=False, rx_packets=1, rx_bytes=32)
        assert not LOG.has("invalid nonce")


def inner(key):
    far = new_peer(key, "10.8.0.2/32", "fd08::2/128", endpoint=True)
    new_peer(key, "10.8.0.77/32", "fd08::77/128")
    session = established(far)
    source = name_of(far.sock)
    kind = r"wireguard: wg0: Packet is neither ipv4 nor ipv6 from peer \d+ \(%s\)$" % source
    size = r"wireguard: wg0: Packet has incorrect size from peer \d+ \(%s\)$" % source
    whose = r"wireguard: wg0: Packet has unallowed src IP \(%%s\) from peer \d+ \(%s\)$" % source
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("10.8.0.1", 5555))
    listener.settimeout(LIMIT)
    datagram = udp(9, 5555, b"hello")
    four, six = ipv4("10.8.0.2", "10.8.0.1", 17, datagram), ipv6("fd08::2", "fd08::1", 59, b"hello")

    def send(packet, pad=True):
        return lambda: far.send(session.seal(packet, pad=pad))

    dropped("a packet", send(four), quiet=False, rx_packets=1, rx_bytes=48 + 32)
    assert listener.recv(100) == b"hello"
    dropped("a packet without padding", send(four, pad=False),
            quiet=False, rx_packets=1, rx_bytes=33 + 32)
    assert listener.recv(100) == b"hello"
    dropped("a packet with far too much padding", send(four + bytes(1000)),
            quiet=False, rx_packets=1, rx_bytes=1040 + 32)
    assert listener.recv(100) == b"hello"
    dropped("an IPv6 packet", send(six), quiet=False, rx_packets=1, rx_bytes=48 + 32)

    frame, length = {"rx_errors": 1, "rx_frame_errors": 1}, {"rx_errors": 1, "rx_length_errors": 1}
    for title, packet, log, want in (
            ("a single byte", b"\x45", kind, frame),
            ("19 bytes of IPv4", four[:19], kind, frame),
            ("39 bytes of IPv6", six[:39], kind, frame),
            ("20 bytes of IPv6", six[:20], kind, frame),
            ("zeros", bytes(32), kind, frame),
            ("version 5", b"\x55" + four[1:], kind, frame),
            ("version 15", b"\xf5" + four[1:], kind, frame),
            ("IPv4 that says 0 bytes",
             ipv4("10.8.0.2", "10.8.0.1", 17, datagram, length=0), size, length),
            ("IPv4 that says 19 bytes",
             ipv4("10.8.0.2", "10.8.0.1", 17, datagram, length=19), size, length),
            ("IPv4 that says one byte too many",
             ipv4("10.8.0.2", "10.8.0.1", 17, datagram, length=len(four) + 1), size, length),
            ("IPv4 that says 65535 bytes",
             ipv4("10.8.0.2", "10.8.0.1", 17, datagram, length=65535), size, length),
            ("IPv6 that says one byte too many",
             ipv6("fd08::2", "fd08::1", 59, b"hello", length=6), size, length),
            ("IPv6 that says 65535 bytes",
             ipv6("fd08::2", "fd08::1", 59, b"hello", length=65535), size, length),
            # The size is checked first.
            ("another peer's address and a wrong size",
             ipv4("10.8.0.77", "10.8.0.1", 17, datagram, length=999), size, length),
            ("another peer's IPv4 address", ipv4("10.8.0.77", "10.8.0.1", 17, datagram),
             whose % r"10\.8\.0\.77", frame),
            ("an IPv4 address of no peer", ipv4("10.8.0.78", "10.8.0.1", 17, datagram),
             whose % r"10\.8\.0\.78", frame),
            ("our own IPv4 address", ipv4("10.8.0.1", "10.8.0.1", 17, datagram),
             whose % r"10\.8\.0\.1", frame),
            ("another peer's IPv6 address",
             ipv6("fd08::77", "fd08::1", 59, b""), whose % "fd08::77", frame),
            ("an IPv6 address of no peer",
             ipv6("fd08::78", "fd08::1", 59, b""), whose % "fd08::78", frame)):
        dropped(title, send(packet, pad=False), log, quiet=False, **want)
    # The message is authentic, so it moves the endpoint, although its packet is dropped.
    elsewhere = far.new_socket()
    far.sock = elsewhere
    dropped("from elsewhere", send(bytes(16)),
            "neither ipv4 nor ipv6 from peer \\d+ \\(%s\\)$" % name_of(elsewhere),
            quiet=False, **frame)
    assert endpoint_of(far) == at(far)
    listener.settimeout(0.2)
    try:
        raise AssertionError(listener.recv(100))
    except TimeoutError:
        pass


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


def removed(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    far.sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 27)  # SO_RCVBUFFORCE
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, 32, 1 << 27)  # SO_SNDBUFFORCE
    subprocess.run(["ip", "link", "set", "wg0", "mtu", "16000"], check=True)
    kernel = wgnl.Socket()
    remove = wgnl.attr(wgnl.A_IFNAME, "wg0") + wgnl.nest(
        wgnl.A_PEERS, wgnl.peer(far.public, wgnl.attr(wgnl.P_FLAGS, wgnl.u32(wgnl.REMOVE_ME))))

    def read_all():
        far.sock.setblocking(False)
        try:
            while True:
                far.sock.recv(70000)
        except BlockingIOError:
            pass

    def add():
        wg("set", "wg0", "peer", key_of(far), "allowed-ips", "10.8.0.2/32", "endpoint", at(far))
        return established(far)

    for _ in range(4):
        session = add()
        before = statistics()
        # All these packets still wait to be encrypted when the removal begins. Each is sent before
        # the peer is gone, or dropped and counted.
        with NoWorkers():
            for _ in range(400):
                sock.sendto(bytes(15000), ("10.8.0.2", 9))
        kernel.do(wgnl.SET_DEVICE, remove)
        sent = int(open(STATISTICS + "tx_packets").read())
        # Workers may still have some of them.
        until("all are accounted for", lambda: sum(
            changes(before).get(name, 0) for name in ("tx_packets", "tx_dropped")) >= 400)
        read_all()
        silent(far)
        after = statistics()
        assert after["tx_packets"] == sent, \
            f"{after['tx_packets'] - sent} were sent after the removal"
        counted = changes(before)
        assert counted.get("tx_packets", 0) + counted.get("tx_dropped", 0) == 400, counted
        print(f"of 400 that were under way, {counted.get('tx_packets', 0)} were sent before the "
              "peer was gone")
        # Messages of the removed peer are not taken any more.
        dropped("data of a peer that was removed", lambda: far.send(session.seal()),
                f"Invalid handshake initiation from {name_of(far.sock)}$",
                barrier=lambda: far.send(far.initiation()))
        silent(far)

    # The same while data arrives.
    for _ in range(4):
        session = add()
        messages = [session.seal(ipv4("10.8.0.2", "10.8.0.1", 17, udp(9, 9, bytes(1000))))
                    for _ in range(200)]
        child = os.fork()
        if child == 0:
            while True:
                for message in messages:
                    far.send(message)
        before = statistics()
        until("data to come in", lambda: changes(before).get("rx_packets", 0) > 50)
        kernel.do(wgnl.SET_DEVICE, remove)
        sent = int(open(STATISTICS + "tx_packets").read())
        time.sleep(0.2)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert statistics()["tx_packets"] == sent
        read_all()
        silent(far)


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
        xmit, staged, small_buffer, outside, datagrams, handshakes, response, private_key, sessions,
        cookies, data, window, inner, overflow, strangers, removed, dsfield)}[name](key)
