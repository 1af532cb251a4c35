# SPDX-License-Identifier: GPL-2.0
"""Reads WireGuard's traffic from captures, sends an attacker's messages, and makes packets for
other programs. It is run with `python3 -m wgtest.wire`.

wire.py show FILE                     prints the IP packets of a capture, one a line:
                                      src dst dsfield protocol length
                                      and for UDP: sport dport payload-length WireGuard-type
wire.py classes FILE                  prints the packets of a capture with data of WireGuard, one a
                                      line: IP version dsfield flow-label payload-length
wire.py pieces FILE                   prints the fragments of a capture, one IP packet a line:
                                      length offset more|last, and DF for IPv4 packets that must not
                                      be fragmented
wire.py checksums FILE PORT           prints the UDP checksums of the datagrams to PORT, one a line:
                                      right, wrong or none, and the length of the payload
wire.py replay FILE TYPE ADDR PORT    sends the messages of this type again, from this machine's own
                                      address and another port; prints their number
wire.py garbage ADDR PORT             sends datagrams of many lengths that are almost WireGuard
                                      messages
wire.py flood KEY COUNT ADDR PORT     sends random initiations whose mac1 is right for the public
                                      KEY, and prints the number of answers of each WireGuard type
wire.py sessions FILE PORT ADDR TIME [other]
                                      checks the key changes of a tunnel whose initiator has the
                                      address ADDR, and which is never silent after TIME; with
                                      `other` the initiator is another implementation
"""

import base64
import hashlib
import os
import random
import socket
import struct
import sys

# The offset of the IP header, by the link type of the capture: Ethernet, raw IP twice, any device.
LINK = {1: 14, 12: 0, 101: 0, 276: 20}

# Buffers of any size, for root; Python has no names for them.
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33


def captured(name):
    """Yields each IP packet of a capture: (time in seconds, packet)."""
    with open(name, "rb") as file:
        data = file.read()
    start = LINK[struct.unpack_from("=I", data, 20)[0]]
    at = 24
    while at + 16 <= len(data):
        seconds, micros, size = struct.unpack_from("=III", data, at)
        yield seconds + micros / 1e6, data[at + 16 + start:at + 16 + size]
        at += 16 + size


def packets(name):
    """The captured IP packets."""
    return (packet for _, packet in captured(name))


def split(packet):
    """(source, destination, DS field, protocol, payload) of an IP packet. The length of the payload
    is that in the header."""
    if packet[0] >> 4 == 4:
        head, total = (packet[0] & 15) * 4, struct.unpack_from(">H", packet, 2)[0]
        return (socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]),
                packet[1], packet[9], packet[head:total])
    total = struct.unpack_from(">H", packet, 4)[0]
    field = struct.unpack_from(">H", packet)[0] >> 4 & 255
    return (socket.inet_ntop(socket.AF_INET6, packet[8:24]),
            socket.inet_ntop(socket.AF_INET6, packet[24:40]), field,
            packet[6], packet[40:40 + total])


def show(name):
    for packet in packets(name):
        source, destination, field, protocol, payload = split(packet)
        line = f"{source} {destination} {field:#04x} {protocol} {len(payload)}"
        if protocol == socket.IPPROTO_UDP:
            sport, dport = struct.unpack_from(">HH", payload)
            line += f" {sport} {dport} {len(payload) - 8} {payload[8] if len(payload) > 8 else '-'}"
        print(line)


def classes(name):
    for packet in packets(name):
        _, _, field, protocol, payload = split(packet)
        # A keepalive has 32 bytes.
        if protocol == socket.IPPROTO_UDP and payload[8] == 4 and len(payload) > 8 + 32:
            label = struct.unpack_from(">I", packet)[0] & 0xfffff if packet[0] >> 4 == 6 else 0
            print(packet[0] >> 4, f"{field:02x} {label:05x} {len(payload) - 8}")


def pieces(name):
    for packet in packets(name):
        if packet[0] >> 4 == 4:
            total, field = struct.unpack_from(">H2xH", packet, 2)
            offset, more, never = (field & 0x1FFF) * 8, field & 0x2000, field & 0x4000
        else:
            total, offset, more, never = 40 + struct.unpack_from(">H", packet, 4)[0], 0, 0, 0
            if packet[6] == socket.IPPROTO_FRAGMENT:
                field, = struct.unpack_from(">H", packet, 42)
                offset, more = field & 0xFFF8, field & 1
        print(total, offset, "more" if more else "last", *(["DF"] if never else []))


def checksums(name, port):
    for packet in packets(name):
        _, _, _, protocol, datagram = split(packet)
        if protocol != socket.IPPROTO_UDP or struct.unpack_from(">H", datagram, 2)[0] != port:
            continue
        addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
        if datagram[6:8] == b"\0\0":
            found = "none"
        else:
            # Over the pseudo header and the datagram, its checksum included, the sum is zero.
            wrong = checksum(addresses + struct.pack(">HH", protocol, len(datagram)) + datagram)
            found = "wrong" if wrong else "right"
        print(found, len(datagram) - 8)


def connected(address, port):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((address, port))
    return sock


def replay(name, kind, address, port):
    sock, count = connected(address, port), 0
    for packet in packets(name):
        protocol, payload = split(packet)[3:]
        if protocol == socket.IPPROTO_UDP and payload[8:9] == bytes([kind]):
            sock.send(payload[8:])
            count += 1
    print(count)
    return count == 0


def garbage(address, port):
    sock, choice = connected(address, port), random.Random(1)
    lengths = list(range(0, 200)) + [1000, 1419, 1420, 1452, 1472, 9000, 65000]
    for length in lengths:
        for head in (b"", b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0",
                     b"\4\0\0\0", b"\5\0\0\0", b"\4\0\0\1", b"\0\0\0\4"):
            try:
                sock.send((head + choice.randbytes(length))[:length])
            except OSError:
                pass  # an ICMP error that came back
    # Data for every receiver index that random numbers find, with counters at the edges.
    for counter in (0, 1, 2**60, 2**64 - 8193, 2**64 - 1):
        for _ in range(50):
            sock.send(struct.pack(
                "<IIQ", 4, choice.getrandbits(32), counter) + choice.randbytes(32))


def flood(key, count, address, port):
    mac_key = hashlib.blake2s(b"mac1----" + base64.b64decode(key)).digest()
    sock = connected(address, port)
    for buffer in SO_SNDBUFFORCE, SO_RCVBUFFORCE:
        sock.setsockopt(socket.SOL_SOCKET, buffer, 4096 * count)
    answers = {}
    for _ in range(count):
        message = b"\1\0\0\0" + os.urandom(112)
        message += hashlib.blake2s(message, key=mac_key, digest_size=16).digest() + bytes(16)
        try:
            sock.send(message)
        except OSError:
            pass  # an ICMP error that came back
    # The first answer may take long: the initiations may wait in a queue on their way.
    sock.settimeout(60)
    try:
        while True:
            data = sock.recv(2048)
            answers[data[0]] = answers.get(data[0], 0) + 1
            sock.settimeout(2)
    except OSError:
        pass
    print(" ".join(f"{kind}:{answers[kind]}" for kind in sorted(answers)))


def sessions(name, port, initiator, since, *whose):
    """Checks that each initiation has one of two reasons: the keys in use are 120 seconds old, or
    the last initiation made no keys, because its answer was lost or came too late. With steady
    traffic there is at most one keepalive for each answer, to confirm it.

    Other implementations set the timer for the answer after the initiation has left. If they were
    slow and the answer was quick, nothing stops that timer: they begin again 5 seconds later.
    """
    used = answers = keepalives = 0
    # The time of the last initiation, and whether its keys are in use.
    asked, in_use = None, False
    age, indices, wrong, seen = 0, set(), [], []
    for time, packet in captured(name):
        source, _, _, protocol, payload = split(packet)
        if protocol != socket.IPPROTO_UDP or struct.unpack_from(">H", payload)[0] != port:
            continue
        length, kind, index = struct.unpack_from(">4xH2xB3x4s", payload)
        by = "initiator" if source == initiator else "responder"
        what = {1: "an initiation", 2: "an answer", 3: "a cookie",
                4: "a keepalive" if length == 40 else ""}.get(kind, "an unknown message")
        if what:
            seen.append(f"{time:.3f} {what} by the {by}")
        if kind == 4 and by == "initiator" and index in indices:
            indices.clear()
            in_use = True
            used += 1
        if what == "a keepalive":
            if by == "responder" and time >= since:
                wrong.append(seen[-1])
            keepalives += time >= since
        elif (kind, by) == (1, "initiator"):
            if asked and in_use:
                age = time - asked
                if not (119 < age < 130 or "other" in whose and 5 < age < 5.5):
                    wrong.append(f"{seen[-1]}, when the keys were used for {age:.3f} s")
            elif asked and time - asked < 4:
                wrong.append(f"{seen[-1]}, {time - asked:.3f} s after the last one")
            asked, in_use = time, False
        elif (kind, by) == (2, "responder"):
            answers += 1
            indices.add(index)
        elif kind != 4:
            wrong.append(seen[-1])
    if used < 2 or keepalives > answers:
        wrong.append(f"{used} sessions, {answers} answers, {keepalives} keepalives")
    print(f"NOTE: new keys were asked for after {age:.3f} s, by {initiator}")
    for line in wrong:
        print(f"NOTE: wrong: {line}")
    print(*seen, sep="\n")
    return wrong != []


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, protocol, payload, length=None, tos=0):
    """An IPv4 packet. `length` replaces the right value in its header."""
    length = 20 + len(payload) if length is None else length
    head = struct.pack(">BBHHHBBH4s4s", 0x45, tos, length,
                       0, 0, 64, protocol, 0, socket.inet_aton(source),
                       socket.inet_aton(destination))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(source, destination, protocol, payload, length=None, tos=0):
    """An IPv6 packet. `length` replaces the right length of the payload in its header."""
    return struct.pack(">IHBB", 6 << 28 | tos << 20,
                       len(payload) if length is None else length, protocol, 64) + \
        socket.inet_pton(socket.AF_INET6, source) + \
        socket.inet_pton(socket.AF_INET6, destination) + payload


def udp(sport, dport, payload):
    """A UDP datagram without a checksum: the tunnel authenticates it."""
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "show":
        sys.exit(show(*words))
    if command == "classes":
        sys.exit(classes(*words))
    if command == "pieces":
        sys.exit(pieces(*words))
    if command == "checksums":
        sys.exit(checksums(words[0], int(words[1])))
    if command == "replay":
        sys.exit(replay(words[0], int(words[1]), words[2], int(words[3])))
    if command == "garbage":
        sys.exit(garbage(words[0], int(words[1])))
    if command == "flood":
        sys.exit(flood(words[0], int(words[1]), words[2], int(words[3])))
    if command == "sessions":
        sys.exit(sessions(words[0], int(words[1]), words[2], int(words[3]), *words[4:]))
    sys.exit(__doc__)
