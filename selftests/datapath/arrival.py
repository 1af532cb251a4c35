# SPDX-License-Identifier: GPL-2.0
"""The Python parts of selftests/arrival.sh.

    arrival.py deny DIRECTORY               lets the cgroup of DIRECTORY receive no IP packet
                                            (BPF_CGROUP_INET_INGRESS), as systemd does for
                                            IPAddressDeny=any
    arrival.py two_flows KEY PORT COUNT     prints a configuration with two peers, for an interface
                                            with the public key KEY. The interface has to be on PORT
                                            of 10.9.0.2 before a line comes on standard input. Then
                                            each peer sends COUNT messages with a packet each, one
                                            peer on the first processor, the other on the second
    arrival.py in_order COUNT               receives these packets at the inner side; fails unless
                                            those of each peer come in the order in which they were
                                            sent, and at least half of them
"""

import base64
import ctypes
import os
import socket
import struct
import sys
import time

from wgtest.peer import Peer
from wgtest.wire import ipv4, udp

INNER, PORT = "10.8.0.2", 9
SOURCES = ["10.8.0.101", "10.8.0.102"]
SO_RCVBUFFORCE = 33


def two_flows(key, port, count):
    peers = [Peer(os.urandom(32), key, ("10.9.0.2", int(port))) for _ in SOURCES]
    for peer, source in zip(peers, SOURCES):
        print(f"[Peer]\nPublicKey = {base64.b64encode(peer.public).decode()}\n"
              f"AllowedIPs = {source}/32")
    print("#", flush=True)
    sys.stdin.readline()
    flows = []
    for peer, source in zip(peers, SOURCES):
        session = peer.connect()
        flows.append((
            peer, [session.seal(ipv4(source, INNER, 17, udp(PORT, PORT, struct.pack("!I", number))))
                   for number in range(int(count))]))
    begin = time.monotonic() + 1
    children = []
    for cpu, (peer, messages) in enumerate(flows):
        child = os.fork()
        if child == 0:
            os.sched_setaffinity(0, {cpu})
            while time.monotonic() < begin:
                pass
            for message in messages:
                peer.send(message)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def in_order(count):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
    sock.bind((INNER, PORT))
    print("ready", flush=True)
    sock.settimeout(60)
    last, arrived, late = (
        dict.fromkeys(SOURCES, -1), dict.fromkeys(SOURCES, 0), dict.fromkeys(SOURCES, 0))
    while sum(arrived.values()) < 2 * int(count):
        try:
            data, (source, _) = sock.recvfrom(100)
        except TimeoutError:
            break
        # After the first packet the others follow within 5 s, or are lost.
        sock.settimeout(5)
        number, = struct.unpack("!I", data)
        arrived[source] += 1
        late[source] += number < last[source]
        last[source] = max(last[source], number)
    print(f"NOTE: arrived {arrived}, late {late}")
    assert all(number * 2 >= int(count) for number in arrived.values())
    assert not any(late.values())


def deny(directory):
    bpf_prog_load, bpf_prog_attach, cgroup_skb, ingress = 5, 8, 8, 0
    # return 0
    instructions = ctypes.create_string_buffer(
        struct.pack("<BBhiBBhi", 0xb7, 0, 0, 0, 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")

    def bpf(command, attributes):
        result = ctypes.CDLL(None, use_errno=True).syscall(
            321, command, attributes, len(attributes))
        if result < 0:
            raise OSError(ctypes.get_errno(), "bpf()")
        return result

    program = bpf(bpf_prog_load, struct.pack(
        "<IIQQ40x", cgroup_skb, 2, ctypes.addressof(instructions), ctypes.addressof(licence)))
    bpf(bpf_prog_attach, struct.pack("<IIII", os.open(directory, os.O_RDONLY), program, ingress, 0))


{"deny": deny, "two_flows": two_flows, "in_order": in_order}[sys.argv[1]](*sys.argv[2:])
