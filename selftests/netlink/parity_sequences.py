# SPDX-License-Identifier: GPL-2.0
"""Hand-made requests for parity_netlink.py: the results of well-formed ones, one after another."""

import hashlib
import socket
import struct
import subprocess

import parity_requests
from wgtest.record import TAKEN_PORT, V4, V6, ip, public_key, take_port
from wgtest.requests import ips, key, remove, sockaddr_in, sockaddr_in6, v4, v6
from wgtest.wgnl import (A_FLAGS, A_FWMARK, A_IFNAME, A_LISTEN_PORT, A_PEERS, A_PRIVATE_KEY, I_CIDR,
                         I_FLAGS, P_ENDPOINT, P_FLAGS, P_KEEPALIVE, P_PRESHARED_KEY,
                         P_PROTOCOL_VERSION, P_PUBLIC_KEY, REMOVE_ME, REPLACE_ALLOWEDIPS,
                         REPLACE_PEERS, allowedip, attr, nest, peer, u16, u32, u8)


def flags(r):
    """All combinations of a peer's flags, for a peer that is there and one that is not."""
    parts = {
        "nothing": (),
        "a keepalive interval": (attr(P_KEEPALIVE, u16(9)),),
        "a preshared key": (attr(P_PRESHARED_KEY, key(7)),),
        "an allowed IP": (ips(v4("10.0.0.7")),),
        "a wrong allowed IP": (ips(v4("10.0.0.8", 99)),),
        "version 2": (attr(P_PROTOCOL_VERSION, u32(2)),),
    }
    for bits in range(9):
        r.reset()
        for title, attrs in parts.items():
            r.peers(
                "as before",
                peer(key(1), attr(P_FLAGS, u32(REPLACE_ALLOWEDIPS)),
                     attr(P_KEEPALIVE, u16(1)), ips(v4("10.0.0.1"))),
            )
            r.peers(f"flags {bits:#x} with {title}, there",
                    peer(key(1), attr(P_FLAGS, u32(bits)), *attrs))
            r.peers(f"flags {bits:#x} with {title}, not there",
                    peer(key(2), attr(P_FLAGS, u32(bits)), *attrs))
            r.set(
                f"flags {bits:#x} with {title}, all others replaced",
                attr(A_FLAGS, u32(REPLACE_PEERS)),
                nest(A_PEERS, peer(key(1), attr(P_FLAGS, u32(bits)), *attrs)),
            )


def keys(r):
    """Private keys, and peers that have the interface's own."""
    private = [hashlib.sha256(b"private %d" % i).digest() for i in range(3)]
    public = [public_key(p) for p in private]
    for value in (private[0], bytes(31) + b"\x80", b"\xff" * 32,
                  b"\7" + bytes(30) + b"\xc0", bytes(32), b"\1" + bytes(31)):
        r.set(f"private key {value.hex()}", attr(A_PRIVATE_KEY, value))
        r.set("the same again", attr(A_PRIVATE_KEY, value))
    r.set("no private key", attr(A_PRIVATE_KEY, bytes(32)))
    r.peers("peers with keys that will be ours",
            *(peer(k, ips(v4(f"10.0.0.{i}"))) for i, k in enumerate(public)))
    for i in (0, 1, 1, 0):
        r.set(f"private key {i}", attr(A_PRIVATE_KEY, private[i]))
        r.peers("ourselves as a peer", peer(public[i], ips(v4("10.0.0.99"))))
        r.peers("ourselves among others", peer(key(1)),
                peer(public[i], ips(v4("10.0.0.1", 99))), peer(public[1 - i]))
        r.peers("ourselves, removed", peer(public[i], attr(P_FLAGS, u32(REMOVE_ME))))
    r.set("a key and its peer together", attr(A_PRIVATE_KEY, private[2]),
          nest(A_PEERS, peer(public[2]), peer(public[0])))
    r.set("no key, and what was ours as a peer",
          attr(A_PRIVATE_KEY, bytes(32)), nest(A_PEERS, peer(public[2])))
    # Points of low order: no shared secret can be made with them, but they may be configured.
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
    ):
        r.peers(f"peer {point}", peer(bytes.fromhex(point), attr(P_KEEPALIVE, u16(1))))
    r.up(True)
    r.set("a key while up", attr(A_PRIVATE_KEY, private[0]))
    r.set("another key while up", attr(A_PRIVATE_KEY, private[1]))
    r.set("no key while up", attr(A_PRIVATE_KEY, bytes(32)))


def prefixes(r):
    """Allowed IPs of all lengths, which move between peers and are removed."""
    r.reset()
    for length in range(34):
        r.peers(f"IPv4, length {length}", peer(key(1), ips(v4("255.170.85.51", length))))
    for length in (*range(0, 128, 9), 63, 64, 65, 127, 128, 129, 255):
        r.peers(f"IPv6, length {length}",
                peer(key(1), ips(v6("ffff:aaaa:5555:3333:ffff:aaaa:5555:3333", length))))
    r.peers(
        "some go to another", peer(
            key(2), ips(v4("255.170.85.51", 24), v6("ffff:aaaa:5555:3333::", 63), v4("0.0.0.0", 0)))
    )
    r.peers(
        "all the same again", peer(
            key(2), ips(v4("255.170.85.51", 24), v6("ffff:aaaa:5555:3333::", 63), v4("0.0.0.0", 0)))
    )
    r.peers("one back, by its host bits", peer(key(1), ips(v4("255.170.85.99", 24))))
    r.peers("removal of one", peer(key(1), ips(remove(v4("255.170.85.51", 32)))))
    r.peers("removal by host bits", peer(key(1), ips(remove(v4("255.170.255.255", 17)))))
    r.peers("removal of one that is not there", peer(key(1), ips(remove(v4("1.2.3.4", 32)))))
    r.peers("removal of another's", peer(key(1), ips(remove(v4("0.0.0.0", 0)))))
    r.peers("removal by a new peer", peer(key(3), ips(remove(v4("0.0.0.0", 0)))))
    r.peers("removal of a wrong length", peer(key(1), ips(remove(v4("1.2.3.4", 33)))))
    r.peers("removal of an IPv6 one",
            peer(key(1), ips(remove(v6("ffff:aaaa:5555:3333:ffff:aaaa:5555:3333", 128)))))
    r.peers("removal and addition",
            peer(key(1), ips(remove(v6("::", 0)), v6("::", 0), remove(v4("128.0.0.0", 1)))))
    r.peers("addition and removal", peer(key(1), ips(v4("9.9.9.9"), remove(v4("9.9.9.9")))))
    r.peers(
        "two peers fight for one",
        peer(key(1), ips(v4("8.8.8.8"))),
        peer(key(2), ips(v4("8.8.8.8"))),
        peer(key(1), ips(v4("8.8.8.8"))),
    )
    r.peers("replaced", peer(
        key(1), attr(P_FLAGS, u32(REPLACE_ALLOWEDIPS)), ips(v4("7.0.0.0", 8), v6("fd00::", 8))))
    r.peers(
        "replaced by another's",
        peer(key(1), attr(P_FLAGS, u32(REPLACE_ALLOWEDIPS)),
             ips(v4("255.170.85.0", 24), v4("0.0.0.0", 0))),
    )
    r.peers("replaced and removed",
            peer(key(1), attr(P_FLAGS, u32(REPLACE_ALLOWEDIPS)), ips(remove(v4("0.0.0.0", 0)))))
    r.peers("replaced by none", peer(key(1), attr(P_FLAGS, u32(REPLACE_ALLOWEDIPS))))
    r.peers("their peer removed", peer(key(2), attr(P_FLAGS, u32(REMOVE_ME))))
    r.peers("and made again", peer(key(2)))
    r.peers("400 together",
            peer(key(4), ips(*(v4(f"10.{i >> 8}.{i & 255}.0", 25) for i in range(400)))))
    r.peers("half of them taken",
            peer(key(5), ips(*(v4(f"10.{i >> 8}.{i & 255}.0", 25) for i in range(0, 400, 2)))))
    r.peers("and the owner removed", peer(key(4), attr(P_FLAGS, u32(REMOVE_ME))))


def partial(r):
    """Requests that fail in their middle: the part before the mistake has been carried out."""
    bad = {
        "no key": nest(0),
        "a short key": peer(key(2)[:31]),
        "an unknown flag": peer(key(2), attr(P_FLAGS, u32(8))),
        "version 2": peer(key(2), attr(P_PROTOCOL_VERSION, u32(2)), attr(P_KEEPALIVE, u16(2))),
        "not nested": attr(0, attr(P_PUBLIC_KEY, key(2))),
        "an unknown attribute": peer(key(2), attr(50)),
        "no family": peer(
            key(2), attr(P_KEEPALIVE, u16(2)),
            ips(v4("10.0.2.1"), nest(0, attr(I_CIDR, u8(1))), v4("10.0.2.2"))
        ),
        "a length of 33": peer(
            key(2), attr(P_PRESHARED_KEY, key(2)),
            ips(v4("10.0.2.1"), v4("10.0.2.3", 33), v4("10.0.2.2"))
        ),
        "an unknown family": peer(
            key(2), attr(P_ENDPOINT, sockaddr_in("192.0.2.2", 2)),
            ips(v6("fd::2"), allowedip(99, bytes(4), 1))
        ),
        "a wrong length of the address": peer(
            key(2), ips(allowedip(V6, bytes(15), 1), v4("10.0.2.2"))),
        "an unknown flag of an allowed IP": peer(
            key(2), ips(v4("10.0.2.1"), v4("10.0.2.2", 32, attr(I_FLAGS, u32(4))))),
        "an allowed IP that is not nested": peer(
            key(2), ips(v4("10.0.2.1"), attr(0, v4("10.0.2.2")[4:]))),
        "garbage in a peer": nest(0, attr(P_PUBLIC_KEY, key(2)), b"\xff" * 7),
        "one of 28 bytes for IPv4": peer(
            key(2), attr(P_ENDPOINT, sockaddr_in("192.0.2.2", 2) + bytes(12))),
        "one of 16 bytes for IPv6": peer(
            key(2), attr(P_ENDPOINT, sockaddr_in6("fd::1", 2)[:16]), attr(P_KEEPALIVE, u16(3))),
    }
    change = (attr(A_PRIVATE_KEY, key(20)), attr(A_LISTEN_PORT, u16(1)),
              attr(A_FWMARK, u32(6)), attr(A_FLAGS, u32(1)))
    for title, middle in bad.items():
        r.reset()
        r.peers("before", peer(key(1), ips(v4("10.0.1.1"))), peer(key(2), ips(v4("10.0.1.2"))))
        r.set(
            f"one of several: {title}",
            *change,
            nest(A_PEERS, peer(key(3), ips(v4("10.0.3.1"))),
                 middle, peer(key(4), ips(v4("10.0.4.1")))),
        )
        r.peers(f"alone: {title}", middle)
        r.peers(
            f"last of several: {title}",
            peer(key(5), attr(P_FLAGS, u32(REMOVE_ME))),
            peer(key(3), attr(P_FLAGS, u32(REMOVE_ME))),
            middle,
        )
    for title, wrong in (
        ("mark", attr(A_FWMARK, u16(1))),
        ("flags", attr(A_FLAGS, u32(2))),
        ("key", attr(A_PRIVATE_KEY, bytes(31))),
    ):
        r.set(f"a wrong {title} with all else right",
              attr(A_LISTEN_PORT, u16(65535)), nest(A_PEERS, peer(key(6))), wrong)
    taken = take_port()
    r.up(True)
    r.set(
        "a taken port with all else right",
        attr(A_LISTEN_PORT, u16(TAKEN_PORT)),
        attr(A_FWMARK, u32(44)),
        attr(A_FLAGS, u32(1)),
        attr(A_PRIVATE_KEY, key(21)),
        nest(A_PEERS, peer(key(8))),
    )
    taken.close()


def endpoints(r):
    """Endpoints of all sizes and families."""
    values = [
        sockaddr_in("192.0.2.1", 51820),
        sockaddr_in("192.0.2.1", 51820, b"\1\2\3\4\5\6\7\10"),
        sockaddr_in("192.0.2.2", 1, b"\xff" * 8),
        sockaddr_in("192.0.2.2", 1),
        sockaddr_in("0.0.0.0", 0),
        sockaddr_in("255.255.255.255", 65535),
        sockaddr_in("224.0.0.1", 1),
        sockaddr_in6("2001:db8::1", 51820),
        sockaddr_in6("2001:db8::1", 51820, 0xFFFFF),
        sockaddr_in6("2001:db8::1", 51820, 5, 7),
        sockaddr_in6("2001:db8::1", 51820, 0xFFFFFFFF, 7),
        sockaddr_in6("fe80::1", 1, 0, 1),
        sockaddr_in6("fe80::1", 1, 0, 0xFFFFFFFF),
        sockaddr_in6("fe80::1", 1, 9, 0xFFFFFFFF),
        sockaddr_in6("::", 0),
        sockaddr_in6("::ffff:192.0.2.1", 9),
        sockaddr_in6("ff02::1", 2),
        sockaddr_in("127.0.0.1", 9),
    ]
    for up in (False, True):
        r.reset()
        r.up(up)
        r.peers("without", peer(key(1)))
        for value in values:
            r.peers(f"{value.hex()}", peer(key(1), attr(P_ENDPOINT, value)))
            r.peers(f"{value.hex()} again", peer(key(1), attr(P_ENDPOINT, value)))
        r.set("a mark after it", attr(A_FWMARK, u32(1)))
    for family in (0, 1, V4, 3, V6, 16, 17, 40, 0x0200, 0xFFFF):
        for size in (2, 4, 15, 16, 17, 20, 24, 27, 28, 29, 32, 128):
            value = (struct.pack("=H", family) + bytes(range(200)))[:size]
            r.peers(f"family {family}, {size} bytes", peer(key(1), attr(P_ENDPOINT, value)))


def up_and_down(r):
    """Ports, marks and keepalives of an interface that goes up and down."""
    taken = take_port()
    port = lambda title, number: r.set(title, attr(A_LISTEN_PORT, u16(number)))
    r.up(True)
    port("a port", 4242)
    port("the same", 4242)
    port("a taken one", TAKEN_PORT)
    port("the same again", 4242)
    port("any", 0)
    port("any again", 0)
    port("a taken one again", TAKEN_PORT)
    port("a mark and a taken one", TAKEN_PORT)
    r.set("a mark and a taken port", attr(A_FWMARK, u32(4)), attr(A_LISTEN_PORT, u16(TAKEN_PORT)))
    r.up(False)
    r.up(True)
    port("one that is free", 5182)
    r.up(False)
    port("a taken one while down", TAKEN_PORT)
    r.up(True)
    r.set("a taken one that it has already", attr(A_LISTEN_PORT, u16(TAKEN_PORT)))
    ip("link", "add", "wg1", "type", "wireguard")
    taken.close()
    r.up(True)
    r.set("wg1: the port of wg0", attr(A_LISTEN_PORT, u16(TAKEN_PORT)), name=attr(A_IFNAME, "wg1"))
    failed = subprocess.run(["ip", "link", "set", "wg1", "up"], capture_output=True, text=True)
    r.write("wg1: up", b"", failed.returncode, failed.stderr, core=True)
    r.get("wg1: get", attr(A_IFNAME, "wg1"))
    only_v4 = socket.socket(V4, socket.SOCK_DGRAM)
    only_v4.bind(("127.0.0.1", 1))
    port("one that is taken on one address only", 1)
    only_v4.close()
    r.peers("a keepalive without an endpoint",
            peer(key(1), attr(P_KEEPALIVE, u16(1)), ips(v4("10.0.0.1"))))
    r.peers("a keepalive with one",
            peer(key(1), attr(P_KEEPALIVE, u16(2)), attr(P_ENDPOINT, sockaddr_in("192.0.2.1", 1))))
    r.peers("off", peer(key(1), attr(P_KEEPALIVE, u16(0))))
    r.set("a key", attr(A_PRIVATE_KEY, key(9)))
    r.peers("on", peer(key(1), attr(P_KEEPALIVE, u16(3))))
    r.set("all peers removed", attr(A_FLAGS, u32(REPLACE_PEERS)))
    r.up(False)
    r.up(False)


PARTS = {"flags": (flags, keys), "prefixes": (prefixes,),
         "partial": (partial,), "endpoints": (endpoints, up_and_down)}


def main(family):
    parity_requests.main(family, PARTS)
