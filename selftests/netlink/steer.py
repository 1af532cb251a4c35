# SPDX-License-Identifier: GPL-2.0
"""Tests of `dev-set` and `peer-set` of the netlink family `wireguard_ext` that make requests.

steer.py NAME KEY PRIVATE    runs the function NAME below; KEY is the public key of the only peer
                             of wg0, which is in this namespace, and PRIVATE the private key of wg0
steer.py datagrams ADDRESS CLASS/LABEL…
                             sends a datagram for each of these traffic classes and flow labels,
                             which are hexadecimal
"""

import base64
import errno
import json
import random
import select
import socket
import struct
import subprocess
import sys
import time

from wgtest import wgnl
from wgtest.extension import (DEV_SET, EXT, GET, PEER, PEER_SET, SPEC, SPECIFICATION, Listener,
                              named)
from wgtest.loopback import (JITTER, LATE, between, endpoint_of, inside, key_of, new_peer,
                             send, wg)
from wgtest.machine import until
from wgtest.peer import DATA, INITIATION, RESPONSE
from wgtest.wgnl import attr, nest, u8, u16, u32

IPV6_FLOWINFO_SEND = 33  # the module `socket` has no name for it
# What a request for a peer may have besides its key.
SETTABLE = [each["name"] for s in SPECIFICATION["attribute-sets"] if s["name"] == "peer-set-input"
            for each in s["attributes"] if each["name"] != "public-key"]
NAME = attr(EXT["ifname"], "wg0")


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def state():
    """Everything that a dump tells of wg0."""
    return b"".join(body for _, body in wgnl.Socket("wireguard_ext").dump(GET, NAME))


def policy(key, _):
    netlink = wgnl.Socket("wireguard_ext")
    public = attr(PEER["public-key"], base64.b64decode(key))
    ones = {name: attr(PEER[name], u8(1)) for name in SETTABLE}
    before, listener = state(), Listener("config")

    def peer(*attrs):
        return NAME + nest(EXT["peer"], *attrs)

    def refused(title, command, payload, error):
        try:
            netlink.do(command, payload)
        except wgnl.Error as refusal:
            assert refusal.errno == error, (title, refusal)
            assert refusal.text, title
            print(f"{title}: {refusal}")
        else:
            raise AssertionError(f"{title}: this was carried out")
        assert state() == before, f"{title}: something has changed"

    for command in DEV_SET, PEER_SET:
        refused("no interface", command, b"", errno.EBADR)
        refused("no such interface", command, attr(EXT["ifname"], "wg7"), errno.ENODEV)
        refused("another kind of interface", command, attr(EXT["ifname"], "lo"), errno.EOPNOTSUPP)
        refused("an attribute of another message", command, NAME + attr(EXT["event"], u8(1)),
                errno.EINVAL)
        refused("an attribute that there is not", command, NAME + attr(99, u8(1)), errno.EINVAL)
        refused("trailing bytes", command, NAME + b"xyz", errno.EINVAL)
    refused("sealed by more than 1", DEV_SET, NAME + attr(EXT["sealed"], u8(2)), errno.ERANGE)
    refused("sealed by two bytes", DEV_SET, NAME + attr(EXT["sealed"], u16(1)), errno.EINVAL)
    refused("a peer in dev-set", DEV_SET, peer(public), errno.EINVAL)
    refused("sealed in peer-set", PEER_SET, peer(public) + attr(EXT["sealed"], u8(1)),
            errno.EINVAL)
    label = attr(PEER["label"], b"office")
    refused("no peer", PEER_SET, NAME, errno.EINVAL)
    refused("a peer without a key", PEER_SET, peer(label), errno.EINVAL)
    refused("a key of 31 bytes", PEER_SET, peer(attr(PEER["public-key"], bytes(31)), label),
            errno.ERANGE)
    refused("no such peer", PEER_SET, peer(attr(PEER["public-key"], bytes(32)), label),
            errno.ENOENT)
    refused("a peer without the flag of a nest", PEER_SET, NAME + attr(EXT["peer"], public),
            errno.EINVAL)
    refused("a counter in the peer", PEER_SET, peer(public, attr(PEER["rx-bytes"], bytes(8))),
            errno.EINVAL)
    refused("an unknown attribute in the peer", PEER_SET, peer(public, attr(99, u8(1))),
            errno.EINVAL)
    refused("trailing bytes in the peer", PEER_SET, peer(public, label, b"xyz"), errno.EINVAL)
    refused("a list that is cut off", PEER_SET,
            peer(public, label, attr(PEER["endpoints"], sockaddr("192.0.2.1", 7))[:-4]),
            errno.EINVAL)
    refused("a peer in a peer", PEER_SET, peer(public, nest(EXT["peer"], public)), errno.EINVAL)
    nested = b""
    for _ in range(500):
        nested = nest(PEER["endpoints"], nested)
    refused("nests without end", PEER_SET, peer(public, nested), errno.EINVAL)
    refused("a label of 65 bytes", PEER_SET, peer(public, attr(PEER["label"], b"x" * 65)),
            errno.ERANGE)
    refused("a label with a zero", PEER_SET, peer(public, attr(PEER["label"], b"x\0y")),
            errno.EINVAL)
    refused("a validation that there is not", DEV_SET, NAME + attr(EXT["validation"], u8(4)),
            errno.ERANGE)
    for name, high in (("aggregate-tx", 2), ("aggregate-rx", 2), ("copy-dscp", 1),
                       ("copy-flow-label", 1)):
        refused(f"{name} by {high + 1}", DEV_SET, NAME + attr(EXT[name], u8(high + 1)),
                errno.ERANGE)
    refused("an address of three bytes", DEV_SET, NAME + attr(EXT["local-ipv4"], bytes(3)),
            errno.ERANGE)
    refused("an IPv4 address for IPv6", DEV_SET, NAME + attr(EXT["local-ipv6"], bytes(4)),
            errno.ERANGE)
    for index in 9999, 1 << 31, 0xffffffff:
        refused("an interface that there is not", DEV_SET,
                NAME + attr(EXT["local-ipv4"], bytes([127, 0, 0, 1])) +
                attr(EXT["bind-ifindex"], u32(index)), errno.ENODEV)
    refused("an endpoint that is not there is pinned", PEER_SET, peer(public, ones["pinned"]),
            errno.EDESTADDRREQ)
    for name in ("endpoint", "endpoints"):
        for title, address, error in (
                ("15 bytes", bytes(15), errno.EINVAL), ("29 bytes", bytes(29), errno.ERANGE),
                ("another family", u16(1) + bytes(14), errno.EINVAL),
                ("the length of IPv4", u16(10) + bytes(14), errno.EINVAL)):
            refused(f"{name}: {title}", PEER_SET, peer(public, label, attr(PEER[name], address)),
                    error)
    refused("endpoint: nothing", PEER_SET, peer(public, attr(PEER["endpoint"])), errno.EINVAL)
    many = [attr(PEER["endpoints"], sockaddr("192.0.2.1", port)) for port in range(1, 10)]
    refused("nine endpoints", PEER_SET, peer(public, *many), errno.E2BIG)
    refused("an endpoint twice", PEER_SET, peer(public, *many[:2], *many[:1]), errno.EEXIST)
    for name in ("disabled", "require-preshared-key", "sealed", "pinned"):
        refused(f"{name} by 2", PEER_SET, peer(public, label, attr(PEER[name], u8(2))),
                errno.ERANGE)
        refused(f"{name} by four bytes", PEER_SET, peer(public, label, attr(PEER[name], u32(1))),
                errno.EINVAL)
        # What comes before a wrong attribute is not done either.
        refused(f"{name} before a wrong label", PEER_SET,
                peer(public, ones[name], attr(PEER["label"], b"x\0y")), errno.EINVAL)
    assert not listener.read(), "a change was told"


def told(key, _):
    listener, netlink = Listener("config"), wgnl.Socket("wireguard_ext")
    public = base64.b64decode(key)
    for name in ("aggregate-tx", "aggregate-rx", "validation", "copy-dscp", "copy-flow-label",
                 "sealed"):
        netlink.do(DEV_SET, NAME + attr(EXT[name], u8(1)))
        got = [named(event) for event in listener.read()]
        assert got == [("device-changed", None)], (name, got)
    for each in (attr(PEER["label"], b"x"), attr(PEER["disabled"], u8(1)),
                 attr(PEER["require-preshared-key"], u8(1)),
                 attr(PEER["endpoints"], sockaddr("192.0.2.1", 7)), attr(PEER["pinned"], u8(1))):
        netlink.do(PEER_SET, NAME + nest(EXT["peer"], attr(PEER["public-key"], public), each))
        got = [named(event) for event in listener.read()]
        assert got == [("peer-changed", public)], (each, got)


def hostile(key, _):
    rng, answers = random.Random(8), {}
    netlink = wgnl.Socket("wireguard_ext")
    public = base64.b64decode(key)

    def value():
        return rng.choice((b"wg0\0", u8(0), u8(1), u32(1), public, b"", rng.randbytes(16),
                           rng.randbytes(28), rng.randbytes(rng.randrange(80))))

    for _ in range(5000):
        inner = b"".join(
            attr(rng.choice((1, *PEER.values(), rng.randrange(64)))
                 | rng.choice((0, 0, 0, wgnl.NESTED, 0x4000)), value())
            for _ in range(rng.randrange(4)))
        payload = rng.choice((NAME, NAME, NAME, b"")) + b"".join(rng.choice((
            nest(EXT["peer"], attr(PEER["public-key"], public), inner),
            nest(EXT["peer"], inner),
            attr(rng.choice((*EXT.values(), rng.randrange(64))), value())))
            for _ in range(rng.randrange(3))) + rng.randbytes(rng.choice((0, 0, 0, 3)))
        try:
            netlink.do(rng.choice((DEV_SET, PEER_SET)), payload)
            answer = "done"
        except wgnl.Error as refusal:
            answer = errno.errorcode[refusal.errno]
        answers[answer] = answers.get(answer, 0) + 1
    print(answers)
    assert {"done", "EINVAL", "ERANGE"} <= set(answers), answers
    unknown = errno.errorcode[errno.EOPNOTSUPP]  # it has two names
    assert set(answers) <= {"done", "EINVAL", "EBADR", "ENODEV", "ENOENT", "EPERM", "ERANGE",
                            "EDESTADDRREQ", "E2BIG", "EEXIST", unknown}, answers


def ynl(key, _):
    client = ["python3", "-u", "/usr/src/linux/tools/net/ynl/pyynl/cli.py", "--output-json",
              "--spec", SPEC,
              "--schema", "/usr/src/linux/Documentation/netlink/genetlink-legacy.yaml"]
    public = base64.b64decode(key).hex()

    def answered():
        return json.loads(run(*client, "--dump", "get", "--json", '{"ifname": "wg0"}'))[0]

    run("wg", "set", "wg0", "peer", key, "endpoint", "192.0.2.1:51820")
    device = {"sealed": 1, "validation": "strict", "local-ipv4": "10.8.0.1",
              "local-ipv6": "fd08::1", "bind-ifindex": socket.if_nametoindex("lo"),
              "aggregate-tx": "never", "aggregate-rx": "always", "copy-dscp": 1,
              "copy-flow-label": 1}
    peer = {"label": b"office".hex(), "disabled": 1, "require-preshared-key": 1, "sealed": 1,
            "pinned": 1, "endpoint": sockaddr("192.0.2.1", 7).hex(),
            "endpoints": [sockaddr("192.0.2.1", 7).hex(), sockaddr("192.0.2.2", 8).hex()]}
    assert not set(device) & set(answered()), answered()
    run(*client, "--do", "dev-set", "--json", json.dumps({"ifname": "wg0", **device}))
    run(*client, "--do", "peer-set", "--json",
        json.dumps({"ifname": "wg0", "peer": {"public-key": public, **peer}}))
    found = answered()
    about, = found["peer"]
    print(found)
    assert {name: found.get(name) for name in device} == device, found
    assert {name: about.get(name) for name in peer} == peer, about
    assert set(peer) == set(SETTABLE), "not everything was tried"


def set_peer(far, *attrs):
    wgnl.Socket("wireguard_ext").do(PEER_SET, NAME + nest(
        EXT["peer"], attr(PEER["public-key"], far.public), *attrs))


def set_validation(mode):
    modes = next(each["entries"] for each in SPECIFICATION["definitions"]
                 if each["name"] == "validation")
    number = next(each["value"] for each in modes if each["name"] == mode)
    wgnl.Socket("wireguard_ext").do(DEV_SET, NAME + attr(EXT["validation"], u8(number)))


def attrs_of(far):
    """What a dump tells of a peer."""
    for _, message in wgnl.Socket("wireguard_ext").dump(GET, NAME):
        for number, value in wgnl.parse(message):
            attrs = dict(wgnl.parse(value)) if number == EXT["peer"] else {}
            if attrs.get(PEER["public-key"]) == far.public:
                return attrs
    raise AssertionError("the peer is not there")


def counts_of(far):
    """What is counted of a peer, by the number of the event."""
    return {kind: struct.unpack("=I", count)[0]
            for kind, count in wgnl.parse(attrs_of(far)[PEER["counts"]])}


def state_of(far):
    """What is known of the endpoint of a peer."""
    names = next({entry["value"]: entry["name"] for entry in each["entries"]}
                 for each in SPECIFICATION["definitions"] if each["name"] == "endpoint-state")
    return names[attrs_of(far)[PEER["endpoint-state"]][0]]


def event(name):
    return next(entry["value"] for each in SPECIFICATION["definitions"] if each["name"] == "event"
                for entry in each["entries"] if entry["name"] == name)


def sockaddr(host, port):
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + \
        socket.inet_aton(host) + bytes(8)


def sockaddr_of(sock):
    host, _, port = text_of(sock).partition(":")
    return sockaddr(host, int(port))


def text_of(sock):
    host, port = sock.getsockname()
    return f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


def elsewhere(far):
    """A socket of the peer at another address."""
    return far.new_socket(("127.0.0.9", 0))


def waiting(*socks):
    """The kinds of the messages that wait in each of these sockets. They are taken out."""
    found = []
    for sock in socks:
        found.append([])
        while select.select([sock], [], [], 0)[0]:
            found[-1].append(sock.recv(70000)[0])
    return found


def data_go_to(far, *socks):
    """The socket that the next data message to the peer comes to."""
    waiting(*socks)
    send(inside())
    while True:
        ready, _, _ = select.select(socks, [], [], 30)
        assert ready, "nothing came"
        for sock in ready:
            if sock.recv(70000)[0] == DATA:
                return sock


def connected(far):
    """Makes a session, which wg0 has confirmed by receiving its first message."""
    session = far.connect()
    until("the session", lambda: counts_of(far).get(event("keepalive-received")) == 1)
    return session


def pinned(_, private):
    for mode in "trusting", "proving", "strict":
        set_validation(mode)
        far = new_peer(private, "10.8.0.2/32")
        session = connected(far)
        here, there = far.sock, elsewhere(far)
        if mode != "trusting":
            # Pinning also ends the wait for a proof of another address.
            far.send(session.seal(), there)
            until("the peer is heard elsewhere", lambda: state_of(far) == "candidate")
        set_peer(far, attr(PEER["pinned"], u8(1)))
        assert (state_of(far), endpoint_of(far)) == ("pinned", text_of(here)), mode
        moves = counts_of(far).get(event("endpoint-moved"))
        # A whole handshake from another address, which is answered there. It is no flood.
        time.sleep(0.1)
        far.send(far.initiation(), there)
        far.sock = there
        session = far.consume_response(far.receive(RESPONSE))
        far.sock = here
        before = counts_of(far)[event("keepalive-received")]
        for _ in range(3):
            far.send(session.seal(), there)
        until("the messages have come",
              lambda: counts_of(far)[event("keepalive-received")] == before + 3)
        assert data_go_to(far, here, there) is here, mode
        assert INITIATION not in waiting(there)[0], f"{mode}: another address is probed"
        assert endpoint_of(far) == text_of(here), (mode, endpoint_of(far))
        assert counts_of(far).get(event("endpoint-moved")) == moves, mode
        assert state_of(far) == "pinned", mode
        # The administrator moves it, by either family.
        wg("set", "wg0", "peer", key_of(far), "endpoint", text_of(there))
        assert data_go_to(far, here, there) is there, mode
        # Then the peer moves it.
        set_peer(far, attr(PEER["pinned"], u8(0)))
        assert state_of(far) == "proven", mode
        far.send(session.seal(), here)
        until("the endpoint has moved", lambda: endpoint_of(far) == text_of(here))
        print(f"{mode}: a pinned endpoint stays")


def validation(_, private):
    parameter = "/sys/module/wireguard/parameters/roaming"
    # mode, the parameter, whether data go to an address before its proof, whether it is probed
    for mode, number, goes, probed in (
            ("trusting", 2, True, False), ("proving", 2, True, True), ("strict", 0, False, True),
            ("parameter", 0, True, False), ("parameter", 2, False, True),
            ("parameter", 1, True, True)):
        with open(parameter, "w") as file:
            file.write(str(number))
        set_validation(mode)
        far = new_peer(private, "10.8.0.2/32")
        session = connected(far)
        there = elsewhere(far)
        far.send(session.seal(), there)
        until("the peer is heard elsewhere", lambda: endpoint_of(far) == text_of(there))
        found = data_go_to(far, far.sock, there)
        assert (found is there) == goes, (mode, number)
        if probed:
            far.sock = there
            far.receive(INITIATION)
        else:
            time.sleep(2)
            assert INITIATION not in waiting(there)[0], (mode, number)
        wg("set", "wg0", "peer", key_of(far), "remove")
        print(f"{mode}, parameter {number}: data {'go' if goes else 'do not go'} there")


def endpoint(_, private):
    far = new_peer(private, "10.8.0.2/32")
    session = connected(far)
    begun = time.monotonic()
    there = elsewhere(far)
    # The other family only says where the peer is.
    wg("set", "wg0", "peer", key_of(far), "endpoint", text_of(there))
    far.send(session.seal(), there)
    time.sleep(1)
    assert INITIATION not in waiting(far.sock, there)[1]
    set_peer(far, attr(PEER["endpoint"], sockaddr_of(far.sock)))
    far.receive(INITIATION)
    # 5 s after the last handshake message it could be another reason.
    assert time.monotonic() - begun < 4.5
    # And again, 5 s after that one not being over.
    begun, far.sock = time.monotonic(), there
    set_peer(far, attr(PEER["endpoint"], sockaddr_of(there)))
    session = far.accept()
    assert time.monotonic() - begun < 4.5
    # Until wg0 has the answer it sends by the session before.
    session.open(far.receive(DATA))
    send(inside(), b"through")
    assert far.receive_data(session).rstrip(b"\0").endswith(b"through")
    # What is set again is no change.
    set_peer(far, attr(PEER["endpoint"], sockaddr_of(there)))
    time.sleep(1)
    assert INITIATION not in waiting(there)[0]
    # But it ends the wait for a proof of another address.
    far.send(session.seal(), far.new_socket(("127.0.0.8", 0)))
    until("the peer is heard elsewhere", lambda: state_of(far) == "candidate")
    set_peer(far, attr(PEER["endpoint"], sockaddr_of(there)))
    assert state_of(far) != "candidate" and endpoint_of(far) == text_of(there)


def endpoints(_, private):
    far = new_peer(private, "10.8.0.2/32")
    dead = [far.new_socket(("127.0.0.1", 0)) for _ in range(2)]
    here, places = far.sock, [*dead, far.sock]
    # The first one is dead, the second one not.
    begun = time.monotonic()
    set_peer(far, *(attr(PEER["endpoints"], sockaddr_of(place)) for place in (dead[0], here)))
    send(inside(), b"through")
    session = far.accept()
    assert far.receive_data(session).rstrip(b"\0").endswith(b"through")
    between("with a dead endpoint", 5, time.monotonic() - begun, 6)
    assert waiting(dead[0])[0] == [INITIATION], "more than one try on a dead endpoint"
    assert endpoint_of(far) == text_of(here)
    assert counts_of(far)[event("endpoint-unanswered")] == 1
    # All are dead: each has its turn, and the first one again.
    wg("set", "wg0", "peer", key_of(far), "remove")
    far = new_peer(private, "10.8.0.2/32")
    set_peer(far, *(attr(PEER["endpoints"], sockaddr_of(place)) for place in places))
    last = None
    for turn in range(4):
        place = far.sock = places[turn % 3]
        far.receive(INITIATION)
        now = time.monotonic()
        if last:
            between("the next endpoint", 5 - LATE, now - last, 5 + JITTER + LATE)
        last = now
        assert [INITIATION] not in waiting(*places), "two tries"
    # A list without an end is over, and so is the turn.
    set_peer(far, attr(PEER["endpoints"]))
    for _ in range(2):
        far.receive(INITIATION)
    assert waiting(*places[1:]) == [[], []]
    # A list that has the present endpoint leaves it.
    set_peer(far, *(attr(PEER["endpoints"], sockaddr_of(place)) for place in reversed(places)))
    assert endpoint_of(far) == text_of(places[0])


def lost_initiation(_, private):
    """An initiation is lost, or goes elsewhere, while the peer is heard where it is."""
    far = new_peer(private, "10.8.0.2/32")
    here, dead = far.sock, far.new_socket(("127.0.0.1", 0))
    set_peer(far, *(attr(PEER["endpoints"], sockaddr_of(place)) for place in (here, dead)))
    session = far.accept()
    # wg0 began this session, and begins the next one when it is 120 s old.
    waiting(here)
    tries = 0
    while tries < 3:
        time.sleep(4)
        far.send(session.seal())
        send(inside())
        tries += waiting(here)[0].count(INITIATION)
        assert endpoint_of(far) == text_of(here)
    assert waiting(dead)[0] == []
    # Then the peer falls silent.
    until("the next one is tried", lambda: endpoint_of(far) == text_of(dead))


def datagrams(address, *classes):
    inside6 = ":" in address
    level, kind = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if inside6 else \
        (socket.IPPROTO_IP, socket.IP_TOS)
    with socket.socket(socket.AF_INET6 if inside6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # A connected socket gives all of its packets one flow hash.
        sock.connect((address, 9))
        if inside6:
            sock.setsockopt(level, IPV6_FLOWINFO_SEND, 1)
        for each in classes:
            field, label = (int(number, 16) for number in each.split("/"))
            place = (address, 9, label, 0) if inside6 else (address, 9)
            sock.sendmsg([bytes(1000)], [(level, kind, struct.pack("=i", field))], 0, place)


def main():
    globals()[sys.argv[1]](*sys.argv[2:])


main()
