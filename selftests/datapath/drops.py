# SPDX-License-Identifier: GPL-2.0
"""Makes wg0 drop packets for every reason there is, and checks its counters and the log.

drops.py NAME KEY     runs the function NAME below; KEY is the private key of wg0. Both wg0 and the
                      far end of its tunnel are in this namespace
"""

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
from wgtest.extension import EXT, PEER, PEER_SET
from wgtest.loopback import (LOG, PORT, STATISTICS, answered, at, changes, dropped, endpoint_of,
                             established, key_of, name_of, new_peer, silent, statistics, wg)
from wgtest.machine import LIMIT, NoWorkers, until
from wgtest.peer import (COOKIE, DATA, INITIATION, LENGTHS, REJECT_AFTER_MESSAGES, RESPONSE,
                         UDP_SEGMENT)
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

    extension = wgnl.Socket("wireguard_ext")

    def disabled(value):
        extension.do(PEER_SET, wgnl.attr(EXT["ifname"], "wg0") + wgnl.nest(
            EXT["peer"], wgnl.attr(PEER["public-key"], far.public),
            wgnl.attr(PEER["disabled"], wgnl.u8(value))))

    for number in range(8):
        session = add()
        before = statistics()
        # All these packets still wait to be encrypted when the removal begins. Each is sent before
        # the peer is gone, or dropped and counted.
        with NoWorkers():
            for _ in range(400):
                sock.sendto(bytes(15000), ("10.8.0.2", 9))
        if number % 2:
            disabled(1)
        else:
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
        if number % 2:
            disabled(0)
            kernel.do(wgnl.SET_DEVICE, remove)
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
        sent, received = (int(open(STATISTICS + name).read())
                          for name in ("tx_packets", "rx_packets"))
        time.sleep(0.2)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        after = statistics()
        assert (after["tx_packets"], after["rx_packets"]) == (sent, received), (after, received)
        read_all()
        silent(far)


if __name__ == "__main__":
    name, key = sys.argv[1:]
    {function.__name__: function for function in (
        xmit, staged, small_buffer, outside, datagrams, data, window, inner,
        removed)}[name](key)
