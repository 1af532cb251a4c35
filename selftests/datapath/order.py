# SPDX-License-Identifier: GPL-2.0
"""Sends one flow through a tunnel from one CPU after another, and counts packets that arrive late.

order.py flow COUNT SEED
                        sends UDP packets from namespace a to 10.8.0.2 in b, in bursts of all sizes
                        and with pauses; fails if one arrives after a later one
order.py spread         sends single bursts, and fails if a worker is woken up on the CPU that has
                        added the batch to the queue, or always on the same ones
order.py occupied       sends single bursts while no worker runs on one of the CPUs, and fails if
                        more than one of them waits for the next one
order.py outside FILE   fails if a data message comes after a later one in FILE, the capture outside
                        at the receiver
"""

import functools
import os
import random
import re
import select
import socket
import struct
import sys
import time

from wgtest import wire
from wgtest.machine import NoWorkers
from wgtest.tracing import Trace
from wgtest.tunnel import inside

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
SIZE = 100
# The packets under way at most, so that no queue is full.
WINDOW = 500


@functools.cache
def layout(count):
    """The contents of `count` packets: each begins with its number."""
    return struct.Struct(">" + f"I{SIZE - 4}x" * count)


class Receiver:
    def __init__(self):
        with inside("b"):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, wire.SO_RCVBUFFORCE, 1 << 25)
        self.sock.setsockopt(SOL_UDP, UDP_GRO, 1)
        self.sock.bind(("10.8.0.2", 5555))
        self.sock.setblocking(False)
        self.last, self.count, self.late = -1, 0, 0

    def receive(self):
        """Reads and counts all packets that have come."""
        try:
            while True:
                data = self.sock.recv(1 << 16)
                numbers = layout(len(data) // SIZE).unpack(data)
                self.count += len(numbers)
                if numbers == tuple(range(self.last + 1, self.last + 1 + len(numbers))):
                    self.last = numbers[-1]
                    continue
                for number in numbers:
                    self.late += number < self.last
                    self.last = max(self.last, number)
        except BlockingIOError:
            pass

    def wait(self, expected):
        """Waits until `expected` packets have come, or none has for 2 s. Returns how many are
        lost."""
        self.receive()
        while self.count < expected:
            if not select.select([self.sock], [], [], 2)[0]:
                return expected - self.count
            self.receive()
        return 0


def flow(total, seed):
    choice = random.Random(seed)
    cpus = sorted(os.sched_getaffinity(0))
    receiver = Receiver()
    sender = flow_sender()
    to, sent, lost, moves = ("10.8.0.2", 5555), 0, 0, 0
    while sent < total:
        os.sched_setaffinity(0, [choice.choice(cpus)])
        moves += 1
        kind, count = choice.random(), 1
        if kind < 0.35:
            count = choice.randint(1, 2)
        elif kind < 0.7:
            count = choice.randint(3, 31)
        for _ in range(count):
            together = 1 if kind < 0.7 else choice.randint(32, 60)
            sender.sendto(layout(together).pack(*range(sent, sent + together)), to)
            sent += together
        pause = choice.random()
        if pause < 0.4:
            time.sleep(0.15 if pause < 0.01 else 0.03 if pause < 0.05 else
                       0.005 if pause < 0.2 else 0.001)
        lost += receiver.wait(sent - lost - WINDOW)
    lost += receiver.wait(sent - lost)
    print(f"NOTE: of {sent} packets, sent from one CPU after another with {moves} moves, "
          f"{receiver.count} arrived inside, {receiver.late} late")
    assert receiver.count >= 0.9 * sent
    assert receiver.late == 0


def flow_sender():
    """A socket in namespace a whose packets are segments of SIZE bytes."""
    with inside("a"):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Not connected: a connected socket keeps to one queue by itself.
    sender.bind(("10.8.0.1", 5555))
    sender.setsockopt(SOL_UDP, UDP_SEGMENT, SIZE)
    sender.setsockopt(socket.SOL_SOCKET, wire.SO_SNDBUFFORCE, 1 << 24)
    return sender


class Bursts:
    """Sends one burst after another, each of which is one batch for a worker that decrypts it, and
    counts those that have not arrived after a while. They arrive with the next one."""

    TOGETHER = 8

    def __init__(self):
        self.receiver, self.sender, self.sent, self.waiting = Receiver(), flow_sender(), 0, 0

    def send(self):
        numbers = range(self.sent, self.sent + self.TOGETHER)
        self.sender.sendto(layout(self.TOGETHER).pack(*numbers), ("10.8.0.2", 5555))
        self.sent += self.TOGETHER
        self.waiting += self.receiver.wait(self.sent) > 0


def spread():
    cpus, bursts = sorted(os.sched_getaffinity(0)), Bursts()
    # The tunnel gets a session, and each side learns the other's address.
    for _ in range(10):
        bursts.send()
    trace = Trace("workqueue/workqueue_queue_work")
    for turn in range(30):
        os.sched_setaffinity(0, cpus[turn % 2:turn % 2 + 1])
        bursts.send()
    woken = [(int(by), int(cpu)) for by, cpu in re.findall(
        r"\[(\d+)\] .*CryptWorker.* req_cpu=(\d+) ", trace.text())]
    own = sum(by == cpu for by, cpu in woken)
    print(f"NOTE: of {len(woken)} workers {own} were woken up on the CPU that added the batch, "
          f"those of {len({cpu for _, cpu in woken})} CPUs in all")
    assert bursts.waiting == 0
    assert len(woken) >= 30
    assert own == 0
    assert len({cpu for _, cpu in woken}) >= len(cpus) - 2


def occupied():
    bursts = Bursts()
    bursts.send()
    with NoWorkers({max(os.sched_getaffinity(0))}):
        for _ in range(60):
            bursts.send()
    print(f"NOTE: {bursts.waiting} of 60 bursts waited for the next one")
    assert bursts.waiting <= 1
    bursts.send()
    assert bursts.receiver.count == bursts.sent


def outside(name):
    # The counters of a session begin with 0, and those of an aggregate are consecutive.
    last, count, late, sessions = -1, 0, 0, []
    for packet in wire.packets(name):
        # Behind IPv4 and UDP headers.
        if packet[28:32] != b"\4\0\0\0":
            continue
        index, counter = struct.unpack_from("<IQ", packet, 32)
        if index not in sessions:
            sessions.append(index)
            last = -1
        count += 1
        late += index != sessions[-1] or counter < last
        last = max(last, counter)
    print(f"NOTE: outside {count} packets were seen, {late} of them late")
    assert count > 100
    assert late == 0


if __name__ == "__main__":
    {"flow": lambda count, seed: flow(int(count), int(seed)),
     "outside": outside, "spread": spread, "occupied": occupied}[sys.argv[1]](*sys.argv[2:])
