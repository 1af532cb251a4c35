# SPDX-License-Identifier: GPL-2.0
"""The parts of parity_netlink.py about interfaces as rtnetlink shows, makes and changes them."""

import socket
import struct

from wgtest.record import V6, Facts, fresh, ip
from wgtest.rtnl import (IFF_NOARP, IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_BROADCAST,
                         IFLA_CARRIER, IFLA_GROUP, IFLA_GRO_SIZE, IFLA_GSO_IPV4_SIZE, IFLA_GSO_SEGS,
                         IFLA_GSO_SIZE, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INET6_CACHEINFO,
                         IFLA_INET6_FLAGS, IFLA_INET6_ICMP6STATS, IFLA_INET6_STATS, IFLA_INFO_DATA,
                         IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINK,
                         IFLA_LINKINFO, IFLA_LINKMODE, IFLA_LINK_NETNSID, IFLA_MASTER, IFLA_MTU,
                         IFLA_NET_NS_FD, IFLA_NET_NS_PID, IFLA_OPERSTATE, IFLA_PROTO_DOWN,
                         IFLA_RX_QUEUES, IFLA_STATS, IFLA_STATS64, IFLA_TXQLEN, IFLA_TX_QUEUES,
                         IFLA_VFINFO, IFLA_XDP, IF_RS_SENT, MAX_MTU, RTM_DELLINK, RTM_GETLINK,
                         RTM_NEWLINK)
from wgtest.wgnl import (NESTED, NLM_F_ACK, NLM_F_REQUEST, TYPE_MASK, Error, Netlink, attr, nest,
                         parse, u16, u32, u8)


class Links(Facts):
    """Facts about links."""

    def __init__(self):
        self.route = Netlink(socket.NETLINK_ROUTE)

    def link(self, title, kind, *attrs, flags=0, ifi=(0, 0, 0, 0)):
        """Sends a request about links to rtnetlink, and writes down its answers."""
        body = struct.pack("=BxHiII", 0, *ifi) + b"".join(attrs)
        self.route.send_message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body)
        errno, words, answers = 0, "", []
        try:
            answers = self.route.acknowledged()
        except Error as error:
            errno, words = error.errno, error.text
        lines = []
        for answer in answers:
            lines.append("struct ifinfomsg " + answer[:16].hex())
            lines += link_lines(answer[16:])
        self.write(title, lines, errno, words)


def link_lines(data):
    """The attributes of a link as lines. Values that depend on the time are left out: counters of
    packets that IPv6 sends, and its times."""
    lines = []
    for kind, value in parse(data):
        if kind in (IFLA_STATS, IFLA_STATS64):
            lines.append(f"{kind} of {len(value)} bytes")
        elif kind != IFLA_AF_SPEC:
            lines.append(f"{kind} {value.hex()}")
        else:
            lines += [f"{kind} {family} {line}" for family, inside in parse(value)
                      for line in family_lines(family, inside)]
    return lines


def family_lines(family, data):
    for kind, value in parse(data):
        if family == V6 and kind in (IFLA_INET6_STATS, IFLA_INET6_ICMP6STATS):
            yield f"{kind} of {len(value)} bytes"
        elif family == V6 and kind == IFLA_INET6_FLAGS:  # without the flag that routers were asked
            yield f"{kind} {struct.unpack('=I', value)[0] & ~IF_RS_SENT:#x}"
        elif family == V6 and kind == IFLA_INET6_CACHEINFO:  # its second and third number are times
            yield f"{kind} {value[:4].hex()} {value[12:].hex()}"
        else:
            yield f"{kind} {value.hex()}"


def link(f):
    """An interface as rtnetlink shows it, after each change that can be made to it."""
    fresh()
    index = socket.if_nametoindex("wg0")

    def change(title, *attrs, flags=0, mask=0):
        f.link(title, RTM_NEWLINK, *attrs, ifi=(0, index, flags, mask))
        f.link(f"after that: {title}", RTM_GETLINK, ifi=(0, index, 0, 0))

    change("nothing")
    f.command("ip", "-d", "link", "show", "wg0")
    for up in (IFF_UP, 0, IFF_UP):
        change(f"up: {up}", flags=up, mask=IFF_UP)
        for mtu in (1280, 1500, 67, 0, 65536, MAX_MTU, MAX_MTU + 1, 0xFFFFFFFF, 1420):
            change(f"MTU {mtu}", attr(IFLA_MTU, u32(mtu)))
        for size in (0, 1, 4, 6, 20):
            change(f"an address of {size} bytes", attr(IFLA_ADDRESS, b"\2" * size))
            change(f"a broadcast address of {size} bytes", attr(IFLA_BROADCAST, b"\2" * size))
        for flag in [1 << bit for bit in range(1, 16)]:
            change(f"flag {flag:#x} on", flags=flag, mask=flag)
            change(f"flag {flag:#x} off", mask=flag)
        change("no NOARP", mask=IFF_NOARP)
        change("NOARP", flags=IFF_NOARP, mask=IFF_NOARP)
        for kind, values in (
            (IFLA_TXQLEN, (u32(5), u32(0xFFFFFFFF), u32(1000))),
            (IFLA_CARRIER, (u8(0), u8(1))),
            (IFLA_LINKMODE, (u8(1), u8(0))),
            (IFLA_OPERSTATE, (u8(5), u8(6))),
            (IFLA_GROUP, (u32(7),)),
            (IFLA_IFALIAS, (b"somebody", b"")),
            (IFLA_PROTO_DOWN, (u8(1), u8(0))),
            (IFLA_MASTER, (u32(1), u32(999), u32(0))),
            (IFLA_LINK, (u32(1),)),
            (IFLA_GSO_SIZE, (u32(1000), u32(524280), u32(600000), u32(65536))),
            (IFLA_GSO_SEGS, (u32(5), u32(65536), u32(65535))),
            (IFLA_GRO_SIZE, (u32(200000), u32(65536))),
            (IFLA_GSO_IPV4_SIZE, (u32(100000), u32(65536))),
            (IFLA_NET_NS_PID, (u32(0x7FFFFFFE),)),
            (IFLA_VFINFO | NESTED, (b"",)),
            (IFLA_XDP | NESTED, (b"", attr(1, u32(0xFFFFFFFF)))),
            (IFLA_TX_QUEUES, (u32(2),)),
            (IFLA_RX_QUEUES, (u32(2),)),
            (200, (b"",)),
        ):
            for value in values:
                change(f"attribute {kind & TYPE_MASK}: {value.hex()}", attr(kind, value))
        for mode in range(5):
            change(f"mode {mode} of making IPv6 addresses",
                   nest(IFLA_AF_SPEC, nest(V6, attr(8, u8(mode)))))
        for kind in ("wireguard", "dummy"):
            change(f"as if a {kind}", nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, kind)))
            change(f"as if a {kind}, with data",
                   nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, kind), nest(IFLA_INFO_DATA)))
    fresh()
    ip("link", "set", "wg0", "up")
    for words in (
        "addr add 10.0.0.1/24 dev wg0",
        "addr add fd00::1/64 dev wg0",
        "addr show dev wg0",
        "route show table all",
        "-6 route show table all",
        "maddr show dev wg0",
        "neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev wg0",
        "neigh show dev wg0",
        "link add br0 type bridge",
        "link set wg0 master br0",
        "link add link wg0 name v1 type vlan id 5",
        "link add link wg0 name m1 type macvlan",
        "link add link wg0 name i1 type ipvlan",
        "link del wg0 type dummy",
        "link del wg0 type wireguard",
        "link show wg0",
    ):
        f.command("ip", *words.split())


def newlink(f):
    """Ways to ask for a new interface, most of them wrong."""
    create = 0x400 | 0x200  # NLM_F_CREATE, NLM_F_EXCL
    kind = lambda *more: nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, "wireguard"), *more)
    name = attr(IFLA_IFNAME, "wg7")
    cases = {
        f"MTU {mtu}": (attr(IFLA_MTU, u32(mtu)),)
        for mtu in (0, 1, 67, 68, 1419, 65535, 65536, 2147483552, 2147483553, 0xFFFFFFFF)
    }
    cases |= {f"an address of {size} bytes": (attr(IFLA_ADDRESS, bytes(size)),)
              for size in (0, 1, 4, 6, 8, 32, 33)}
    cases |= {f"a broadcast address of {size} bytes": (attr(IFLA_BROADCAST, bytes(size)),)
              for size in (0, 1, 6, 32)}
    cases |= {f"txqueuelen {value}": (attr(IFLA_TXQLEN, u32(value)),)
              for value in (0, 1, 0x7FFFFFFF, 0x80000000)}
    cases |= {
        f"{value} {way} queues": (attr(number, u32(value)),)
        for value in (0, 1, 2, 4096, 4097)
        for way, number in (("transmit", IFLA_TX_QUEUES), ("receive", IFLA_RX_QUEUES))
    }
    cases |= {f"carrier {value}": (attr(IFLA_CARRIER, u8(value)),) for value in (0, 1)}
    cases |= {f"GSO size {value}": (attr(IFLA_GSO_SIZE, u32(value)),)
              for value in (0, 1, 65536, 524280, 524281)}
    cases |= {f"namespace number {value}": (attr(IFLA_LINK_NETNSID, u32(value)),)
              for value in (0, 5, 0xFFFFFFFF)}
    cases |= {
        "as it should be": (),
        "a group": (attr(IFLA_GROUP, u32(3)),),
        "a link": (attr(IFLA_LINK, u32(1)),),
        "no such link": (attr(IFLA_LINK, u32(999)),),
        "a master": (attr(IFLA_MASTER, u32(1)),),
        "no such master": (attr(IFLA_MASTER, u32(999)),),
        "operstate up": (attr(IFLA_OPERSTATE, u8(6)),),
        "link mode dormant": (attr(IFLA_LINKMODE, u8(1)),),
        "an alias": (attr(IFLA_IFALIAS, b"somebody"),),
        "proto down": (attr(IFLA_PROTO_DOWN, u8(1)),),
        "a namespace that is no file": (attr(IFLA_NET_NS_FD, u32(999)),),
        "a process that is not there": (attr(IFLA_NET_NS_PID, u32(0x7FFFFFFE)),),
        "virtual functions": (attr(IFLA_VFINFO | NESTED),),
        "an unknown attribute": (attr(200, u32(1)),),
        "a short MTU": (attr(IFLA_MTU, u16(1)),),
    }
    for title, attrs in cases.items():
        f.link(f"new with {title}", RTM_NEWLINK, name, kind(), *attrs, flags=create)
        f.link(f"new with {title}: show", RTM_GETLINK, name)
        f.link(f"new with {title}: delete", RTM_DELLINK, name)
    kinds = {
        "data": kind(attr(IFLA_INFO_DATA, b"")),
        "nested data": kind(nest(IFLA_INFO_DATA)),
        "data with attributes": kind(nest(IFLA_INFO_DATA, attr(1, u32(1)))),
        "data that is garbage": kind(attr(IFLA_INFO_DATA, b"\xff" * 9)),
        "data for its master": kind(
            attr(IFLA_INFO_SLAVE_KIND, "bridge"), nest(IFLA_INFO_SLAVE_DATA)),
        "no kind": nest(IFLA_LINKINFO),
        "an empty kind": nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, "")),
        "a long kind": nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, "w" * 60)),
        "another kind": nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, "wireguardx")),
        "kind not nested": attr(IFLA_LINKINFO, attr(IFLA_INFO_KIND, "wireguard")),
    }
    for title, what in kinds.items():
        f.link(f"new with {title}", RTM_NEWLINK, name, what, flags=create)
        f.link(f"new with {title}: change it", RTM_NEWLINK, name, what)
        f.link(f"new with {title}: show", RTM_GETLINK, name)
        f.link(f"new with {title}: delete", RTM_DELLINK, name)
    for what in ("", "a23456789012345", "a234567890123456",
                 "a/b", ".", "..", "a b", "wg%d", "wg%s", "%d%d", "all", "lo"):
        f.link(f"called {what!r}", RTM_NEWLINK, attr(IFLA_IFNAME, what), kind(), flags=create)
        f.link(f"called {what!r}: show", RTM_GETLINK, attr(IFLA_IFNAME, what.replace("%d", "0")))
        f.link(f"called {what!r}: delete", RTM_DELLINK, attr(IFLA_IFNAME, what.replace("%d", "0")))
    f.link("number 4242", RTM_NEWLINK, name, kind(), flags=create, ifi=(0, 4242, 0, 0))
    f.link("number 4242: show", RTM_GETLINK, ifi=(0, 4242, 0, 0))
    f.link("number 4242 again", RTM_NEWLINK, attr(IFLA_IFNAME, "wg8"),
           kind(), flags=create, ifi=(0, 4242, 0, 0))
    f.link("the name again", RTM_NEWLINK, name, kind(), flags=create)
    f.link("delete it", RTM_DELLINK, name)
    f.link("up from the start", RTM_NEWLINK, name, kind(), flags=create, ifi=(0, 0, 1, 1))
    f.link("up from the start: show", RTM_GETLINK, name)


PARTS = {"link": link, "newlink": newlink}


def main(part):
    PARTS[part](Links())
