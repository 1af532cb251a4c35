# SPDX-License-Identifier: GPL-2.0
"""Packets for the inside of a tunnel, most of them malformed, and the verdicts on them.

In malformed packets a field "lies". The destination of a packet is 10.8.0.2 or fd08::2, or another
address that the stack might take for its own. The source is ALLOWED4 or ALLOWED6, unless it lies.
"""

import struct

from wgtest.wire import checksum, ipv4, ipv6, udp

ALLOWED4, ALLOWED6 = "10.8.0.66", "fd08::66"
SOURCE4, SOURCE6 = bytes((10, 8, 0, 66)), bytes.fromhex("fd08" + "00" * 13 + "66")
OK, LENGTH, FRAME = "taken", "rx_length_errors", "rx_frame_errors"

TCP, UDP, ICMP, ICMP6, NONE = 6, 17, 1, 58, 59
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))


def verdict(plain):
    """The verdict on the content of an authentic message: OK, or the name of the error counter."""
    if not plain:
        return OK
    if len(plain) < 20 or plain[0] >> 4 not in (4, 6) or plain[0] >> 4 == 6 and len(plain) < 40:
        return FRAME
    if plain[0] >> 4 == 4:
        length, source, allowed = int.from_bytes(plain[2:4]), plain[12:16], SOURCE4
        if length < 20:
            return LENGTH
    else:
        length, source, allowed = 40 + int.from_bytes(plain[4:6]), plain[8:24], SOURCE6
    if length > len(plain):
        return LENGTH
    return OK if source == allowed else FRAME


def tcp(sport, dport, seq, ack, flags, payload=b"", options=b"", offset=None, window=1000):
    """A TCP segment without a checksum; with `offset` it lies about where its payload begins."""
    options += bytes(-len(options) % 4)
    offset = 5 + len(options) // 4 if offset is None else offset
    return struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                       (offset & 15) << 4, flags, window, 0, 0) + options + payload


def echo(version, payload):
    head = bytes((8 if version == 4 else 128, 0))
    return head + struct.pack(">H", checksum(head + bytes(2) + payload)) + payload


def extension(random, following):
    """A random kind of IPv6 extension header, and its bytes; its length may lie."""
    kind = random.choice((0, 43, 44, 60, 51, 135))
    if kind == 44:
        return kind, struct.pack(
            ">BBHI", following, random.randrange(256),
            random.choice((0, 1, 8, 1400 & ~7, 0xFFF9)), random.getrandbits(32))
    words = random.choice((0, 0, 1, 3, 31))
    # Options: padding, an alert, a jumbo length, or anything.
    content = random.choice((
        b"\1\4\0\0\0\0", b"\5\2\0\0\1\0", b"\xc2\4\0\1\0\0", random.randbytes(6)))
    claimed = words if random.random() < 0.7 else random.randrange(256)
    return kind, bytes((following, claimed)) + content + random.randbytes(8 * words)


def transport(random, version):
    """The number of a protocol over IP, and random content for it."""
    payload = random.randbytes(random.choice((0, 1, 8, 64, 500, 1300)))
    kind = random.choice((
        TCP, UDP, UDP, ICMP if version == 4 else ICMP6, NONE, random.randrange(256)))
    ports = (random.choice((9, 22, 53, 5201, 51820, random.randrange(65536))),
             random.choice((9, 53, 51820, random.randrange(65536))))
    if kind == TCP:
        return kind, tcp(*ports, random.getrandbits(32),
                         random.getrandbits(32), random.randrange(256), payload,
                         random.randbytes(random.choice((0, 0, 4, 12, 40))),
                         random.choice((None, None, 0, 4, 15)))
    if kind == UDP:
        datagram = udp(*ports, payload)
        return kind, datagram if random.random() < 0.7 else \
            datagram[:4] + random.randbytes(4) + datagram[8:]
    if kind in (ICMP, ICMP6):
        # An echo, or an error about a packet that was never sent.
        return kind, echo(version, payload) if random.random() < 0.3 else bytes((
            random.choice((3, 5, 11, 12, 1, 2, 4, 134, 137)), random.randrange(8))) + \
            random.randbytes(6) + (ipv4("10.8.0.2", ALLOWED4, UDP, payload)
                                   if version == 4 else ipv6("fd08::2", ALLOWED6, UDP, payload))
    return kind, payload


def packet(random, version=None, lie=False):
    """A random packet; with `lie`, any number of its fields may lie."""
    version = version or random.choice((4, 6))
    kind, payload = transport(random, version)
    if version == 4:
        plain = bytearray(ipv4(ALLOWED4, random.choice(("10.8.0.2",) * 4 + (
            "10.8.0.1", "255.255.255.255", "224.0.0.1", "127.0.0.1", "10.8.0.66", "0.0.0.0")),
                               kind, payload))
    else:
        if lie:
            for _ in range(random.choice((0, 0, 1, 2, 8))):
                kind, head = extension(random, kind)
                payload = head + payload
        plain = bytearray(ipv6(ALLOWED6, random.choice(("fd08::2",) * 4 + (
            "fd08::1", "ff02::1", "::1", ALLOWED6, "::", "::ffff:10.8.0.2")), kind, payload))
    if not lie:
        return bytes(plain)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        LIES[random.randrange(len(LIES))](random, plain)
    # Rarely nothing is left; an empty packet would be a keepalive.
    return bytes(plain[:1600]) or b"\0"


def lie_length(random, plain):
    place = 2 if plain and plain[0] >> 4 == 4 else 4
    length = random.choice((0, 1, 19, 20, 39, 40, len(plain) - 1,
                            len(plain) + 1, len(plain) - 40, len(plain) - 39, 0x7FFF, 0xFFFF,
                            random.randrange(65536))) & 0xFFFF
    plain[place:place + 2] = struct.pack(">H", length)


def lie_version(random, plain):
    plain[:1] = bytes((random.randrange(256),))


def lie_checksum(random, plain):
    plain[10:12] = random.randbytes(2)


def lie_source(random, plain):
    if plain and plain[0] >> 4 == 4:
        plain[12:16] = random.choice((bytes((10, 8, 0, 2)), bytes((10, 66, 1, 1)),
                                      bytes((10, 8, 0, 67)), bytes((127, 0, 0, 1)),
                                      bytes(4), b"\xff" * 4, random.randbytes(4)))
    else:
        plain[8:24] = random.choice((
            bytes(16), SOURCE6[:15] + b"\2", SOURCE6[:15] + b"\x67", bytes(15) + b"\1",
            b"\xff\2" + bytes(13) + b"\1", random.randbytes(16)))


def lie_options(random, plain):
    """Adds IPv4 options, or only a header length that claims room for them."""
    if not plain or plain[0] >> 4 != 4:
        return
    words = random.randrange(11)
    plain[0] = 0x45 + words
    if random.random() < 0.7:
        kind = random.choice((b"\x83\x07\x04", b"\x89\x0b\x04", b"\x44\x0c\x05", b"\x07\x27\x04",
                              b"\x94\x04\0", b"\1\1\1", b"\0\0\0", random.randbytes(3)))
        plain[20:20] = (kind + random.randbytes(40))[:4 * words]
        plain[2:4] = struct.pack(">H", len(plain))
    if random.random() < 0.7:
        plain[10:12] = bytes(2)
        plain[10:12] = struct.pack(">H", checksum(bytes(plain[:4 * (plain[0] & 15)])))


def lie_fragment(random, plain):
    if plain and plain[0] >> 4 == 4:
        plain[6:8] = struct.pack(">H", random.choice(
            (0x2000, 0x2001, 1, 185, 0x1FFF, 0x3FFF, 0x8000, 0x4001, random.randrange(65536))))
        plain[10:12] = bytes(2)
        plain[10:12] = struct.pack(">H", checksum(bytes(plain[:20])))


def lie_bits(random, plain):
    for _ in range(random.randrange(1, 8)):
        if plain:
            plain[random.randrange(min(len(plain), 80))] ^= 1 << random.randrange(8)


def lie_short(random, plain):
    del plain[random.randrange(len(plain) + 1):]


def lie_long(random, plain):
    plain += random.randbytes(random.randrange(1, 200))


LIES = (lie_length, lie_version, lie_checksum, lie_source,
        lie_options, lie_fragment, lie_bits, lie_short, lie_long)


def with_ecn(version, bits, mark):
    """A packet with these ECN bits, for an address that does not answer."""
    if version == 4:
        return ipv4(ALLOWED4, "10.8.0.250", NONE, mark, tos=bits)
    return ipv6(ALLOWED6, "fd08::250", NONE, mark, tos=bits)


def train(random):
    """Segments of one flow that GRO might merge, and mostly must not."""
    version, protocol = random.choice((4, 6)), random.choice((TCP, TCP, TCP, UDP))
    size, count = random.choice((1, 8, 100, 500, 1300, 1380)), random.choice((2, 3, 16, 44))
    # 10.8.0.250 and fd08::fa do not answer.
    target = random.choice((2, 250))
    ports, seq, ack = ((random.randrange(1, 65536), random.choice((9, 5201, 51820))),
                       random.getrandbits(32), random.getrandbits(32))
    trouble = random.choice((0, 0.1, 0.5))
    segments = []
    for number in range(count):
        length, flags, options, offset, tos = size, ACK, b"", None, 0
        stamp = random.random() < 0.5 and b"\1\1\x08\x0a" + struct.pack(">II", 1000, 2000)
        options = stamp or b""
        if random.random() < trouble:
            what = random.randrange(10)
            if what == 0:
                seq += random.choice((-size, 1, -1, size, 1 << 31))
            elif what == 1:
                flags = random.randrange(256)
            elif what == 2:
                length = random.choice((0, 1, size // 2, size + 1))
            elif what == 3:
                offset = random.randrange(16)
            elif what == 4:
                ack += random.choice((1, -1, 1 << 31))
            elif what == 5:
                options = random.randbytes(random.choice((4, 12, 40)))
            elif what == 6:
                tos = random.randrange(256)
            elif what == 7:
                flags |= random.choice((PSH, FIN, URG, CWR, ECE, SYN | FIN, RST))
            elif what == 8:
                ports = ports[0] ^ 1, ports[1]
            else:
                segments.append(packet(random, version, lie=True))
        payload = bytes(length)
        part = tcp(*ports, seq, ack, flags, payload, options, offset) if protocol == TCP else \
            udp(*ports, payload)
        seq += length
        whole = ipv4(ALLOWED4, f"10.8.0.{target}", protocol, part, tos=tos) if version == 4 else \
            ipv6(ALLOWED6, f"fd08::{target:x}", protocol, part, tos=tos)
        segments.append(whole)
    return segments
