# SPDX-License-Identifier: GPL-2.0
"""Hand-made requests for parity_netlink.py: each attribute, header and name, right and wrong."""

import hashlib
import socket
import struct

from wgtest.record import DEVICE_NAMES, NAME, PEER_NAMES, V4, V6, Recorder, ip
from wgtest.requests import PEER, ips, key, v4, v6
from wgtest.wgnl import (A_FLAGS, A_FWMARK, A_IFINDEX, A_IFNAME, A_LISTEN_PORT, A_PEERS,
                         A_PRIVATE_KEY, A_PUBLIC_KEY, GET_DEVICE, I_CIDR, I_FAMILY, I_FLAGS,
                         I_IPADDR, NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, P_ALLOWEDIPS,
                         P_FLAGS, P_KEEPALIVE, P_PROTOCOL_VERSION, P_PUBLIC_KEY, REMOVE_ME,
                         SET_DEVICE, TYPE_MASK, attr, nest, peer, u16, u32, u8)

BYTEORDER = 0x4000


def variants(kind, *good):
    """An attribute with each of the good values, and with every mistake: yields (title, bytes)."""
    first = good[0]
    for value in good:
        yield f"{value.hex()}", attr(kind, value)
    yield "empty", attr(kind)
    yield "a byte short", attr(kind, first[:-1])
    yield "a byte long", attr(kind, first + b"\0")
    yield "twice as long", attr(kind, first * 2)
    yield "half as long", attr(kind, first[: len(first) // 2])
    yield "40 bytes", attr(kind, b"\1" * 40)
    yield "marked as nested", attr(kind | NESTED, first)
    yield "marked as of network byte order", attr(kind | BYTEORDER, first)
    yield "twice", attr(kind, first) + attr(kind, good[-1])
    yield "twice, the first wrong", attr(kind, first[:-1]) + attr(kind, first)
    yield "twice, the second wrong", attr(kind, first) + attr(kind, first[:-1])


DEVICE = {
    A_PRIVATE_KEY: (key(1), bytes(32), b"\xff" * 32),
    A_PUBLIC_KEY: (key(2), bytes(32)),
    A_FLAGS: (u32(0), u32(1), u32(2), u32(3), u32(0x80000000)),
    A_LISTEN_PORT: (u16(4242), u16(0), u16(1), u16(65535)),
    A_FWMARK: (u32(7), u32(0), u32(0xFFFFFFFF)),
}


def device(r):
    """Every attribute of the device."""
    for kind, good in DEVICE.items():
        r.reset()
        r.peers("a peer to begin with", peer(key(9)))
        for title, bytes_ in variants(kind, *good):
            r.set(f"{DEVICE_NAMES.get(kind, 'flags')}: {title}", bytes_)
    r.reset()
    r.set("nothing")
    for kind in (0, A_PEERS + 1, 100, TYPE_MASK):
        r.set(f"unknown attribute {kind}", attr(kind, u32(1)))
        r.set(f"unknown attribute {kind}, and a good one after it",
              attr(kind, u32(1)), attr(A_FWMARK, u32(5)))
    r.set(
        "all together",
        attr(A_PRIVATE_KEY, key(1)),
        attr(A_LISTEN_PORT, u16(1)),
        attr(A_FWMARK, u32(9)),
        attr(A_FLAGS, u32(1)),
        nest(A_PEERS, peer(key(2)), peer(key(3))),
    )
    r.set(
        "the other way round",
        nest(A_PEERS, peer(key(4))),
        attr(A_FLAGS, u32(1)),
        attr(A_FWMARK, u32(8)),
        attr(A_LISTEN_PORT, u16(65535)),
        attr(A_PRIVATE_KEY, key(5)),
    )
    for size in range(1, 8):
        r.set(f"{size} bytes at the end", b"\1" * size)
    r.set("an attribute longer than the request", struct.pack("=HH", 100, A_FWMARK) + u32(1))
    r.set("an attribute shorter than its header", struct.pack("=HH", 3, A_FWMARK) + u32(1))
    for what, list_ in (("empty", b""), ("of 1 byte", b"\1"),
                        ("of 4 bytes", b"\4\0\0\0"), ("of garbage", b"\xff" * 9)):
        r.set(f"list of peers {what}", attr(A_PEERS | NESTED, list_))
        r.set(f"list of peers {what}, not nested", attr(A_PEERS, list_))
    r.set("two lists of peers", nest(A_PEERS, peer(key(6))), nest(A_PEERS, peer(key(7))))
    r.set("two lists of peers, the first wrong",
          nest(A_PEERS, nest(0)), nest(A_PEERS, peer(key(8))))


def which(r):
    """Ways to name the interface."""
    ip("link", "add", "wg1", "type", "wireguard")
    ip("link", "add", "dummy0", "type", "dummy")
    ip("link", "property", "add", "dev", "wg0", "altname", "another-name-that-is-longer-than-15")
    ip("link", "property", "add", "dev", "wg0", "altname", "other")
    ip("link", "add", "a23456789012345", "type", "wireguard")
    index, index1 = socket.if_nametoindex("wg0"), socket.if_nametoindex("wg1")
    names = {
        "name": NAME,
        "index": attr(A_IFINDEX, u32(index)),
        "neither": b"",
        "both": NAME + attr(A_IFINDEX, u32(index)),
        "both, of two interfaces": NAME + attr(A_IFINDEX, u32(index1)),
        "two names": attr(A_IFNAME, "lo") + NAME,
        "two indices": attr(A_IFINDEX, u32(1)) + attr(A_IFINDEX, u32(index)),
        "the other's name": attr(A_IFNAME, "wg1"),
        "the other's index": attr(A_IFINDEX, u32(index1)),
        "loopback": attr(A_IFNAME, "lo"),
        "loopback's index": attr(A_IFINDEX, u32(1)),
        "a dummy": attr(A_IFNAME, "dummy0"),
        "a dummy's index": attr(A_IFINDEX, u32(socket.if_nametoindex("dummy0"))),
        "no such name": attr(A_IFNAME, "nosuch"),
        "no such index": attr(A_IFINDEX, u32(99999)),
        "index 0": attr(A_IFINDEX, u32(0)),
        "index -1": attr(A_IFINDEX, u32(0xFFFFFFFF)),
        "index -2147483648": attr(A_IFINDEX, u32(0x80000000)),
        "a longer index": attr(A_IFINDEX, u32(index) + bytes(4)),
        "a shorter index": attr(A_IFINDEX, u16(index)),
        "empty": attr(A_IFNAME, b""),
        "zero": attr(A_IFNAME, ""),
        "no zero": attr(A_IFNAME, b"wg0"),
        "much after the zero": attr(A_IFNAME, b"wg0\0wg1\0"),
        "two zeros": attr(A_IFNAME, b"wg0\0\0"),
        "15 letters": attr(A_IFNAME, "a23456789012345"),
        "16 letters": attr(A_IFNAME, "a234567890123456"),
        "15 letters without zero": attr(A_IFNAME, b"a23456789012345"),
        "another name": attr(A_IFNAME, "other"),
        "a name too long": attr(A_IFNAME, "another-name-that-is-longer-than-15"),
        "bytes": attr(A_IFNAME, b"\xff\xfe\0"),
        "name nested": attr(A_IFNAME | NESTED, "wg0"),
        "index nested": attr(A_IFINDEX | NESTED, u32(index)),
    }
    for title, which_ in names.items():
        r.get(f"get by {title}", which_)
        r.set(f"set by {title}", attr(A_FWMARK, u32(len(title))), name=which_)
    for kind, good in DEVICE.items():
        r.get(f"get with {DEVICE_NAMES.get(kind, 'flags')}", NAME + attr(kind, good[0]))
    r.get("get with peers", NAME + nest(A_PEERS, peer(key(1))))
    r.get("get with an unknown attribute", NAME + attr(100, u32(1)))
    r.get("get with garbage at its end", NAME + b"\1\1")
    ip("link", "set", "wg0", "name", "wg5")
    r.get("get by the old name", NAME)
    r.get("get by the new name", attr(A_IFNAME, "wg5"))
    ip("link", "set", "wg5", "name", "wg0")
    ip("netns", "add", "wgt-elsewhere")
    ip("link", "set", "wg1", "netns", "wgt-elsewhere")
    r.get("get an interface in another namespace", attr(A_IFNAME, "wg1"))
    r.get("get an interface in another namespace by index", attr(A_IFINDEX, u32(index1)))
    ip("netns", "del", "wgt-elsewhere")


def headers(r):
    """Commands, versions and flags."""
    acked = NLM_F_REQUEST | NLM_F_ACK
    mark = NAME + attr(A_FWMARK, u32(3))
    for command in (*range(6), 127, 255):
        r.raw(f"command {command}", command, NAME, acked)
        r.raw(f"command {command} as a dump", command, NAME, acked | NLM_F_DUMP)
    for version in (0, 1, 2, 255):
        r.raw(f"set, version {version}", SET_DEVICE,
              NAME + attr(A_FWMARK, u32(version + 1)), acked, version)
        r.raw(f"get, version {version}", GET_DEVICE, NAME, NLM_F_REQUEST | NLM_F_DUMP, version)
    for bit in range(16):
        r.raw(f"set, flag {1 << bit:#x}", SET_DEVICE,
              NAME + attr(A_FWMARK, u32(1000 + bit)), acked | 1 << bit)
        r.raw(f"get, flag {1 << bit:#x}", GET_DEVICE, NAME, acked | NLM_F_DUMP | 1 << bit)
    r.raw("a set that is no request", SET_DEVICE, mark, NLM_F_ACK)
    r.raw("reserved bits in a set", SET_DEVICE, mark, acked, reserved=1)
    r.raw("reserved bits in a get", GET_DEVICE, NAME, acked | NLM_F_DUMP, reserved=0x8000)
    for size in range(5):
        r.raw(f"a header of {size} bytes", 0, b"", acked, headers=b"\1\1\0\0"[:size])
    strict = Recorder(strict=True)
    strict.get("strict: get", NAME)
    strict.get("strict: get with an attribute of set", NAME + attr(A_FWMARK, u32(1)))
    strict.set("strict: set", attr(A_FWMARK, u32(77)))
    strict.set("strict: set with an unknown attribute", attr(99, u32(1)))


def peers(r):
    """Every attribute of a peer, for a new peer and for one that is there."""
    for kind, good in PEER.items():
        r.reset()
        r.peers("a peer to begin with", peer(key(1), ips(v4("10.0.0.1"))))
        for title, bytes_ in variants(kind, *good):
            r.peers(f"{PEER_NAMES.get(kind, 'flags')} of one that is there: {title}",
                    peer(key(1), bytes_))
            r.peers(
                f"{PEER_NAMES.get(kind, 'flags')} of a new one: {title}",
                peer(hashlib.sha256(title.encode()).digest(), bytes_),
            )
        r.set("none left", attr(A_FLAGS, u32(1)))
    r.reset()
    for title, bytes_ in variants(P_PUBLIC_KEY, key(1), key(2), bytes(32), b"\xff" * 32):
        r.peers(f"key: {title}", nest(0, bytes_))
    r.peers("without a key", nest(0))
    r.peers("without a key, but all else",
            nest(0, *(attr(kind, good[0]) for kind, good in PEER.items())))
    r.peers("all together", peer(
        key(3), *(attr(kind, good[0]) for kind, good in PEER.items()), ips(v4("10.0.0.9"))))
    r.peers(
        "the key last",
        nest(0, ips(v6("fd00::9")), *(attr(kind, good[0]) for kind, good in PEER.items()),
             attr(P_PUBLIC_KEY, key(4))),
    )
    for kind in (0, P_PROTOCOL_VERSION + 1, 100, TYPE_MASK):
        r.peers(f"unknown attribute {kind}", peer(key(1), attr(kind, u32(1))))
    for element in (0, 1, 2, 1000, TYPE_MASK):
        r.peers(f"an element of type {element}",
                nest(element, attr(P_PUBLIC_KEY, key(5)), attr(P_KEEPALIVE, u16(element))))
        r.peers(
            f"an element of type {element} that is not nested",
            attr(element, attr(P_PUBLIC_KEY, key(6)) + attr(P_KEEPALIVE, u16(element))),
        )
    for size in range(1, 6):
        r.peers(f"{size} bytes at the end of a peer",
                nest(0, attr(P_PUBLIC_KEY, key(7)), b"\1" * size))
        r.peers(f"{size} bytes at the end of the peers", peer(key(8)), b"\1" * size)
    r.peers("one twice", peer(key(9), attr(P_KEEPALIVE, u16(1))),
            peer(key(9), attr(P_KEEPALIVE, u16(2))))
    r.peers("one made and removed", peer(key(10)), peer(key(10), attr(P_FLAGS, u32(REMOVE_ME))))
    r.peers("one removed and made", peer(key(9), attr(P_FLAGS, u32(REMOVE_ME))), peer(key(9)))


def allowed_ips(r):
    """Every attribute of an allowed IP."""
    family, address, cidr = (
        attr(I_FAMILY, u16(V4)), attr(I_IPADDR, bytes([10, 1, 2, 3])), attr(I_CIDR, u8(32)))
    r.reset()
    for title, bytes_ in variants(I_FAMILY, u16(V4),
                                  *(u16(f) for f in (0, 1, 3, V6, 17, 0x200, 0xFFFF))):
        r.peers(f"family: {title}", peer(key(1), ips(nest(0, bytes_, address, cidr))))
    for title, bytes_ in variants(I_IPADDR, bytes([10, 1, 2, 4]),
                                  bytes(4), b"\xff" * 4, bytes(16), bytes(5)):
        r.peers(f"address: {title}", peer(key(1), ips(nest(0, family, bytes_, cidr))))
        r.peers(f"IPv6 address: {title}",
                peer(key(1), ips(nest(0, attr(I_FAMILY, u16(V6)), bytes_, cidr))))
    for title, bytes_ in variants(I_CIDR, u8(24), u8(0), u8(33), u8(128), u8(255)):
        r.peers(f"length: {title}", peer(key(1), ips(nest(0, family, address, bytes_))))
    for title, bytes_ in variants(I_FLAGS, u32(0), u32(1), u32(2), u32(3), u32(0x80000000)):
        r.peers(f"flags: {title}", peer(key(1), ips(nest(0, family, address, cidr, bytes_))))
    r.reset()
    for title, present in (
        ("family", (address, cidr)),
        ("address", (family, cidr)),
        ("length", (family, address)),
        ("all", ()),
    ):
        r.peers(f"without {title}", peer(key(1), ips(nest(0, *present))))
        r.peers(f"to be removed, without {title}",
                peer(key(1), ips(nest(0, *present, attr(I_FLAGS, u32(1))))))
    for kind in (0, I_FLAGS + 1, 100):
        r.peers(f"unknown attribute {kind}",
                peer(key(1), ips(nest(0, family, address, cidr, attr(kind, u32(1))))))
    for element in (0, 1, TYPE_MASK):
        r.peers(
            f"an element of type {element}",
            peer(key(1), ips(nest(element, family, address, attr(I_CIDR, u8(element & 31))))),
        )
        r.peers(f"an element of type {element}, not nested",
                peer(key(1), ips(attr(element, family + address + cidr))))
    for size in range(1, 6):
        r.peers(f"{size} bytes at the end of one",
                peer(key(1), ips(nest(0, family, address, cidr, b"\1" * size))))
        r.peers(f"{size} bytes at the end of all", peer(key(1), ips(v4("10.9.9.9"), b"\1" * size)))
    for what, list_ in (("empty", b""), ("of 1 byte", b"\1"), ("of garbage", b"\xff" * 9)):
        r.peers(f"list {what}", peer(key(1), attr(P_ALLOWEDIPS | NESTED, list_)))
        r.peers(f"list {what}, not nested", peer(key(1), attr(P_ALLOWEDIPS, list_)))
    r.peers("two lists", peer(key(1), ips(v4("10.4.0.0", 24)), ips(v4("10.5.0.0", 24))))


PARTS = {"device": (device, which, headers), "peers": (peers,), "allowedips": (allowed_ips,)}


def main(family, parts=PARTS):
    for part in parts[family]:
        recorder = Recorder()
        recorder.reset()
        part(recorder)
