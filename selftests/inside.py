#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Programs that send from one end of the tunnel to the other for outside.sh.

    inside.py serve ADDRESS                 answers TCP, with how much came, and UDP, with the same, on port 5555
    inside.py talk ADDRESS MTU              has both answered, for packets of up to MTU bytes
    inside.py timestamps ADDRESS            asks for a software timestamp of each of 160 datagrams
    inside.py owners ADDRESS                800 long datagrams of user 1001, and a short one of user 1002 after each 8
    inside.py zero ADDRESS                  100 datagrams whose checksum folds to 0
    inside.py count ADDRESS N               waits for N datagrams on port 5556
"""

import ipaddress
import os
import socket
import struct
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


def talk(address, mtu):
    data = bytes(range(251)) * 1000
    data = data[: min(len(data), mtu * 100)]
    with socket.create_connection((address, 5555), timeout=60) as stream:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        while more := stream.recv(1000):
            answer += more
    assert answer == b"%d %d" % (len(data), sum(data)), answer
    longest = min(mtu, LONGEST) - UDP_AND_IPV4
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
        # The owner of a socket is whoever makes it.
        os.seteuid(user)
        try:
            return socket.socket(type=socket.SOCK_DGRAM)
        finally:
            os.seteuid(0)

    with of(1001) as long, of(1002) as short:
        for udp in (long, short):
            udp.connect((address, 5556))
        for _ in range(100):
            for _ in range(8):
                long.send(b"l" * 1000)
            short.send(b"s" * 200)
            time.sleep(0.02)


def zero(address):
    source = "fd08::1"
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        udp.bind((source, 5557))
        length = 8 + 200
        for i in range(100):
            body = struct.pack(">H", i) + b"z" * 196
            header = struct.pack(">HHHH", 5557, 5556, length, 0)
            pseudo = b"".join(ipaddress.ip_address(a).packed for a in (source, address)) + struct.pack(">II", length, 17)
            total = sum(struct.unpack(">%dH" % ((len(pseudo) + len(header) + len(body)) // 2), pseudo + header + body))
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            udp.sendto(body + struct.pack(">H", 0xFFFF - total), (address, 5556))


def count(address, number):
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


COMMANDS = {function.__name__: function for function in (serve, talk, timestamps, owners, zero, count)}
COMMANDS[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
