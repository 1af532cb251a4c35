# SPDX-License-Identifier: GPL-2.0
"""A thousand peers of one interface, for selftests/bench.sh.

    bench_peers.py KEY LISTEN MANY      the MANY peers are in the namespace $NS + a, the interface,
                                        wg1, is in $NS + b; KEY is its public key. Writes a
                                        configuration of wg1 with all peers to /tmp/peers. Then
                                        carries out the commands on standard input, one a line, and
                                        answers each with a line:

    connect N           N more peers begin a handshake each, one after the other
    flood N             the same, all together; answers with the handshakes a second
    answer N            the interface sends a packet to each of N more peers; they answer the
                        handshakes that this begins
    send PEERS N        the first PEERS connected peers send N datagrams in turn; returns when all
                        have arrived
    burst PEERS N       the same, all N together; answers with the datagrams a second, and with the
                        number that arrived
    receive PEERS N     the interface sends N packets to that many peers in turn

The peers encrypt in advance and in user mode, where nothing is counted. The interface does all its
work in the kernel, where it is.
"""

import base64
import os
import resource
import socket
import struct
import sys
import time

from wgtest.peer import Peer

SIZE = 64  # bytes of data in a datagram
HUB = "10.8.0.2"
SO_TIMESTAMPNS, SO_SNDBUFFORCE, SO_RCVBUFFORCE = 35, 32, 33


def enter(namespace):
    with open(f"/run/netns/{os.environ['NS']}{namespace}") as file:
        os.setns(file.fileno(), os.CLONE_NEWNET)


def address(number):
    return f"10.7.{number >> 8}.{number & 255}"


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def datagram(number):
    """A packet from a peer: IPv4 and UDP, whose checksum may be zero."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + SIZE, 0, 0, 64,
                       17, 0, socket.inet_aton(address(number)), socket.inet_aton(HUB))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + \
        struct.pack(">HHHH", 9, 9, 8 + SIZE, 0) + bytes(SIZE)


def stamped(sock):
    """Receives a datagram, and returns the time of its arrival, in seconds."""
    _, ancillary, _, _ = sock.recvmsg(2048, 64)
    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
    return seconds + nanoseconds / 1e9


class Farm:
    def __init__(self, key, port, many):
        resource.setrlimit(resource.RLIMIT_NOFILE, (many + 100, many + 100))
        enter("b")
        self.hub = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.hub.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.hub.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.hub.bind((HUB, 9))
        self.hub.settimeout(60)
        enter("a")
        self.peers = [Peer(os.urandom(32), key, ("10.9.0.2", port)) for _ in range(many)]
        for peer in self.peers:
            peer.sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 26)
            peer.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.sessions = []
        self.used = 0
        with open("/tmp/peers", "w") as file:
            for number, peer in enumerate(self.peers):
                print(f"[Peer]\nPublicKey = {base64.b64encode(peer.public).decode()}\n"
                      f"AllowedIPs = {address(number)}/32\n"
                      f"Endpoint = 10.9.0.1:{peer.sock.getsockname()[1]}", file=file)

    def fresh(self, count):
        first, self.used = self.used, self.used + count
        assert self.used <= len(self.peers)
        return range(first, self.used)

    def connect(self, count):
        for number in self.fresh(count):
            self.sessions.append((number, self.peers[number].connect()))

    def flood(self, count):
        peers = [self.peers[number] for number in self.fresh(count)]
        messages = [peer.initiation() for peer in peers]
        for peer in peers:
            peer.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        begun = time.time()
        for peer, message in zip(peers, messages):
            peer.send(message)
        # Reading the answers now would take processor time from the interface. The time of their
        # arrival is in the timestamps.
        time.sleep(3)
        ended = max(stamped(peer.sock) for peer in peers)
        return round(count / (ended - begun))

    def answer(self, count):
        for number in self.fresh(count):
            self.hub.sendto(bytes(SIZE), (address(number), 9))
            peer = self.peers[number]
            peer.receive_data(peer.accept())

    def sealed(self, peers, count):
        assert peers <= len(self.sessions)
        chosen = self.sessions[:peers]
        return [(self.peers[number], session.seal(datagram(number)))
                for number, session in (chosen[index % peers] for index in range(count))]

    def send(self, peers, count):
        for peer, message in self.sealed(peers, count):
            peer.send(message)
        for _ in range(count):
            self.hub.recv(2048)

    def burst(self, peers, count):
        # The link outside collects the datagrams in a queue, and the queue opens once a second.
        for peer, message in self.sealed(peers, count):
            peer.send(message)
        time.sleep(3)
        self.hub.settimeout(0)
        arrivals = []
        try:
            while True:
                arrivals.append(stamped(self.hub))
        except BlockingIOError:
            pass
        self.hub.settimeout(60)
        arrivals.sort()
        return round((len(arrivals) - 1) / (arrivals[-1] - arrivals[0])), len(arrivals)

    def receive(self, peers, count):
        chosen = [number for number, _ in self.sessions[:peers]]
        for index in range(count):
            self.hub.sendto(bytes(SIZE), (address(chosen[index % peers]), 9))
        for index in range(count):
            # Keepalives are shorter.
            while len(self.peers[chosen[index % peers]].receive()) < SIZE:
                pass


def main(key, port, many):
    farm = Farm(key, int(port), int(many))
    print("ready", flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        answer = getattr(farm, command)(*map(int, numbers))
        print(*(answer if isinstance(answer, tuple) else [answer]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
