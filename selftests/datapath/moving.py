# SPDX-License-Identifier: GPL-2.0
"""Peers that move, and attackers who make it look as if a peer had moved.

moving.py NAME KEY MODULE [WORD]
    runs the function NAME below; KEY is the private key of wg0, which is in this namespace. So is
    the other end of its tunnel, which is this program: its addresses are 127.0.0.1 and above

What MODULE has no rules for is shown, and not checked. For guests whose clock counts instructions.
"""

import socket
import sys
import time

from wgtest.loopback import (JITTER, LATE, LOG, between, endpoint_of, established, key_of, new_peer,
                             wg)
from wgtest.machine import until
from wgtest.peer import (BUCKET, BYTES_PER_SECOND, DATA, FACTOR, HEADERS, INITIATION,
                         SO_RCVBUFFORCE, blake2s)
from wgtest.wire import ipv4, udp


def new_socket(host):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    sock.bind((host, 0))
    sock.settimeout(30)
    return sock


def at_address(number):
    """A socket of the peer at 127.0.0.NUMBER. Each is another address."""
    return new_socket(f"127.0.0.{number}")


def name_of(sock):
    host, port = sock.getsockname()
    return f"{host}:{port}"


def drain(sock):
    """The messages that have come to this socket."""
    sock.setblocking(False)
    found = []
    try:
        while True:
            found.append(sock.recv(70000))
    except BlockingIOError:
        sock.settimeout(30)
        return found


COUNTS = {}


def arrived(sock):
    """The number of data messages that this function has seen at this socket, now or before."""
    COUNTS[sock] = COUNTS.get(sock, 0) + len(of_kind(drain(sock), DATA))
    return COUNTS[sock]


def of_kind(messages, kind):
    return [message for message in messages if message[0] == kind]


def size(messages):
    """Bytes of these messages outside, with their headers."""
    return sum(len(message) + HEADERS for message in messages)


def keepalive(far, session, sock, counter=None):
    """Sends a keepalive from this socket, and waits until wg0 has read it."""
    LOG.read().clear()
    far.send(session.seal(counter=counter), sock)
    until("the keepalive", lambda: LOG.has("Receiving keepalive packet"))


def connected(key):
    """A peer at 127.0.0.1 with a session, and a socket whose packets go to it."""
    far = new_peer(key, "10.8.0.2/32")
    far.sock = at_address(1)
    session = established(far)
    drain(far.sock)
    return far, session, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def send(inside, count=1, length=1372):
    """Sends packets to the peer. Of this length they make datagrams of 1,460 bytes outside."""
    for _ in range(count):
        inside.sendto(bytes(length), ("10.8.0.2", 9))


def old_counter(key, module):
    far, session, _ = connected(key)
    there = at_address(9)
    before = endpoint_of(far)
    keepalive(far, session, far.sock, counter=2000)
    for counter in (1999, 1000, 1):
        keepalive(far, session, there, counter)
        assert endpoint_of(far) == before, f"counter {counter} has moved it"
    keepalive(far, session, there, counter=2001)
    assert endpoint_of(far) == name_of(there)


def old_keys(key, module):
    far, old, _ = connected(key)
    there = at_address(9)
    # The peer may go on with the old session until it knows that wg0 has the new keys.
    new = far.connect(confirm=False)
    keepalive(far, old, there, counter=100)
    assert endpoint_of(far) == name_of(there)
    keepalive(far, new, far.sock)
    assert endpoint_of(far) == name_of(far.sock)
    keepalive(far, old, there, counter=101)
    assert endpoint_of(far) == name_of(far.sock), "a message of the old session has moved it"
    keepalive(far, new, there)
    assert endpoint_of(far) == name_of(there)


def port(key, module):
    far, session, inside = connected(key)
    other = at_address(1)
    keepalive(far, session, other)
    assert endpoint_of(far) == name_of(other)
    send(inside, 200)
    messages = []

    def have_come():
        messages.extend(drain(other))
        return len(of_kind(messages, DATA)) == 200

    until("all packets", have_come)
    assert not drain(far.sock), "something went to the old port"
    assert not of_kind(messages, INITIATION), "the new port was probed"


def elsewhere(key, module):
    """The peer moves to another address, and answers there."""
    far, session, inside = connected(key)
    there = at_address(9)
    time.sleep(2)  # after the handshake
    keepalive(far, session, there)
    home, far.sock = far.sock, there
    # The probe comes immediately. Until it is answered, there is a budget.
    far.consume_initiation(far.receive(INITIATION, timeout=0.5))
    send(inside, 100)
    time.sleep(0.1)
    early, late = drain(there), of_kind(drain(home), DATA)
    print(f"before the proof: {len(of_kind(early, DATA))} packets to the new address, {len(late)} "
          "to the old one")
    assert len(of_kind(early, DATA)) + len(late) == 100
    assert of_kind(early, DATA) and late
    assert size(early) <= FACTOR * (32 + HEADERS) + BUCKET
    message, session = far.response()
    far.send(message)
    assert session.open(far.receive(DATA))[1] == b""
    send(inside, 100)
    until("the rest", lambda: arrived(there) == 100)
    assert not drain(home), "something went to the old address"


def early(key):
    """The peer moves right after a handshake, and then nobody sends anything."""
    far, session, _ = connected(key)
    there = at_address(9)
    begun = time.monotonic()
    keepalive(far, session, there)
    far.sock = there
    far.consume_initiation(far.receive(INITIATION, timeout=5))
    between("the probe", 0.5, time.monotonic() - begun, 1 + LATE)
    far.send(far.response()[0])
    until("the proof", lambda: LOG.has("Receiving handshake response"))
    assert endpoint_of(far) == name_of(there)


def strangers(key, module, mode="1"):
    """A peer, or somebody on its path, sends from forged addresses for a minute, at which nobody
    answers."""
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # or ICMP errors would be sent
    sink.bind(("10.8.0.1", 9))
    for victims in (1, 30) if mode == "1" else (1,):
        far, session, inside = connected(key)
        socks = [at_address(10 + number) for number in range(victims)]
        ack = ipv4("10.8.0.2", "10.8.0.1", 17, udp(9, 9, b"ack"))
        begun = time.monotonic()
        came, sent, count = 0, [], 0
        home = []
        while (passed := time.monotonic() - begun) < 60:
            if count % 5 == 0:
                message = session.seal(ack)
                far.send(message, socks[int(passed) % victims])
                came += len(message) + HEADERS
            send(inside)
            count += 1
            time.sleep(0.01)
            if count % 50 == 0:
                for sock in socks:
                    sent += drain(sock)
                home += of_kind(drain(far.sock), DATA)
        time.sleep(0.1)
        for sock in socks:
            sent += drain(sock)
        home += of_kind(drain(far.sock), DATA)
        data, probes = of_kind(sent, DATA), of_kind(sent, INITIATION)
        bound = FACTOR * came + BUCKET + int(BYTES_PER_SECOND * (time.monotonic() - begun))
        print(f"NOTE: {victims} forged addresses, from which {came} bytes came: sent {size(sent)} "
              f"bytes there, with {len(probes)} initiations; the bound is {bound}. {len(home)} of "
              f"{count} packets went to the peer")
        if module == "rust" and mode != "0":
            assert size(sent) <= bound, "more than the bound"
            assert len(home) + len(data) >= count, "packets were lost"
            assert len(probes) <= 3 + 60 / 5 and (victims > 1 or len(probes) <= 3)
            assert mode != "2" or not data, "data to an address that is not proven"
        else:
            # As with the C module: everything goes to the forged address.
            assert size(sent) > 2 * bound and len(data) >= 0.9 * count
        wg("set", "wg0", "peer", key_of(far), "remove")


def silent(key, module):
    """The peer has moved, but does not take the initiations of wg0: its clock was set back, say."""
    far, session, inside = connected(key)
    there = at_address(9)
    time.sleep(2)
    begun, times = time.monotonic(), []
    home, far.sock = far.sock, there
    while time.monotonic() < begun + 25:
        far.send(session.seal(), there)
        time.sleep(0.1)
        times += [time.monotonic() - begun] * len(of_kind(drain(there), INITIATION))
    print("probes after", *(f"{time_:.1f}" for time_ in times), "s")
    assert len(times) == 3, "not three probes"
    between("the first", 0, times[0], 1)
    for last, now in zip(times, times[1:]):
        between("the next", 4.8, now - last, 5 + JITTER + LATE + 0.2)
    # Now nothing goes there any more.
    drain(home)
    send(inside, 10)
    until("packets at the old address", lambda: arrived(home) == 10)
    assert not drain(there)
    assert endpoint_of(far) == name_of(there)
    # Its own handshake proves the address.
    established(far)
    drain(there)
    send(inside, 100)
    until("packets at the new address", lambda: arrived(there) == 100)
    assert arrived(home) == 10


def loaded(key, module):
    """The peer has moved, and answers with a cookie: it is under load."""
    far, session, inside = connected(key)
    there = at_address(9)
    time.sleep(2)
    keepalive(far, session, there)
    home, far.sock = far.sock, there
    probe, begun = far.receive(INITIATION, timeout=0.5), time.monotonic()
    cookie = b"0123456789abcdef"
    LOG.read().clear()
    far.send(far.cookie_reply(probe, cookie))
    until("the cookie", lambda: LOG.has("Receiving cookie response"))
    # Somebody else might have made it.
    send(inside, 100)
    time.sleep(0.1)
    assert of_kind(drain(home), DATA), "the cookie reply was taken for a proof"
    probes = []
    while not probes:
        far.send(session.seal())
        time.sleep(0.1)
        probes = of_kind(drain(there), INITIATION)
    between("the next initiation", 1, time.monotonic() - begun, 1.5)
    probe, = probes
    assert blake2s(probe[:-16], key=cookie, size=16) == probe[-16:], "it has no cookie"
    far.consume_initiation(probe)
    message, session = far.response()
    far.send(message)
    assert session.open(far.receive(DATA))[1] == b""
    send(inside, 100)
    until("packets at the new address", lambda: arrived(there) == 100)
    assert not of_kind(drain(home), DATA)


def held_back(key, module):
    """Somebody holds back the answer to a probe until the peer is back."""
    far, session, inside = connected(key)
    there = at_address(9)
    time.sleep(2)
    keepalive(far, session, there)
    home, far.sock = far.sock, there
    far.consume_initiation(far.receive(INITIATION, timeout=0.5))
    far.sock = home
    keepalive(far, session, home)
    message, following = far.response()
    far.send(message, home)
    # The session begins, and the peer stays where it speaks from.
    assert following.open(far.receive(DATA))[1] == b""
    send(inside, 100)
    until("packets at the old address", lambda: arrived(home) == 100)
    assert not of_kind(drain(there), DATA) and endpoint_of(far) == name_of(home)


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    {function.__name__: function for function in (
        old_counter, old_keys, port, elsewhere, early, strangers, silent, loaded,
        held_back)}[name](*words)
