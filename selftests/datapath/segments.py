#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Programs that send from one end of the tunnel to the other for segments.sh.

segments.py serve ADDRESS             answers TCP with the number of bytes and their sum, and UDP
                                      with the same bytes
segments.py mtus ADDRESS NETNS NETNS  checks both answers, with one MTU after another at both ends
segments.py timestamps ADDRESS        asks for a software timestamp of each of 160 UDP packets
segments.py owners ADDRESS            sends 800 long UDP packets of user 1001, and after each 8 of
                                      them a short one of user 1002
segments.py zero ADDRESS              sends 100 UDP packets whose checksum comes out as 0
segments.py count ADDRESS N           waits for N UDP packets, and prints how many have come
"""

import ipaddress
import os
import socket
import struct
import subprocess
import sys
import threading
import time

# Names that the module `socket` lacks.
SO_TIMESTAMPING = 37
IP_RECVERR = 11
UDP_AND_IPV4 = 28
# The longest packet whose message still fits a datagram outside, padded to a multiple of 16.
LONGEST = (65535 - 60) // 16 * 16


def serve(address):
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind((address, 5555))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, 5555))

        def echo():
            while True:
                data, sender = udp.recvfrom(70000)
                udp.sendto(data, sender)

        threading.Thread(target=echo, daemon=True).start()
        tcp.listen()
        while True:
            stream, _ = tcp.accept()
            with stream:
                total = b""
                while data := stream.recv(1 << 20):
                    total += data
                stream.sendall(b"%d %d" % (len(total), sum(total)))


def lost():
    """The packets that wg0 has dropped (tx_dropped)."""
    with open("/sys/class/net/wg0/statistics/tx_dropped") as file:
        return file.read().strip()


def mtus(address, *spaces):
    """Talks with MTUs from the smallest to the largest, and around those where behaviour
    changes."""
    small = (68, 69, 96, 127, 128, 255, 576, 1000, 1279, 1280, 1281, 1419, 1420, 1421, 1500)
    large = (4081, 9000, 16320, 32639, 32640, 32671, 32672, 32673, 32704, 32705, 43600)
    largest = (65455, 65456, 65471, LONGEST, LONGEST + 1, 65488, 65520, 65535, 65536, 100000)
    for mtu in small + large + largest:
        for space in spaces:
            # Forget path MTUs that were learnt under smaller ones.
            commands = f"link set wg0 mtu {mtu}\nroute flush cache\n"
            subprocess.run(["ip", "-n", space, "-batch", "-"], input=commands.encode(), check=True)
        print("MTU", mtu, flush=True)
        size = min(mtu, LONGEST) - UDP_AND_IPV4
        ping = ["ping", "-c", "1", "-W", "20", "-M", "do", "-s", str(size), address]
        subprocess.run(ping, check=True)
        talk(address, mtu, size)
        if mtu == LONGEST:
            assert lost() == "0", lost()


def talk(address, mtu, longest):
    data = bytes(range(251)) * 1000
    data = data[: mtu * 50]
    with socket.create_connection((address, 5555), timeout=60) as stream:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        while more := stream.recv(1000):
            answer += more
    assert answer == b"%d %d" % (len(data), sum(data)), answer
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(20)
        udp.connect((address, 5555))
        for size in sorted({0, 1, longest // 2, longest - 1, longest}):
            udp.send(data[:size])
            assert udp.recv(70000) == data[:size], size


def timestamps(address):
    # SOF_TIMESTAMPING_TX_SOFTWARE, _SOFTWARE, _OPT_ID, _OPT_TSONLY
    flags = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 11
    ids = set()
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, flags)
        udp.connect((address, 9))
        for burst in range(20):
            for _ in range(8):
                udp.send(b"t" * 200)
            end = time.monotonic() + 20
            while len(ids) < 8 * (burst + 1) and time.monotonic() < end:
                try:
                    ancillary = udp.recvmsg(1, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)[1]
                except BlockingIOError:
                    time.sleep(0.01)
                    continue
                except ConnectionRefusedError:
                    continue
                for level, kind, data in ancillary:
                    if (level, kind) == (socket.SOL_IP, IP_RECVERR):
                        ids.add(struct.unpack("IBBBBII", data[:16])[6])
            assert len(ids) == 8 * (burst + 1), f"{len(ids)} of {8 * (burst + 1)} timestamps"


def owners(address):
    def of(user):
        # The owner of a socket is the user that makes it.
        os.seteuid(user)
        try:
            return socket.socket(type=socket.SOCK_DGRAM)
        finally:
            os.seteuid(0)

    with of(1001) as long, of(1002) as short, of(1003) as both:
        # Nobody listens: a socket that is not connected gets no error for that.
        for _ in range(100):
            for _ in range(8):
                long.sendto(b"l" * 1000, (address, 5556))
            short.sendto(b"s" * 200, (address, 5556))
            time.sleep(0.02)
        # A socket with two flows.
        for _ in range(100):
            for number in range(8):
                both.sendto(b"b" * 1000, (address, 5556 + number % 2))
            time.sleep(0.02)


def zero(address):
    source = "fd08::1"
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.bind((source, 5557))
        length = 8 + 200
        for i in range(100):
            body = struct.pack(">H", i) + b"z" * 196
            header = struct.pack(">HHHH", 5557, 5556, length, 0)
            pseudo = b"".join(ipaddress.ip_address(a).packed for a in (source, address))
            summed = pseudo + struct.pack(">II", length, 17) + header + body
            total = sum(struct.unpack(f">{len(summed) // 2}H", summed))
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            udp.sendto(body + struct.pack(">H", 0xFFFF - total), (address, 5556))


def count(address, number):
    number = int(number)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(30)
        udp.bind((address, 5556))
        seen = set()
        while len(seen) < number:
            try:
                seen.add(udp.recv(2000))
            except TimeoutError:
                break
    print(len(seen))


COMMANDS = {f.__name__: f for f in (serve, mtus, timestamps, owners, zero, count)}
COMMANDS[sys.argv[1]](*sys.argv[2:])
