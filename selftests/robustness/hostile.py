# SPDX-License-Identifier: GPL-2.0
"""Sends wg0, which is in this namespace, messages that no WireGuard sends, and checks that they
change nothing but the counters that they must change.

hostile.py NAME KEY PART        runs the function NAME below, with PART of its messages (a number up
                                to 1); KEY is the private key of wg0
hostile.py stream ADDRESS FILE  sends blocks to the TCP echo service at port 5555 and compares them
                                with the answers, as long as FILE exists

The messages come over the loopback, from any address in 127.0.0.0/8. One CPU sends them, so they
arrive in order. Except in a flood they come in portions that no queue is too short for. So the
counters must be exactly right.
"""

import os
import random
import socket
import struct
import sys
import time

from wgtest.hostile_inner import ALLOWED4, packet, train, with_ecn
from wgtest.hostile_scene import KEEPALIVE, Scene, Sealer
from wgtest.loopback import LOG, OURS, PORT, answered, at, key_of, latest, wg
from wgtest.machine import until
from wgtest.peer import (COOKIE, DATA, INITIATION, LENGTHS, REJECT_AFTER_MESSAGES,
                         REKEY_AFTER_MESSAGES, RESPONSE)
from wgtest.wire import ipv4

# Messages that wait at most: with 512 handshake messages wg0 is under load and answers with
# cookies, and 1024 packets fill a queue.
PORTION = 400
WINDOW = 8128


def flipped(message, bits):
    for bit in bits:
        changed = bytearray(message)
        changed[bit >> 3] ^= 1 << (bit & 7)
        yield bit, bytes(changed)


def bits_of(*fields):
    """The bits of these fields of a message, each (first byte, byte after the last one)."""
    return [bit for first, end in fields for bit in range(8 * first, 8 * end)]


def lengths(scene):
    """Every type at every length, of zeros and of random bytes, over IPv4 and IPv6; the long ones
    in fragments."""
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    six.connect(("::1", PORT))
    near = [length + more for length in (*LENGTHS.values(), KEEPALIVE, 4, 16)
            for more in (-1, 0, 1)]
    heads = [struct.pack("<I", kind) for kind in (
        INITIATION, RESPONSE, COOKIE, DATA, 0, 5, 255)] + [b"\4\0\0\1", b"\1\1\0\0"]
    for number, head in enumerate(heads):
        for filling in (bytes(65507), scene.random.randbytes(65507)):
            message = memoryview(head + filling)
            for sock in (scene.eve, six):
                for length in sorted({*scene.some(range(1601)), *near}):
                    scene.send(message[:length], sock)
                for length in scene.some([1601, 2000, 4096, 8193, 16000, 30000,
                                          50000, 65000, 65506, 65507] if number < 5 else [65507]):
                    scene.send(message[:length], sock)
    scene.check("types and lengths")
    for sock in scene.eve, six:
        sock.settimeout(0.2)
        try:
            raise AssertionError("wg0 answered: " + sock.recv(2000).hex())
        except TimeoutError:
            pass


class Judged:
    """Sends handshake messages, each of which leaves a line in the log."""

    def __init__(self, scene):
        self.scene, self.waiting = scene, 0
        LOG.read().clear()

    def send(self, message, logged=True):
        self.scene.send(message, self.scene.eve)
        self.waiting += logged
        if self.waiting == PORTION:
            self.end()

    def end(self):
        """Checks that every message was refused, and counted in no other way."""
        name = "127.0.0.1:%d" % self.scene.eve.getsockname()[1]

        def refusals():
            return sum("Invalid" in line and name in line for line in LOG.read())
        until(f"{self.waiting} refusals", lambda: refusals() >= self.waiting)
        assert refusals() == self.waiting, (refusals(), self.waiting)
        LOG.lines.clear()
        self.waiting = 0


def bits(scene):
    """Flips each bit of each field of each message: with the MACs as they were, and with MACs that
    are right for the changed message."""
    far, judged = scene.far, Judged(scene)
    # The second MAC is checked only under load. With a right first MAC, any sender's index is
    # valid.
    good = far.initiation()
    for bit, message in flipped(good, scene.some(bits_of((0, 132)))):
        judged.send(message, logged=bit >= 32)
    for bit, message in flipped(good[:-32], scene.some(bits_of((8, 116)))):
        judged.send(far.macs(message))
    judged.end()
    scene.check("flipped bits of an initiation")
    assert scene.dump()[key_of(far)][3:8] == ["(none)", scene.dump()[key_of(far)][4], "0", "0", "0"]

    # Now wg0 is the initiator.
    scene.quiet = False
    wg("set", "wg0", "peer", key_of(far), "endpoint", at(far))
    scene.endpoint = at(far)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"x", (ALLOWED4, 9))
    initiation = latest(far)
    far.consume_initiation(initiation)
    LOG.read().clear()
    reply, refused = far.cookie_reply(initiation, bytes(16)), 0
    # Every reply leaves this line, also one with a wrong index. A flipped bit of the type makes
    # another kind of message, which leaves none.
    for bit, message in flipped(reply, scene.some(bits_of((0, 64)))):
        scene.send(message, scene.eve)
        refused += bit >= 32
    until("cookie replies",
          lambda: sum("Receiving cookie response" in line for line in LOG.read()) >= refused)
    response, _ = far.response()
    judged = Judged(scene)
    for bit, message in flipped(response, scene.some(bits_of((0, 76)))):
        judged.send(message, logged=bit >= 32)
    for bit, message in flipped(response[:-32], scene.some(bits_of((8, 60)))):
        judged.send(far.macs(message))
    judged.end()
    scene.check("flipped bits of a response and of a cookie reply")
    sock.sendto(b"x", (ALLOWED4, 9))
    far.sock.settimeout(30)
    seal = Sealer(answered(far), 0)
    scene.begun(LENGTHS[RESPONSE])

    for plain in (b"", packet(random.Random(1))):
        message = seal(plain)
        for bit, changed in flipped(message, scene.some(bits_of((0, len(message))))):
            scene.send(changed, scene.eve)
            if bit % PORTION == 0:
                scene.counted("flipped bits of data")
        scene.check("flipped bits of data")
        scene.accepted(plain)
        scene.send(message)
        scene.counted("the data as it was")


class Window:
    """The replay window of wg0: the counters that it has taken, as a set."""

    def __init__(self, seen):
        self.seen, self.next = set(seen), max(seen) + 1

    def take(self, counter):
        if counter >= REJECT_AFTER_MESSAGES or counter + 1 + WINDOW < self.next or \
                counter in self.seen:
            return False
        self.seen.add(counter)
        self.next = max(self.next, counter + 1)
        return True


def replays(scene):
    """Messages are sent again, and counters come in any order, old ones, and near their end."""
    seal = scene.session()
    recorded = []
    for number in scene.many(2000):
        recorded.append(seal(b""))
        scene.accepted(b"")
        scene.send(recorded[-1])
        if number % PORTION == 0:
            scene.counted("messages")
    scene.counted("messages")
    for _ in range(6):
        for number, message in enumerate(recorded):
            scene.send(message, scene.eve)
            if number % PORTION == 0:
                scene.counted("replays")
        scene.random.shuffle(recorded)
    scene.check("replays")

    def try_all(what, counters):
        for number, counter in enumerate(counters):
            if number % 2000 == 0:
                scene.counted(what)
                seal, window = scene.session(), Window([0])
            if window.take(counter):
                scene.accepted(b"")
            scene.send(seal(b"", counter))
            if number % PORTION == 0:
                scene.counted(what)
        scene.check(what)

    def around():
        """Counters that go mostly forward, mostly by little, and back by up to a window and
        more."""
        place = 10000
        for _ in scene.many(12000):
            place += scene.random.choice((1, 1, 2, 63, 64, 65, 1000, 8100,
                                          20000, -1, -64)) if scene.random.random() < 0.3 else 0
            yield max(0, place - scene.random.choice(
                (0, 1, 62, 63, 64, 65, 127, 8000, 8063, 8064, 8065,
                 8127, 8128, 8129, 8130, 8191, 8192, 8193, 9000)) -
                      scene.random.choice((0, 0, 0, scene.random.randrange(70))))

    try_all("counters in any order", around())
    try_all("counters that are never taken", [
        scene.random.choice((scene.random.randrange(REJECT_AFTER_MESSAGES, 2**64),
                             2**64 - 1, 2**64 - 2, REJECT_AFTER_MESSAGES,
                             REJECT_AFTER_MESSAGES + scene.random.randrange(8130)))
        for _ in scene.many(3000)])
    # Not the last counter of a key: it would end the session.
    try_all("counters near the limits", [
        min(scene.random.choice((REKEY_AFTER_MESSAGES, REJECT_AFTER_MESSAGES)) +
            100 - scene.random.randrange(20000), REJECT_AFTER_MESSAGES - 2)
        for _ in scene.many(3000)])


def inner(scene):
    """Authentic messages with malformed packets inside."""
    seal = scene.session()
    number = 0

    def deliver(plain):
        nonlocal number, seal
        scene.accepted(plain)
        scene.send(seal(plain))
        number += 1
        if number % PORTION == 0:
            scene.counted("packets inside")
            seal = scene.still(seal)

    good = [packet(random.Random(number), version) for number in range(2) for version in (4, 6)]
    # Every length up to 1600, and some that take several fragments outside.
    for length in [*scene.some(range(1601)), 3000, 9000]:
        deliver(bytes(length))
        for plain in good[:2]:
            deliver((plain + scene.random.randbytes(length))[:length])
    # The stack may drop a message of very many fragments before wg0 sees it.
    for length in 30000, 65000, 65475:
        for plain in (bytes(length), ipv4(ALLOWED4, "10.8.0.250", 59, bytes(length - 20))):
            scene.counted("packets inside")
            dropped = scene.received + KEEPALIVE, dict(scene.errors)
            scene.accepted(plain)
            taken = scene.received + KEEPALIVE, dict(scene.errors)
            scene.send(seal(plain))
            scene.send(seal(b""))
            until("a long packet", lambda: scene.seen() in (dropped, taken))
            print(f"{length} bytes: {'taken' if scene.seen() == taken else 'dropped'}")
            scene.received, scene.errors = scene.seen()
    # Making malformed packets takes most of the time. So each is sent again twice on average, with
    # a byte changed, mostly in the headers.
    lies = [packet(scene.random, lie=True) for _ in scene.many(4000)]
    for lie in lies:
        deliver(lie)
    for _ in scene.many(8000):
        plain = bytearray(scene.random.choice(lies))
        plain[int(scene.random.random() ** 2 * min(len(plain), 100))] = scene.random.getrandbits(8)
        deliver(bytes(plain))
    scene.check("packets inside")


def bursts(scene):
    """Aggregates: outside, of any messages; inside, of segments that do not belong together."""
    for _ in scene.many(1400):
        size = scene.random.choice((1, 4, 16, 31, 32, 33, 64, 92, 148, 148, 500, 1000, 1452))
        head = struct.pack("<I", scene.random.choice((INITIATION, RESPONSE, COOKIE, DATA, DATA, 7)))
        scene.burst([(head + scene.random.randbytes(size))[:size]] * scene.random.choice(
            (2, 17, 40, 64)), scene.eve)
    scene.check("trains of garbage")

    seal = scene.session()
    for number in scene.many(100):
        scene.burst([seal(b"") for _ in range(64)])
        for _ in range(64):
            scene.accepted(b"")
        if number % 6 == 0:
            scene.counted("trains of messages")
    waiting = 0
    for _ in scene.many(900):
        plains = train(scene.random)
        waiting += len(plains)
        if waiting > PORTION:
            scene.counted("trains inside")
            seal, waiting = scene.still(seal), len(plains)
        for plain in plains:
            scene.accepted(plain)
        # As one aggregate, or one by one.
        messages = [seal(plain) for plain in plains]
        if scene.random.random() < 0.8:
            scene.burst(messages)
        else:
            for message in messages:
                scene.send(message)
    scene.check("trains inside")
    ecn(scene, scene.still(seal))
    scene.check("ECN")


def ecn(scene, seal):
    """Checks the ECN bits of delivered packets, for all bits outside and inside, of both
    families."""
    inside = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
    inside.bind(("wg0", 0))
    inside.settimeout(30)
    for version in (4, 6):
        for outer in range(4):
            for own in range(4):
                for _ in scene.many(20):
                    scene.far.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, outer)
                    mark = scene.random.randbytes(16)
                    plain = with_ecn(version, own, mark)
                    scene.accepted(plain)
                    scene.send(seal(plain))
                    got = inside.recv(2000)
                    while mark not in got:
                        got = inside.recv(2000)
                    seen = got[1] & 3 if version == 4 else got[1] >> 4 & 3
                    # A packet without ECN bits of its own cannot be marked, and is delivered as it
                    # is.
                    assert seen == {(3, 1): 3, (3, 2): 3, (1, 2): 1}.get((outer, own), own), \
                        (version, outer, own, seen)
    scene.far.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0)
    scene.counted("ECN")


def floods(scene):
    """Handshake messages faster than wg0 can read them, from many sources: with wrong MACs, with a
    right first MAC, and with cookies."""
    far = scene.far
    socks = []
    for number in range(256):
        sock = far.new_socket((f"127.{66 + number % 7}.{number}.{number % 250 + 1}", 0))
        sock.connect(OURS)
        socks.append(sock)
    # The number of answers by type.
    answers = {}

    def read_answers():
        for sock in (*socks, far.sock):
            sock.setblocking(False)
            try:
                while True:
                    message = sock.recv(2000)
                    answers[message[0]] = answers.get(message[0], 0) + 1
                    if message[0] == COOKIE and sock == far.sock and far.cookie is None:
                        far.consume_cookie(message)
            except BlockingIOError:
                sock.setblocking(True)

    def garbage(kind):
        return struct.pack("<I", kind) + scene.random.randbytes(LENGTHS[kind] - 36)

    def flood(messages, count):
        for number in scene.many(count):
            scene.send(messages[number % len(messages)], socks[number // 4 % len(socks)])
            if number % 4096 == 0:
                read_answers()

    kinds = [INITIATION, RESPONSE] * 100
    flood([garbage(kind) + scene.random.randbytes(32) for kind in kinds], 12000)
    scene.check("a flood without MACs")
    read_answers()
    assert answers == {}, answers
    flood([far.macs(garbage(kind)) for kind in kinds], 12000)
    flood([far.macs(garbage(kind))[:-16] + scene.random.randbytes(16) for kind in kinds], 12000)
    scene.check("a flood with the first MAC right")
    read_answers()

    # Under that load wg0 answers an initiation only with a cookie, for one address and port.
    pile = [far.macs(garbage(INITIATION))] * 1024
    # Its contents are random: the attacker is to get no session here.
    asking = far.macs(garbage(INITIATION))
    for _ in range(200):
        if far.cookie:
            break
        scene.burst(pile, socks[0])
        scene.send(asking)
        time.sleep(0.05)
        read_answers()
    assert far.cookie, "no cookie came"
    with_cookie = [far.macs(garbage(kind)) for kind in kinds]
    for number in scene.many(4000):
        if number % 1000 == 0:
            scene.burst(pile, socks[0])
        scene.send(with_cookie[number % 200])
    for number in scene.many(4000):
        scene.send(with_cookie[number % 200], socks[number % 256])
    scene.check("a flood with cookies")
    read_answers()
    print("answers by type:", answers)
    assert set(answers) == {COOKIE}, answers


def stream(address, name):
    sock = socket.create_connection((address, 5555))
    count = 0
    while os.path.exists(name):
        block, got = os.urandom(30000), b""
        sock.sendall(block)
        while len(got) < len(block):
            more = sock.recv(1 << 16)
            assert more, "the connection has ended"
            got += more
        assert got == block, "other bytes came than were sent"
        count += 1
        time.sleep(0.05)
    assert count
    print(f"{count} blocks")


def main(name, key, part):
    os.sched_setaffinity(0, [0])
    scene = Scene(key, float(part))
    {function.__name__: function
     for function in (lengths, bits, replays, inner, bursts, floods)}[name](scene)
    # Remove the bystanders and the other peers, so that the state is that of the beginning.
    for public in scene.dump():
        if public not in scene.honest and public != scene.far.remote and \
                len(scene.before[public]) == 9:
            wg("set", "wg0", "peer", public, "remove")
    print(f"sent {scene.sent}")


if __name__ == "__main__":
    if sys.argv[1] == "stream":
        stream(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
