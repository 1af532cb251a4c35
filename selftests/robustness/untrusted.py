# SPDX-License-Identifier: GPL-2.0
"""Packets with claims that a virtual machine may make of them, written to a tap.

    untrusted.py INTERFACE PORT     makes the tap, 10.6.0.1/16 on the kernel's side, and carries out
                                    commands from standard input, answering each with a line:

    cost KIND COUNT     writes COUNT packets of KIND to the port. Answers with the nanoseconds that
                        this took, including all work that it caused in the kernel, and with the
                        number of packets that the kernel took

    strangers PORT COUNT
                        writes COUNT initiations whose first MAC is wrong, from 1,000 addresses, to
                        PORT. Answers as above

KIND is one of KINDS. Each packet has a data message for an unknown index.
"""

import fcntl
import itertools
import os
import socket
import struct
import subprocess
import sys
import time

from wgtest.wire import checksum

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000

# linux/virtio_net.h
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_UDP_L4 = 0, 1, 3, 5
INITIATION = struct.pack("<I", 1)
DATA = struct.pack("<IIQ", 4, 0x12345678, 0)  # the header of a data message for an unknown index
IP_HEADER, UDP_HEADER, ETHERNET_HEADER = 20, 8, 14
MF = 0x2000


class Tap:
    def __init__(self, name, port):
        self.port = port
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, TUNSETIFF,
                    struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        for command in f"addr add 10.6.0.1/16 dev {name}", f"link set {name} up":
            subprocess.run(["ip", *command.split()], check=True)
        with open(f"/sys/class/net/{name}/address") as file:
            self.ethernet = bytes.fromhex(file.read().strip().replace(":", "")) + \
                b"\x02\0\0\0\0\x01" + b"\x08\0"
        self.id = 0

    def ip(self, payload, protocol=socket.IPPROTO_UDP, fragment=0, source="10.6.0.2"):
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, IP_HEADER + len(payload), self.id, fragment, 64, protocol, 0,
            socket.inet_aton(source), socket.inet_aton("10.6.0.1"))
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload

    def udp(self, length):
        payload = DATA + bytes(length - len(DATA))
        return struct.pack("!HHHH", 4000, self.port, UDP_HEADER + length, 0) + payload

    def write(self, packet, flags=0, gso_type=GSO_NONE, gso_size=0):
        """Writes a packet. Returns whether the kernel took it."""
        start = ETHERNET_HEADER + IP_HEADER
        # tun takes only a checksum that is where TCP has it.
        offset = 16 if gso_type == GSO_TCPV4 else 6
        header = struct.pack("<BBHHHH", flags, gso_type, start + UDP_HEADER, gso_size, start, offset)
        try:
            os.write(self.fd, header + self.ethernet + packet)
        except OSError:
            return False
        return True

    def strangers(self, port):
        """Yields frames from 1,000 addresses to `port`, as the tap takes them."""
        for number in range(1000):
            payload = INITIATION + os.urandom(144)
            datagram = struct.pack("!HHHH", 4000, port, UDP_HEADER + len(payload), 0) + payload
            packet = self.ip(datagram, source=f"10.6.{1 + number // 250}.{1 + number % 250}")
            yield struct.pack("<BBHHHH", 0, GSO_NONE, 0, 0, 0, 0) + self.ethernet + packet

    def gso(self, gso_type, length, size):
        return self.write(self.ip(self.udp(length)), NEEDS_CSUM, gso_type, size)

    def fragments(self, length, size):
        """One datagram, in fragments of IP."""
        self.id = (self.id + 1) % 65536
        whole = self.udp(length)
        taken = True
        for offset in range(0, len(whole), size):
            more = MF if offset + size < len(whole) else 0
            taken &= self.write(self.ip(whole[offset:][:size], fragment=offset // 8 | more))
        return taken


KINDS = {
    # UFO: claims fragments of one byte.
    "ufo": lambda tap: tap.gso(GSO_UDP, 60000, 1),
    # Claims TCP segments of one byte, but is a UDP datagram.
    "tcp": lambda tap: tap.gso(GSO_TCPV4, 60000, 1),
    # The largest number of datagrams, each as short as a message can be.
    "datagrams": lambda tap: tap.gso(GSO_UDP_L4, 128 * 16, 16),
    # As many bytes as an aggregate can have, in datagrams of 1400 bytes.
    "long": lambda tap: tap.gso(GSO_UDP_L4, 60000, 1400),
    # A datagram of 60 KB in fragments.
    "fragments": lambda tap: tap.fragments(60000, 1480),
    # A plain datagram, to compare the others with.
    "plain": lambda tap: tap.gso(GSO_NONE, 1400, 0),
}


def cost(tap, kind, count):
    begun, taken = time.perf_counter_ns(), 0
    for _ in range(int(count)):
        taken += KINDS[kind](tap)
        # Let ksoftirqd and workers do their part before the next packet.
        os.sched_yield()
    return time.perf_counter_ns() - begun, taken


def strangers(tap, port, count):
    frames = list(tap.strangers(int(port)))
    # Whatever else has something to do goes first: workers have done their part at the end.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    begun, taken = time.perf_counter_ns(), 0
    for frame in itertools.islice(itertools.cycle(frames), int(count)):
        taken += os.write(tap.fd, frame) == len(frame)
    took = time.perf_counter_ns() - begun
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return took, taken


def main(name, port):
    tap = Tap(name, int(port))
    print("ready", flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        print(*{"cost": cost, "strangers": strangers}[command](tap, *words), flush=True)


main(*sys.argv[1:])
