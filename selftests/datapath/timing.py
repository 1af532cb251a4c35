# SPDX-License-Identifier: GPL-2.0
"""The other end of a tunnel, which measures the times at which wg0 sends its messages.

timing.py NAME KEY     runs the function NAME below; KEY is the private key of wg0. Both wg0 and the
                       other end of its tunnel are in this namespace

For guests whose clock counts instructions. The kernel's timers are late, the more the longer they
run: see kernel/time/timer.c. Before handshakes, wg0 waits up to JITTER more.
"""

import socket
import struct
import subprocess
import sys
import time

from wgtest import peer
from wgtest.loopback import (JITTER, LATE, LOG, PORT, VERY_LATE, answered, arrival, between,
                             changes, dropped, established, inside, key_of, name_of, new_peer, send,
                             silent, statistics, wg)
from wgtest.machine import NoWorkers, until
from wgtest.peer import COOKIE, DATA, INITIATION, RESPONSE
from wgtest.wire import ipv4, udp


def silence(far, seconds):
    """Checks that no message comes for `seconds`."""
    begun = time.monotonic()
    try:
        message, _, now = arrival(far, seconds)
    except TimeoutError:
        return
    raise AssertionError(f"type {message[0]}, {len(message)} bytes, after {now - begun:.3f} s")


def keepalive(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    session = established(far)
    listener, sock = inside(), inside()
    listener.bind(("10.8.0.1", 5555))
    packet = ipv4("10.8.0.2", "10.8.0.1", 17, udp(9, 5555, b"hello"))

    # A keepalive is not answered with another one.
    silence(far, 12)
    begun = time.monotonic()
    far.send(session.seal(packet))
    message, _, now = arrival(far, 20)
    between("a keepalive after data", 10, now - begun, 10 + LATE)
    assert session.open(message)[1] == b""
    # wg0 waits for no answer to it.
    silence(far, 22)
    # No keepalive is due if wg0 has sent data meanwhile.
    far.send(session.seal(packet))
    time.sleep(5)
    send(sock)
    assert session.open(arrival(far, 5)[0])[1] != b""
    silence(far, 12)
    assert listener.recv(100) == b"hello"


def burst(key):
    """Data that come together, or a little apart, without a reply."""
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    session = established(far)
    # Without a listener the kernel would reply.
    listener = inside()
    listener.bind(("10.8.0.1", 5555))
    packet = ipv4("10.8.0.2", "10.8.0.1", 17, udp(9, 5555, b"hello"))
    for title, count, gap in (("several messages together", 5, 0),
                              ("several messages in two seconds", 5, 0.5),
                              ("one message", 1, 0)):
        silence(far, 12)
        messages = [session.seal(packet) for _ in range(count)]
        train = far.new_socket()
        train.setsockopt(socket.SOL_UDP, peer.UDP_SEGMENT, len(messages[0]))
        begun = time.monotonic()
        if gap:
            for message in messages:
                far.send(message)
                time.sleep(gap)
        else:
            # One system call: all of them are read in one softirq.
            far.send(b"".join(messages), train)
            far.send(session.seal())  # so that the keepalive comes to the usual socket
        message, _, now = arrival(far, 20)
        between(f"a keepalive after {title}", 10, now - begun, 10 + LATE)
        assert session.open(message)[1] == b""
        # There is no second one, although data came when the first was due already.
        silence(far, 22)


def persistent(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    session = established(far)
    sock = inside()

    def next_one(last, interval=5):
        message, _, now = arrival(far, 20)
        between("a persistent keepalive", interval, now - last, interval + LATE)
        assert session.open(message)[1] == b""
        return now

    begun = time.monotonic()
    wg("set", "wg0", "peer", key_of(far), "persistent-keepalive", "5")
    last = next_one(next_one(next_one(begun, 0)))
    # Any other message that wg0 receives or sends starts the interval again.
    time.sleep(3)
    far.send(session.seal())
    last = next_one(last, 8)
    time.sleep(3)
    send(sock)
    assert session.open(arrival(far, 5)[0])[1] != b""
    last = next_one(last, 8)
    far.send(session.seal())
    wg("set", "wg0", "peer", key_of(far), "persistent-keepalive", "off")
    silence(far, 20)


def unanswered(key):
    for command in ("addr add 127.0.0.50/32 dev lo", "addr add fd66::50/128 dev lo nodad"):
        subprocess.run(["ip", *command.split()], check=True)
    sock = inside()
    for loopback, sticky in (("127.0.0.1", "127.0.0.50"), ("::1", "fd66::50")):
        far = new_peer(key, "10.8.0.2/32", address=(sticky, PORT))
        far.sock = far.new_socket((loopback, 0))
        session = established(far)
        for _ in range(2):
            begun = time.monotonic()
            send(sock)
            message, source, _ = arrival(far, 5)
            assert (message[0], source) == (DATA, sticky), (message[0], source)
            # A second packet makes no difference: the time counts from the first.
            time.sleep(3)
            send(sock)
            assert arrival(far, 5)[1] == sticky
            time.sleep(3)
            # An answer ends the wait.
            far.send(session.seal())
        silence(far, 20)
        begun = time.monotonic()
        send(sock)
        assert arrival(far, 5)[1] == sticky
        time.sleep(5)
        send(sock)
        assert arrival(far, 5)[1] == sticky
        message, source, now = arrival(far, 20)
        assert (message[0], source) == (INITIATION, loopback), (message[0], source)
        between("an initiation after data without an answer", 15, now - begun, 15 + JITTER + LATE)
        wg("set", "wg0", "peer", key_of(far), "remove")


def given_up(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = inside()
    before = statistics()
    for _ in range(5):
        send(sock)
    message, _, last = arrival(far, 1)
    for number in range(1, 20):
        assert message[0] == INITIATION
        message, _, now = arrival(far, 6)
        between(f"try {number + 1}", 5, now - last, 5 + JITTER + LATE)
        last = now
    silence(far, 4.9)
    assert "tx_dropped" not in changes(before), "it was given up too early"
    silence(far, JITTER + LATE + 0.2)
    assert changes(before)["tx_dropped"] == 5, changes(before)
    silence(far, 60)
    # The next packet begins a new series of attempts.
    sock.sendto(b"again", ("10.8.0.2", 9))
    session = answered(far)
    assert far.receive_data(session)[28:33] == b"again"
    silent(far)
    assert changes(before)["tx_dropped"] == 5, changes(before)


def grow_old(far, session, sock, until_s):
    """Lets both ends send for `until_s` seconds, wg0 only if there is `sock`.

    Returns the ages of the session at which initiations came, and at which the last data came."""
    born = time.monotonic()
    initiations, data = [], 0
    while time.monotonic() < born + until_s:
        if sock:
            send(sock)
        far.send(session.seal())
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                message, _, now = arrival(far, max(0.001, end - time.monotonic()))
            except TimeoutError:
                break
            if message[0] == INITIATION:
                initiations.append(now - born)
            else:
                session.open(message)
                data = now - born
    return initiations, data


def worth_nothing(far, session):
    """Checks that wg0 takes no message under that session any more."""
    wrong = far.initiation()[:-32] + bytes(32)
    dropped("data under keys that are too old", lambda: far.send(session.seal()),
            f"Invalid MAC of handshake, dropping packet from {name_of(far.sock)}$",
            barrier=lambda: far.send(wrong), quiet=False)


def initiator(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = inside()
    send(sock)
    session = answered(far)
    # The initiations are not answered.
    initiations, data = grow_old(far, session, sock, 185)
    between("the first initiation", 120 - LATE, initiations[0], 120.5 + LATE)
    between("the last data", 179.5 - LATE, data, 180)
    assert 12 <= len(initiations) <= 14, initiations
    worth_nothing(far, session)


def zeroed_after_540(begun):
    """Nothing is sent any more by the session that was begun then: its keys go in time."""
    zeroed, destroyed = r"Zeroing out all keys for peer", r"Keypair \d+ destroyed for peer"
    time.sleep(begun + 539.5 - time.monotonic())
    assert not LOG.has(zeroed) and not LOG.has(destroyed)
    time.sleep(VERY_LATE)
    assert LOG.has(zeroed)
    until("the keypair to go", lambda: LOG.has(destroyed))


def responder(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = inside()
    session = established(far)
    begun = time.monotonic()
    initiations, data = grow_old(far, session, sock, 185)
    between("the last data", 179.5 - LATE, data, 180)
    between("the first initiation", 180 - LATE, initiations[0], 180.5 + LATE)
    worth_nothing(far, session)
    zeroed_after_540(begun)


def forgotten(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    send(inside())
    session = answered(far)
    begun = time.monotonic()
    far.send(session.seal())
    zeroed_after_540(begun)


def receiver(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = inside()
    send(sock)
    session = answered(far)
    far.receive_data(session)
    initiations, _ = grow_old(far, session, None, 169)
    between("the first initiation", 165 - LATE, initiations[0], 165.5 + LATE)
    assert len(initiations) == 1, initiations


class Loaded:
    """wg0 with twelve peers at the other end, any of which may use any socket."""

    def __init__(self, key):
        self.peers = [new_peer(key, f"10.8.1.{number}/32") for number in range(1, 13)]
        self.junk = self.socket("127.0.0.99")
        # Its first MAC is right: without it a message gets no place in the queue.
        self.filler = self.peers[0].macs(struct.pack("<I", INITIATION) + bytes(112))

    def load(self):
        """Puts wg0 under load: for a second from now, it answers initiations with cookies."""
        with NoWorkers():
            for _ in range(700):
                self.junk.sendto(self.filler, ("127.0.0.1", PORT))

    def cookie(self, sock, address):
        """The cookie for that socket."""
        far = self.peers[0]
        far.cookie, far.sock, far.address = None, sock, address
        far.send(far.initiation())
        far.consume_cookie(far.receive(COOKIE))
        return far.cookie

    def answers(self, sock, address, cookie):
        """Sends twelve initiations, each of another peer. Returns the types of the answers, and the
        time of sending."""
        messages = []
        for far in self.peers:
            far.cookie = cookie
            messages.append(far.initiation())
        now = time.monotonic()
        for message in messages:
            sock.sendto(message, address)
        time.sleep(0.05)
        sock.setblocking(False)
        answers = []
        try:
            while True:
                answers.append(sock.recv(2000)[0])
        except BlockingIOError:
            return answers, now

    def accepted(self, sock, address, cookie):
        """Sends twelve initiations, which may only be answered with responses. Returns the number
        of responses, and the time of sending."""
        answers, now = self.answers(sock, address, cookie)
        assert all(answer == RESPONSE for answer in answers), answers
        return len(answers), now

    @staticmethod
    def socket(host, port=0):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, port))
        return sock


def rate(key):
    wg0 = Loaded(key)
    sock, address = wg0.socket("127.0.0.1"), ("127.0.0.1", PORT)
    wg0.load()
    cookie = wg0.cookie(sock, address)
    counts, times = [], []
    for number in range(14):
        if number % 4 == 0:
            wg0.load()
        count, now = wg0.accepted(sock, address, cookie)
        counts.append(count)
        times.append(now)
        time.sleep(max(0, now + 0.1 - time.monotonic()))
    took = times[-1] - times[0]
    print(f"of {len(counts)} times 12 in {took:.3f} s these are answered: {counts}")
    assert counts[0] == 5, counts
    # With a longer gap the bucket would be full, tokens would be lost, and the sum would be too
    # small.
    assert max(now - last for last, now in zip(times, times[1:])) < 0.24, times
    assert 1 < took < 3 and 5 + 20 * took - 2 < sum(counts) <= 5 + 20 * took + 1, (took, counts)


def sources(key):
    for command in ("addr add fd66:1::1/64 dev lo nodad", "addr add fd66:1::2/64 dev lo nodad",
                    "addr add fd66:2::1/64 dev lo nodad"):
        subprocess.run(["ip", *command.split()], check=True)
    wg0 = Loaded(key)
    for hosts, target, want in (
            (("127.0.0.1", "127.0.0.2"), "127.0.0.1", [5, 5]),
            (("fd66:1::1", "fd66:2::1"), "::1", [5, 5]),
            (("fd66:1::1", "fd66:1::2"), "::1", [5, 0])):
        address, counts = (target, PORT), []
        time.sleep(3)  # until every source has all its tokens again
        wg0.load()
        socks = [wg0.socket(host) for host in hosts]
        cookies = [wg0.cookie(sock, address) for sock in socks]
        # The initiations that were answered with cookies have cost no tokens.
        for sock, cookie in zip(socks, cookies):
            counts.append(wg0.accepted(sock, address, cookie)[0])
        print(hosts, counts)
        # A token comes every twentieth of a second, so there may be one or two more.
        assert all(low <= count <= low + 2 for low, count in zip(want, counts)), (hosts, counts)


def cookies(key):
    wg0 = Loaded(key)
    sock, address = wg0.socket("127.0.0.1"), ("127.0.0.1", PORT)
    begun = time.monotonic()
    wg0.load()
    cookie = wg0.cookie(sock, address)
    assert wg0.accepted(sock, address, cookie)[0] >= 5
    port = sock.getsockname()[1]
    for title, stranger in (("port", wg0.socket("127.0.0.1")),
                            ("address", wg0.socket("127.0.0.2", port))):
        answers, _ = wg0.answers(stranger, address, cookie)
        assert answers == [COOKIE] * 12, f"with the cookie of another {title}: {answers}"
    # The cookie is good for as long as the secret that it was made with, which is as old as the
    # first load.
    time.sleep(begun + 115 - time.monotonic())
    wg0.load()
    assert wg0.accepted(sock, address, cookie)[0] >= 5
    time.sleep(begun + 121 - time.monotonic())
    wg0.load()
    answers, _ = wg0.answers(sock, address, cookie)
    assert answers == [COOKIE] * 12, f"with an old cookie: {answers}"


def cookie_sent(key):
    far = new_peer(key, "10.8.0.2/32", endpoint=True)
    sock = inside()
    send(sock)
    initiation, _, _ = arrival(far, 5)
    cookie = b"0123456789abcdef"
    far.send(far.cookie_reply(initiation, cookie))
    begun = time.monotonic()
    good = bad = 0
    while time.monotonic() < begun + 130:
        send(sock)  # so that wg0 does not give up
        message, _, now = arrival(far, 6)
        assert message[0] == INITIATION
        mac = peer.blake2s(message[:-16], key=cookie, size=16)
        if now - begun < 115 - LATE:
            assert message[-16:] == mac, f"not with the cookie, which is {now - begun:.3f} s old"
            good += 1
        elif now - begun > 115 + LATE:
            assert message[-16:] == bytes(16), f"with a cookie that is {now - begun:.3f} s old"
            bad += 1
    assert good > 15 and bad >= 2, (good, bad)


def initiations(key):
    far = new_peer(key, "10.8.0.2/32")
    messages = [far.initiation(timestamp=peer.tai64n(time.time() + number)) for number in range(60)]
    begun = time.monotonic()
    for message in messages:
        far.send(message)
        time.sleep(0.005)
    took = time.monotonic() - begun
    count = 0
    try:
        while True:
            assert arrival(far, 0.2)[0][0] == RESPONSE
            count += 1
    except TimeoutError:
        pass
    print(f"of {len(messages)} initiations in {took:.3f} s {count} were answered")
    # wg0 takes one initiation in 20 ms, by a clock with ticks of 4 ms.
    assert took < 0.6 and took / 0.028 - 1 < count <= took / 0.02 + 1, (took, count)


if __name__ == "__main__":
    name, key = sys.argv[1:]
    {function.__name__: function for function in (
        keepalive, burst, persistent, unanswered, given_up, initiator, responder, forgotten,
        receiver,
        initiations, rate, sources, cookies, cookie_sent)}[name](key)
