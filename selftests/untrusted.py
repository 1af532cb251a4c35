# SPDX-License-Identifier: GPL-2.0
"""Packets with what a virtual machine may say of them, written to a tap.

    untrusted.py INTERFACE PORT     makes the tap, 10.6.0.1/24 on the kernel's side, and does what it is told on its
                                    standard input, with a line on its standard output when that is done:

    cost KIND COUNT     writes COUNT packets of that kind to the port, and says how many nanoseconds that took, all that it made
                        the kernel do included, and how many of them the kernel took

A kind is one of KINDS. No packet is a message of WireGuard that anybody has made.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import time

from wire import checksum

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000

# linux/virtio_net.h
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_UDP_L4, GSO_TUNNEL_V4 = 0, 1, 3, 5, 0x20
DATA = struct.pack("<IIQ", 4, 0x12345678, 0)  # the header of a data message for an index that is nobody's
IP_HEADER, UDP_HEADER, ETHERNET_HEADER = 20, 8, 14
MF = 0x2000


class Tap:
    def __init__(self, name, port):
        self.port = port
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        for command in f"addr add 10.6.0.1/24 dev {name}", f"link set {name} up":
            subprocess.run(["ip", *command.split()], check=True)
        with open(f"/sys/class/net/{name}/address") as file:
            self.ethernet = bytes.fromhex(file.read().strip().replace(":", "")) + b"\x02\0\0\0\0\x01" + b"\x08\0"
        self.id = 0

    def ip(self, payload, protocol=socket.IPPROTO_UDP, fragment=0):
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, IP_HEADER + len(payload), self.id, fragment, 64, protocol, 0,
            socket.inet_aton("10.6.0.2"), socket.inet_aton("10.6.0.1"))
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload

    def udp(self, length):
        payload = DATA + bytes(length - len(DATA))
        return struct.pack("!HHHH", 4000, self.port, UDP_HEADER + length, 0) + payload

    def write(self, packet, flags=0, gso_type=GSO_NONE, gso_size=0):
        """Whether the kernel took it."""
        start = ETHERNET_HEADER + IP_HEADER
        header = struct.pack("<BBHHHH", flags, gso_type, start + UDP_HEADER, gso_size, start, 6)
        try:
            os.write(self.fd, header + self.ethernet + packet)
        except OSError:
            return False
        return True

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
    # UFO: fragments of a byte, if it were believed.
    "ufo": lambda tap: tap.gso(GSO_UDP, 60000, 1),
    # Segments of TCP, in a datagram.
    "tcp": lambda tap: tap.gso(GSO_TCPV4, 60000, 1),
    # As many datagrams as there may be, as short as there may be.
    "datagrams": lambda tap: tap.gso(GSO_UDP_L4, 128 * 16, 16),
    # As long as there may be.
    "long": lambda tap: tap.gso(GSO_UDP_L4, 60000, 1400),
    # A tunnel is said to be inside, for which there is no header.
    "tunnel": lambda tap: tap.gso(GSO_TUNNEL_V4 | GSO_UDP_L4, 60000, 1),
    # A datagram of 60 KB in fragments.
    "fragments": lambda tap: tap.fragments(60000, 1480),
    # What all of these are to be compared with.
    "plain": lambda tap: tap.gso(GSO_NONE, 1400, 0),
}


def main(name, port):
    tap = Tap(name, int(port))
    print("ready", flush=True)
    for line in sys.stdin:
        _, kind, count = line.split()
        begun, taken = time.perf_counter_ns(), 0
        for _ in range(int(count)):
            taken += KINDS[kind](tap)
            # What is left to softirqs' own thread or to workers is done before the next one.
            os.sched_yield()
        print(time.perf_counter_ns() - begun, taken, flush=True)


main(*sys.argv[1:])
