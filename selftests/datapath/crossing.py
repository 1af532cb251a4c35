# SPDX-License-Identifier: GPL-2.0
"""Initiations that cross.

crossing.py meet MODULE DELAY ROUNDS INTERVAL DEVICE-A DEVICE-B
    lets both ends of a tunnel begin within 50 ms of each other, ROUNDS times, each time with new
    keys. The ends are the devices in the namespaces a and b, DELAY ms apart. Each end sends one
    packet, or one every INTERVAL ms, and answers those of the other end. Only with MODULE rust the
    times are checked. A DEVICE-B other than wg0 is of an implementation that loses its handshake in
    a crossing

crossing.py NAME KEY
    runs the function NAME below; KEY is the private key of wg0, which is in this namespace. So is
    the other end of its tunnel, which is this program

For guests whose clock counts instructions.
"""

import base64
import copy
import os
import select
import socket
import struct
import subprocess
import sys
import time

from wgtest import peer
from wgtest.loopback import (JITTER, LATE, LOG, OURS, PORT, answered, arrival, at, between, inside,
                             key_of, send, wg)
from wgtest.machine import until
from wgtest.peer import DATA, INITIATION, RESPONSE, Peer
from wgtest.wire import ipv4, udp

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
# What the ends and the machine may add to the delays of the link, in seconds.
SLACK = 0.1
# Seconds after which a round is given up.
PATIENCE = 90


class End:
    """One end of the tunnel that `meet` measures."""

    def __init__(self, number, device):
        self.number, self.device = number, device
        self.name = f"wgt-{'ab'[number]}"
        self.outer, self.inner = f"10.9.0.{number + 1}", f"10.8.0.{number + 1}"
        self.peer = None
        self.enter()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((self.inner, 7))

    def enter(self):
        """Makes this process work in the namespace of the end."""
        with open(f"/run/netns/{self.name}") as file:
            os.setns(file.fileno(), os.CLONE_NEWNET)

    def configure(self, private, other, public):
        """Gives the end a new private key, and a new peer in place of the last one."""
        path = f"/tmp/key-{self.name}"
        with open(path, "w") as file:
            file.write(base64.b64encode(private).decode())
        words = ["ip", "netns", "exec", self.name, "wg", "set", self.device, "private-key", path]
        if self.peer:
            words += ["peer", self.peer, "remove"]
        self.peer = base64.b64encode(public).decode()
        words += ["peer", self.peer, "allowed-ips", f"{other.inner}/32",
                  "endpoint", f"{other.outer}:{PORT}"]
        subprocess.run(words, check=True)
        self.begun = self.heard = self.answered = None
        self.sent = self.arrived = 0

    def send(self, other, kind, number, when):
        self.sock.sendto(struct.pack("<BId", kind, number, when), (other.inner, 7))


class Tap:
    """What passes the outer link of one end."""

    def __init__(self, end):
        end.enter()
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.bind(("eth0", 3))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.sock.setblocking(False)

    def messages(self):
        """(number of the sender, message) of each message since the last call."""
        found = []
        while True:
            try:
                packet, address = self.sock.recvfrom(70000)
            except BlockingIOError:
                return found
            if address[1] != 0x0800 or packet[9] != 17:
                continue
            found.append((packet[15] - 1, packet[(packet[0] & 15) * 4 + 8:]))


def exchange(ends, rounds, number, interval, delay, patience):
    """Both ends send until both have been answered, and half a second longer. Returns whether they
    have been."""
    start = time.monotonic() + 0.02
    first, distance = number // 2 % 2, 0.05 * number / rounds
    due = [start, start]
    due[1 - first] += distance
    ends[0].begun, ends[1].begun = due
    stop = None
    while True:
        now = time.monotonic()
        if stop is None and all(end.answered is not None for end in ends):
            stop = now + 0.5
        if stop and now >= stop or now >= start + patience:
            break
        for end, other in zip(ends, reversed(ends)):
            if due[end.number] is not None and now >= due[end.number]:
                end.send(other, 0, end.sent, now)
                end.sent += 1
                due[end.number] = due[end.number] + interval if interval else None
        wake = [time_ for time_ in due if time_ is not None]
        wait = min(wake, default=now + 0.05) - time.monotonic()
        readable = select.select([end.sock for end in ends], [], [], min(max(wait, 0), 0.05))[0]
        for end, other in zip(ends, reversed(ends)):
            if end.sock in readable:
                receive(end, other)
    # Let what is under way arrive.
    end_of_round = time.monotonic() + 3 * delay + SLACK
    while (left := end_of_round - time.monotonic()) > 0:
        readable = select.select([end.sock for end in ends], [], [], left)[0]
        for end, other in zip(ends, reversed(ends)):
            if end.sock in readable:
                receive(end, other)
    return stop is not None


def receive(end, other):
    now = time.monotonic()
    kind, number, when = struct.unpack("<BId", end.sock.recv(100))
    if kind == 0:
        end.arrived += 1
        if end.heard is None:
            end.heard = now - other.begun
        end.send(other, 1, number, when)
    elif end.answered is None:
        end.answered = now - end.begun


def sessions_of(messages):
    """The index pairs of the handshakes among these messages, with that of the end 0 first."""
    found = set()
    for sender, message in messages:
        if message[0] == RESPONSE:
            ours, theirs = struct.unpack_from("<II", message, 4)
            found.add((ours, theirs) if sender == 0 else (theirs, ours))
    return found


def meet(module, delay_ms, rounds, interval_ms, *devices):
    delay, rounds, interval = int(delay_ms) / 1000, int(rounds), int(interval_ms) / 1000
    ends = [End(number, device) for number, device in enumerate(devices)]
    tap = Tap(ends[0])
    strict = module == "rust"
    # One-way delays until the first packet from an end arrives. An end that has lost its handshake
    # cannot send before the other one has confirmed the session.
    steps = [3 if device == "wg0" else 4 for device in devices]
    crossings, worst = 0, [0, 0]
    for number in range(rounds):
        # Of the new keys, that of the end 0 is the greater one in every second round.
        keys = sorted((os.urandom(32) for _ in ends), key=peer.public_of, reverse=number % 2 == 0)
        publics = [peer.public_of(key) for key in keys]
        for end, other in zip(ends, reversed(ends)):
            end.configure(keys[end.number], other, publics[other.number])
        tap.messages()
        done = exchange(ends, rounds, number, interval, delay, PATIENCE)
        messages = tap.messages()
        begins = [sum(sender == end.number and message[0] == INITIATION
                      for sender, message in messages) for end in ends]
        responses = sum(message[0] == RESPONSE for _, message in messages)
        crossings += min(begins) > 0
        times = [time_ for end in ends for time_ in (end.heard, end.answered)]
        print(f"round {number + 1}: initiations {begins}, responses {responses}, heard and answered"
              " after", *(f"{time_:.3f}" if time_ is not None else "never" for time_ in times),
              f"s; sent {[end.sent for end in ends]}, arrived {[end.arrived for end in ends]}")
        worst = [max(worst[0], *(end.heard or PATIENCE for end in ends)),
                 max(worst[1], *(end.answered or PATIENCE for end in ends))]
        if not strict:
            continue
        assert done, "given up"
        for end, other in zip(ends, reversed(ends)):
            heard, answered_ = steps[other.number], steps[end.number] + 1
            assert end.heard <= heard * delay + SLACK, "the first packet came too late"
            assert end.answered <= answered_ * delay + SLACK, "the first answer came too late"
            # 128 packets can wait for a key.
            assert interval and interval < 0.01 or end.arrived == other.sent, "packets were lost"
        # One more packet from each end, to see which session they use.
        for end, other in zip(ends, reversed(ends)):
            end.send(other, 1, 0, 0)
        time.sleep(delay + SLACK)
        for end in ends:
            end.sock.recv(100)
        used = [None, None]
        for sender, message in tap.messages():
            if message[0] == DATA:
                used[1 - sender], = struct.unpack_from("<I", message, 4)
        assert tuple(used) in sessions_of(messages), "the ends use different sessions"
    print(f"NOTE: {rounds} rounds, {crossings} crossings; the first packet after "
          f"{worst[0]:.3f} s at most, the first answer after {worst[1]:.3f} s")
    assert not strict or crossings > rounds // 2, "hardly anything has crossed"


def far_end(key, wins):
    """A peer at the other end of the loopback. Its public key is the greater one if it `wins`."""
    ours = peer.public_of(base64.b64decode(key))
    private = os.urandom(32)
    while (peer.public_of(private) > ours) != wins:
        private = os.urandom(32)
    far = Peer(private, ours, OURS)
    wg("set", "wg0", "peer", key_of(far), "allowed-ips", "10.8.0.2/32", "endpoint", at(far))
    return far


def forget(far):
    wg("set", "wg0", "peer", key_of(far), "remove")


def sent_with(far, session, sock, text):
    """Checks that wg0 sends with this session."""
    send(sock, text)
    while not (plain := session.open(far.receive(DATA))[1]):
        pass
    assert plain[28:28 + len(text)] == text, plain


def rekey(key):
    listener, sock = inside(), inside()
    listener.bind(("10.8.0.1", 5555))
    listener.settimeout(5)

    def arrives(session, text):
        """Checks that a packet which the far end sends with this session arrives."""
        far.send(session.seal(ipv4("10.8.0.2", "10.8.0.1", 17, udp(9, 5555, text))))
        assert listener.recv(100) == text

    for wins in (False, True):
        far = far_end(key, wins)
        send(sock)
        old = answered(far)
        far.receive_data(old)
        arrives(old, b"the first session")
        time.sleep(121)
        sent_with(far, old, sock, b"the keys are old")
        initiation = far.receive(INITIATION)

        # The far end has sent its own initiation before that one came.
        twin = copy.copy(far)
        twin.consume_initiation(initiation)
        far.send(far.initiation())
        theirs = far.consume_response(far.receive(RESPONSE))
        arrives(old, b"after the response of wg0")
        sent_with(far, old, sock, b"after its response")
        message, ours = twin.response()
        far.send(message)
        # wg0 confirms the session that it has begun.
        assert ours.open(far.receive(DATA))[1] == b""
        sent_with(far, ours, sock, b"with the new keys")
        arrives(old, b"sent before the response of the far end came")
        arrives(theirs, b"sent before the election")
        sent_with(far, theirs if wins else ours, sock, b"with the elected keys")
        arrives(theirs if wins else ours, b"with the elected keys")
        arrives(ours if wins else theirs, b"a late one")
        sent_with(far, theirs if wins else ours, sock, b"with the same keys")
        print("the far end wins" if wins else "wg0 wins")
        forget(far)


def held_back(key):
    sock = inside()
    for wins in (False, True):
        far = far_end(key, wins)
        held = far.initiation()
        send(sock, b"waiting")
        twin = copy.copy(far)
        twin.consume_initiation(far.receive(INITIATION))
        far.send(held)
        # The far end does not know that initiation any more: it ignores the response.
        far.receive(RESPONSE)
        message, session = twin.response()
        far.send(message)
        assert far.receive_data(session)[28:35] == b"waiting"
        sent_with(far, session, sock, b"and more")
        forget(far)


def late(key):
    sock = inside()
    for wins in (False, True):
        far = far_end(key, wins)
        send(sock, b"waiting")
        twin = copy.copy(far)
        twin.consume_initiation(far.receive(INITIATION))
        held, _ = twin.response()
        session = far.connect()
        assert far.receive_data(session)[28:35] == b"waiting"
        LOG.read().clear()
        far.send(held)
        until("the response", lambda: LOG.has("handshake response from"))
        sent_with(far, session, sock, b"and more")
        forget(far)


def put_off(key):
    sock = inside()
    far = far_end(key, True)
    send(sock)
    message, _, begun = arrival(far, 1)
    assert message[0] == INITIATION
    time.sleep(begun + 4 - time.monotonic())
    far.send(far.initiation())
    message, _, response = arrival(far, 1)
    assert message[0] == RESPONSE
    # The session is not confirmed. The next try is due a second after the response, too early.
    message, _, now = arrival(far, 10)
    assert message[0] == INITIATION
    between("an initiation after a response", 5, now - response, 5 + JITTER + LATE)
    # The one after that comes a whole period later.
    message, _, after = arrival(far, 10)
    assert message[0] == INITIATION
    between("the next one", 5, after - now, 5 + JITTER + LATE)


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    {function.__name__: function for function in (
        meet, rekey, held_back, late, put_off)}[name](*words)
