# SPDX-License-Identifier: GPL-2.0
"""Requests to the `wireguard` family: their parts, and whole ones that a seeded generator makes."""

import hashlib
import random
import socket
import struct

from wgtest.record import NAME, PORTS, V4, V6, public_key
from wgtest.wgnl import (A_FLAGS, A_FWMARK, A_LISTEN_PORT, A_PEERS, A_PRIVATE_KEY, A_PUBLIC_KEY,
                         I_CIDR, I_FAMILY, I_FLAGS, I_IPADDR, NESTED, P_ALLOWEDIPS, P_ENDPOINT,
                         P_FLAGS, P_KEEPALIVE, P_LAST_HANDSHAKE, P_PRESHARED_KEY,
                         P_PROTOCOL_VERSION, P_PUBLIC_KEY, P_RX_BYTES, P_TX_BYTES, allowedip, attr,
                         nest, peer, u16, u32, u8)


def key(number):
    return hashlib.sha256(b"key %d" % number).digest()


def v4(address, cidr=32, *attrs):
    return allowedip(V4, socket.inet_aton(address), cidr, *attrs)


def v6(address, cidr=128, *attrs):
    return allowedip(V6, socket.inet_pton(V6, address), cidr, *attrs)


def ips(*entries):
    return nest(P_ALLOWEDIPS, *entries)


def remove(entry):
    """The same allowed IP, to be removed."""
    return nest(0, entry[4:], attr(I_FLAGS, u32(1)))


def sockaddr_in(address, port, zero=bytes(8)):
    return struct.pack("=H", V4) + struct.pack(">H", port) + socket.inet_aton(address) + zero


def sockaddr_in6(address, port, flowinfo=0, scope=0):
    return struct.pack("=H", V6) + struct.pack(">HI", port, flowinfo) + \
        socket.inet_pton(V6, address) + u32(scope)


PEER = {
    P_PRESHARED_KEY: (key(3), bytes(32)),
    P_FLAGS: tuple(u32(flags) for flags in range(9)) + (u32(0x80000001),),
    P_ENDPOINT: (sockaddr_in("192.0.2.1", 51820), sockaddr_in6("2001:db8::1", 51820)),
    P_KEEPALIVE: (u16(25), u16(0), u16(65535)),
    P_LAST_HANDSHAKE: (bytes(16), b"\1" * 16),
    P_RX_BYTES: (bytes(8), b"\1" * 8),
    P_TX_BYTES: (bytes(8), b"\1" * 8),
    P_PROTOCOL_VERSION: (u32(1), u32(0), u32(2), u32(0xFFFFFFFF)),
}
PRIVATE = [bytes(32), b"\x10" * 31 + b"\x50", b"\xff" * 32, key(101), key(102)]


class Maker:
    """Makes requests."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        # Some peers sometimes have the interface's own key.
        self.keys = [key(i) for i in range(6)] + [public_key(private) for private in PRIVATE[1:]]

    def maybe(self, probability):
        return self.chance.random() < probability

    def odd(self, good, probability=0.04):
        """The good value or, seldom, one of another size or with random bytes."""
        if not self.maybe(probability):
            return good
        return self.chance.choice([b"", good[:-1], good + b"\0",
                                   good * 2, self.chance.randbytes(self.chance.randrange(40))])

    def kind(self, kind):
        """The type of an attribute, seldom with the wrong flag for nesting."""
        return kind ^ (NESTED if self.maybe(0.02) else 0)

    def some(self, *attrs):
        """Attributes with the probability that each of them is there."""
        present = [self.attr(*rest) for probability, *rest in attrs if self.maybe(probability)]
        if self.maybe(0.02):
            present.append(attr(self.chance.randrange(14), self.chance.randbytes(4)))
        if self.maybe(0.2):
            self.chance.shuffle(present)
        return b"".join(present) + (self.chance.randbytes(self.chance.randrange(1, 5))
                                    if self.maybe(0.01) else b"")

    def attr(self, kind, value):
        return attr(self.kind(kind), value)

    def address(self, family):
        # Few different addresses, so that peers take them from each other.
        if family == V4:
            address = bytes([10, self.chance.randrange(3),
                             self.chance.randrange(2), self.chance.choice([0, 1, 255])])
        elif family == V6:
            address = bytes([0x20, 1, self.chance.randrange(2)]) + bytes(12) + \
                bytes([self.chance.randrange(3)])
        else:
            address = self.chance.randbytes(self.chance.choice([4, 16]))
        return self.chance.choice([address[:3], address + b"\0", bytes(16), bytes(4)]) \
            if self.maybe(0.05) else address

    def allowed_ip(self):
        family = self.chance.choice([V4, V4, V4, V6, V6, V6, self.chance.randrange(20)])
        cidr = 32 if family == V4 else 128
        if self.maybe(0.5):
            cidr = self.chance.choice([0, 8, 16, 24, 31, 32, 32, 33, 64, 127, 128, 129, 255])
        return attr(
            self.kind(self.chance.choice([0, 0, 1, 7]) | NESTED),
            self.some(
                (0.97, I_FAMILY, self.odd(u16(family))),
                (0.97, I_IPADDR, self.address(family)),
                (0.97, I_CIDR, self.odd(u8(cidr))),
                (0.3, I_FLAGS, self.odd(u32(self.chance.choice([0, 0, 0, 1, 1, 1, 2, 3])))),
            ),
        )

    def endpoint(self):
        host, port = self.chance.randrange(9), self.chance.randrange(1 << 16)
        which = self.chance.randrange(6)
        if which <= 1:
            zero = self.chance.choice([bytes(8), self.chance.randbytes(8)])
            return sockaddr_in(f"192.0.2.{host}", port, zero)
        if which <= 3:
            flowinfo = self.chance.choice([0, self.chance.randrange(1 << 32)])
            return sockaddr_in6(f"fe80::{host}", port, flowinfo, self.chance.randrange(3))
        if which == 4:
            return struct.pack("=H", self.chance.choice([V4, V6, 1])) + self.chance.randbytes(
                self.chance.choice([14, 26, 20, 12, 40])
            )
        return b"\xee" + self.chance.randbytes(self.chance.choice([14, 15, 27]))

    def list(self, entry):
        return b"".join(entry() for _ in range(self.chance.randrange(5)))

    def peer(self):
        flags = self.chance.randrange(8) if self.maybe(0.97) else self.chance.randrange(16)
        return attr(
            self.kind(self.chance.choice([0, 0, 3]) | NESTED),
            self.some(
                (0.97, P_PUBLIC_KEY, self.odd(self.chance.choice(self.keys), 0.02)),
                (0.2, P_PRESHARED_KEY, self.odd(self.chance.randbytes(32))),
                (0.5, P_FLAGS, self.odd(u32(flags))),
                (0.3, P_ENDPOINT, self.endpoint()),
                (0.2, P_KEEPALIVE, self.odd(u16(self.chance.choice([0, 1, 25, 65535])))),
                (0.02, P_LAST_HANDSHAKE, self.odd(bytes(16), 0.3)),
                (0.01, P_RX_BYTES, self.odd(bytes(8), 0.3)),
                (0.01, P_TX_BYTES, self.odd(bytes(8), 0.3)),
                (0.5, P_ALLOWEDIPS | NESTED, self.list(self.allowed_ip)),
                (0.15, P_PROTOCOL_VERSION, self.odd(u32(self.chance.choice([1, 1, 1, 1, 0, 2])))),
            ),
        )

    def device(self):
        return self.some(
            (0.1, A_PRIVATE_KEY, self.odd(self.chance.choice(PRIVATE))),
            (0.03, A_PUBLIC_KEY, self.odd(bytes(32))),
            (0.1, A_FLAGS, self.odd(u32(self.chance.choice([0, 0, 1, 2])))),
            (0.1, A_LISTEN_PORT, self.odd(u16(self.chance.choice(sorted(PORTS))))),
            (0.1, A_FWMARK, self.odd(u32(self.chance.randrange(1 << 32)))),
            (0.8, A_PEERS | NESTED, self.list(self.peer)),
        )

    def sound(self):
        """A request that is right."""

        def entry():
            return peer(
                self.chance.choice(self.keys),
                *(attr(kind, self.chance.choice(good[:2]))
                  for kind, good in PEER.items() if self.maybe(0.4)),
                nest(
                    P_ALLOWEDIPS,
                    *(allowedip(V4, self.address(V4)[:4].ljust(4, b"\0"), 32)
                      for _ in range(self.chance.randrange(3))),
                ),
            )

        return (
            NAME
            + attr(A_FLAGS, u32(self.chance.randrange(2)))
            + attr(A_LISTEN_PORT, u16(self.chance.choice(sorted(PORTS))))
            + attr(A_FWMARK, u32(self.chance.randrange(9)))
            + nest(A_PEERS, *(entry() for _ in range(self.chance.randrange(1, 4))))
        )

    def mutate(self, request):
        request = bytearray(request)
        for _ in range(self.chance.choice([1, 1, 2, 3, 8])):
            at, how = self.chance.randrange(len(request)), self.chance.randrange(5)
            if how == 0:
                request[at] = self.chance.randrange(256)
            elif how == 1:
                request[at] ^= 1 << self.chance.randrange(8)
            elif how == 2:  # a length, if there is one
                at &= ~3
                request[at : at + 2] = u16(
                    self.chance.choice(
                        [0, 1, 3, 4, 5, 8, 36, 65535, len(request), len(request) - at])
                )
            elif how == 3 and len(request) > 16:
                del request[at : at + self.chance.randrange(1, 9)]
            elif self.maybe(0.2) and at > 16:
                del request[at:]
        return bytes(request)
