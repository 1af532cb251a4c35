# SPDX-License-Identifier: GPL-2.0
"""The far ends of the tunnels of wg0, which send it more than it can handle.

overload.py NAME KEY     runs the function NAME below; KEY is the private key of wg0. Both wg0 and
                         the far ends are in this namespace, which has the loopback only

While no worker of the kernel runs, wg0 delivers what softirqs decrypt, and nothing else.
"""

import base64
import os
import socket
import struct
import subprocess
import sys
import time

from wgtest import peer
from wgtest.loopback import PORT, established, new_peer, statistics, wg
from wgtest.machine import NoWorkers, until
from wgtest.peer import COOKIE, INITIATION, RESPONSE, UDP_SEGMENT, Peer
from wgtest.wire import ipv4, udp

RUST = os.environ.get("WG_MODULE") == "rust"
# The budget of a poll (NAPI_POLL_WEIGHT), the most messages of one batch, and the most that wait.
BUDGET, BATCH, ROOM = 64, 64, 1024
PEERS = 4
SO_SNDBUFFORCE = 32
SOL_PACKET, PACKET_VNET_HDR = 263, 15


def tunnels(key):
    """Far ends with a session each, and the inner address of each."""
    addresses = [f"10.8.0.{number}" for number in range(2, PEERS + 2)]
    ends = [new_peer(key, f"{address}/32", endpoint=True) for address in addresses]
    return [(far, established(far), address) for far, address in zip(ends, addresses)]


def packet(source, size):
    return ipv4(source, "10.8.0.1", 17, udp(9, 9, bytes(size)))


def sent_together(far, messages):
    """Sends messages of one length with one system call: they all arrive before wg0 reads one."""
    sock = far.new_socket()
    sock.setsockopt(socket.SOL_UDP, UDP_SEGMENT, len(messages[0]))
    far.send(b"".join(messages), sock)


def count(before, name):
    return statistics()[name] - before[name]


def busy(seconds):
    """Lets softirqs go on, and no worker: in a sleep, workers would have their turn."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def settled(before, name):
    """The final change of a counter."""
    last = -1
    while (now := count(before, name)) != last:
        last = now
        time.sleep(0.2)
    return now


def one_poll(key):
    (far, one, source), (_, two, other) = tunnels(key)[:2]
    # The messages of two keys alternate, so that each is a batch of its own.
    messages = [session.seal(packet(address, 4))
                for _ in range(BUDGET) for session, address in ((one, source), (two, other))]
    before = statistics()
    with NoWorkers():
        sent_together(far, messages)
        busy(0.02)
        decrypted = count(before, "rx_packets")
    until("all to be received", lambda: count(before, "rx_packets") == len(messages))
    print(f"NOTE: of {len(messages)} messages, {decrypted} were received before a worker ran")
    assert decrypted <= BUDGET, decrypted
    assert decrypted or not RUST, "none was decrypted in softirq: the test shows nothing"


def room_in(key):
    size, train = 1000, 40
    trains = [(far, [session.seal(packet(source, size)) for _ in range(train)])
              for far, session, source in tunnels(key) for _ in range(1000 // train)]
    before = statistics()
    with NoWorkers():
        for far, messages in trains:
            sent_together(far, messages)
        busy(0.02)
        assert count(before, "rx_packets") == 0, "these were not left to workers"
    received = settled(before, "rx_packets")
    print(f"NOTE: of {train * len(trains)} messages, {received} were received")
    # The last batch may go beyond the bound.
    assert ROOM - BATCH <= received < ROOM + BATCH, received


def room_out(key):
    size, train = 1000, 50
    addresses = [address for _, _, address in tunnels(key)]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 27)
    sock.setsockopt(socket.SOL_UDP, UDP_SEGMENT, size)
    sent = 0
    before = statistics()
    with NoWorkers():
        for _ in range(1000 // train):
            for address in addresses:
                sock.sendto(bytes(train * size), (address, 9))
                sent += train
    # wg0 may send keepalives, too.
    left = settled(before, "tx_packets")
    dropped = count(before, "tx_dropped")
    print(f"NOTE: of {sent} packets, {left} were sent and {dropped} were counted as dropped")
    # Up to 128 packets of each peer may wait with the peer, besides.
    assert ROOM - BATCH <= left < ROOM + BATCH + PEERS * 128, left
    assert sent <= left + dropped <= sent + PEERS or not RUST, (sent, left, dropped)


def room_of_segments(key):
    address = tunnels(key)[0][2]
    packets, segments, size = 60, 40, 1000
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 27)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    # Its checksum is to be computed, and it is to be cut into segments of TCP over IPv4.
    header = struct.pack("=BBHHHH", 1, 1, 40, size, 20, 16)
    tcp = struct.pack(">HHIIBBHHH", 9, 9, 0, 0, 0x50, 0x10, 0, 0, 0)
    message = header + ipv4("10.8.0.1", address, 6, tcp + bytes(segments * size))
    before = statistics()
    with NoWorkers():
        for _ in range(packets):
            sock.sendto(message, ("wg0", 0x0800))
    left = settled(before, "tx_packets")
    assert packets * segments <= left <= packets * segments + PEERS, left
    assert count(before, "tx_dropped") == 0


def load(key):
    far = new_peer(key, "10.8.0.2/32")
    private = base64.b64encode(os.urandom(32)).decode()
    subprocess.run("ip link add wg1 type wireguard".split(), check=True)
    subprocess.run(["wg", "set", "wg1", "private-key", "/dev/fd/0", "listen-port", str(PORT + 1)],
                   input=private, text=True, check=True)
    subprocess.run("ip link set wg1 up".split(), check=True)
    other = Peer(os.urandom(32), peer.public_of(base64.b64decode(private)),
                 ("127.0.0.1", PORT + 1))
    wg("set", "wg1", "peer", base64.b64encode(other.public).decode())
    # The first MACs are right: without them a message gets no place in the queue.
    junk, filler = far.new_socket(), far.macs(struct.pack("<I", INITIATION) + bytes(112))
    with NoWorkers():
        for _ in range(700):
            far.send(filler, junk)
    answers = []
    for end in far, other:
        end.send(end.initiation())
        answers.append(end.receive(RESPONSE, COOKIE)[0])
    print(f"NOTE: the device under load answers with message type {answers[0]}, the other one "
          f"with {answers[1]}")
    # The C module asks for cookies on all devices while one is under load.
    assert answers == [COOKIE, RESPONSE if RUST else COOKIE], answers


if __name__ == "__main__":
    name, key = sys.argv[1:]
    {function.__name__: function
     for function in (one_poll, room_in, room_out, room_of_segments, load)}[name](key)
