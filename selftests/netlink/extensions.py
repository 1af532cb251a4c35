# SPDX-License-Identifier: GPL-2.0
"""Tests of the netlink family `wireguard_ext` that make messages themselves.

extensions.py NAME KEY    runs the function NAME below; KEY is the private key of wg0. Both wg0 and
                          the far end of its tunnel are in this namespace
"""

import base64
import contextlib
import errno
import importlib.machinery
import importlib.util
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

from extension_counts import Counted, Trace, Traced, counts
from wgtest import peer, wgnl
from wgtest.extension import CONFIG, EXT, GET, PEER, SESSION, SPEC, UNAUTH, Listener, named
from wgtest.machine import NoWorkers, until
from wgtest.peer import COOKIE, DATA, INITIATION, LENGTHS, RESPONSE, Peer
from wgtest.wgnl import attr, nest, u8, u32
from wgtest.wire import ipv4, udp

PORT = 51820
OURS = ("127.0.0.1", PORT)
UDP_SEGMENT = 103  # the module `socket` has no name for it
SLOW = int(os.environ["SLOW"])


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def wg(*words):
    return run("wg", *words)


def text_of(key):
    return base64.b64encode(key).decode()


def new_peer(key, *allowed):
    far = Peer(os.urandom(32), peer.public_of(base64.b64decode(key)), OURS)
    wg("set", "wg0", "peer", text_of(far.public), "allowed-ips", ",".join(allowed))
    return far


# ---- the tests ----------------------------------------------------------------------------------

def policy(_):
    netlink = wgnl.Socket("wireguard_ext")
    name = attr(EXT["ifname"], "wg0")
    for title, payload, error in (
            ("no interface", b"", errno.EBADR),
            ("an interface by name and by index",
             name + attr(EXT["ifindex"], u32(1)), errno.EBADR),
            ("no such interface", attr(EXT["ifname"], "wg7"), errno.ENODEV),
            ("another kind of interface", attr(EXT["ifname"], "lo"), errno.EOPNOTSUPP),
            ("an index of one byte", attr(EXT["ifindex"], u8(1)), errno.EINVAL),
            ("a name of 16 bytes", attr(EXT["ifname"], "w" * 16), errno.EINVAL),
            ("a name without its end", attr(EXT["ifname"], b"wg0"), errno.EINVAL),
            ("an attribute of another message", name + attr(EXT["event"], u8(1)), errno.EINVAL),
            ("an attribute that there is not", name + attr(99, u8(1)), errno.EINVAL),
            ("trailing bytes", name + b"xyz", errno.EINVAL),
            ("a nest", name + nest(EXT["peer"]), errno.EINVAL)):
        try:
            list(netlink.dump(GET, payload))
        except wgnl.Error as refusal:
            assert refusal.errno == error, (title, refusal)
            assert refusal.text, title
            print(f"{title}: {refusal}")
        else:
            raise AssertionError(f"{title}: this was answered")
    for command in (0, CONFIG, SESSION, UNAUTH, 99):
        for send in (netlink.do, lambda *request: list(netlink.dump(*request))):
            try:
                send(command, name)
            except wgnl.Error as refusal:
                assert refusal.errno == errno.EOPNOTSUPP, (command, refusal)
            else:
                raise AssertionError(f"command {command} was carried out")


def hostile(_):
    rng, answers = random.Random(7), {}
    netlink = wgnl.Socket("wireguard_ext")
    for _ in range(5000):
        payload = b"".join(
            attr(rng.randrange(20) | rng.choice((0, 0, wgnl.NESTED, 0x4000)),
                 rng.choice((b"wg0\0", b"wg7\0", u32(1), rng.randbytes(rng.randrange(40)))))
            for _ in range(rng.randrange(4))) + rng.randbytes(rng.choice((0, 0, 0, 3)))
        command = rng.choice((GET, GET, GET, rng.randrange(256)))
        try:
            if rng.randrange(4):
                list(netlink.dump(command, payload))
            else:
                netlink.do(command, payload)
            answer = "done"
        except wgnl.Error as refusal:
            answer = errno.errorcode[refusal.errno]
        answers[answer] = answers.get(answer, 0) + 1
    print(answers)
    unknown = errno.errorcode[errno.EOPNOTSUPP]  # it has two names
    assert set(answers) - {"ERANGE"} == {"done", "EINVAL", "EBADR", "ENODEV", unknown}, answers


def ynl(key):
    client = ["python3", "-u", "/usr/src/linux/tools/net/ynl/pyynl/cli.py", "--output-json",
              "--spec", SPEC,
              "--schema", "/usr/src/linux/Documentation/netlink/genetlink-legacy.yaml"]
    far = new_peer(key, "10.8.0.2/32")
    far.connect()
    answers = json.loads(run(*client, "--dump", "get", "--json", '{"ifname": "wg0"}'))
    device = answers[0]
    assert device["ifname"] == "wg0" and device["is-up"] and device["has-private-key"], device
    about, = device["peer"]
    assert about["counts"]["handshake-answered"] == 1, about
    assert {session["slot"] for session in about["session"]} <= {"current", "next"}, about
    with subprocess.Popen([*client, "--subscribe", "config"], stdout=subprocess.PIPE,
                          text=True) as listener:

        def told():
            # The client does not say when it listens.
            wg("set", "wg0", "fwmark", "5")
            return select.select([listener.stdout], [], [], 0.5)[0]

        until("the client hears of a change", told)
        said = listener.stdout.readline()
        listener.kill()
    assert "config-ntf" in said and "device-changed" in said, said


def dump_1000(_):
    keys = [bytes([number >> 8, number & 255]) + os.urandom(29) + b"\x01" for number in range(1000)]
    with open("/tmp/peers.conf", "w") as file:
        file.writelines(f"[Peer]\nPublicKey = {text_of(key)}\n" for key in keys)
    wg("addconf", "wg0", "/tmp/peers.conf")

    def dumped(dump):
        found, messages = [], 0
        for flags, message in dump:
            interrupted.append(bool(flags & wgnl.NLM_F_DUMP_INTR))
            messages += 1
            found += [dict(wgnl.parse(value))[PEER["public-key"]]
                      for number, value in wgnl.parse(message) if number == EXT["peer"]]
        return found, messages

    netlink, interrupted = wgnl.Socket("wireguard_ext"), []
    found, messages = dumped(netlink.dump(GET, attr(EXT["ifname"], "wg0")))
    assert messages > 1 and not any(interrupted), interrupted
    assert found == keys, "not each peer once, in the order in which they were added"
    # Some go while others are read already.
    dump = netlink.dump(GET, attr(EXT["ifname"], "wg0"))
    first, _ = dumped([next(dump)])
    gone = set(first[:3]) | set(keys[-3:])
    wg("set", "wg0", *(word for key in gone for word in ("peer", text_of(key), "remove")))
    interrupted.clear()
    rest, _ = dumped(dump)
    assert first + rest == [key for key in keys if key in first or key not in gone]
    assert any(interrupted), "nothing says that there was a change meanwhile"


def counts_test(key, checker=Counted):
    far = new_peer(key, "10.8.0.2/32")
    stranger = Peer(os.urandom(32), far.remote, OURS)
    check, send = checker(far), far.send
    good = far.initiation()
    check("a datagram that is no message", lambda: send(b"x" * 40), "datagram-malformed")
    check("a wrong MAC", lambda: send(good[:-17] + bytes([good[-17] ^ 1]) + good[-16:]),
          "wrong-mac1")
    check("a stranger", lambda: send(stranger.initiation()), "unknown-key")
    check("nothing but a MAC", lambda: send(far.macs(struct.pack("<I", INITIATION) + bytes(112))),
          "initiation-unreadable")
    check("a response to nothing",
          lambda: send(far.macs(struct.pack("<I", RESPONSE) + os.urandom(56))), "response-unknown")
    check("a cookie for nobody", lambda: send(struct.pack("<II", COOKIE, 7) + bytes(56)),
          "response-unknown")
    check("data for nobody", lambda: send(struct.pack("<IIQ", DATA, 7, 0) + bytes(16)),
          "unknown-index")
    check("an impostor", lambda: send(far.initiation(static_static=bytes(32))),
          initiation_not_authentic=1)

    good = far.initiation()
    check("an initiation", lambda: send(good), handshake_answered=1)
    session = far.consume_response(far.receive(RESPONSE))
    check("the same again", lambda: send(good), initiation_old_timestamp=1)
    check("a keepalive", lambda: send(session.seal()), handshake_completed=1, keepalive_received=1)
    check("a replayed message", lambda: send(session.seal(counter=0)), rx_replayed=1)
    check("a keepalive of ours", lambda: wg("set", "wg0", "peer", text_of(far.public),
                                            "persistent-keepalive", "600"), keepalive_sent=1)
    text = session.seal(counter=9)
    check("a forged message", lambda: send(text[:-1] + bytes([text[-1] ^ 1])), rx_not_authentic=1)
    check("a wrong source",
          lambda: send(session.seal(ipv4("10.8.0.3", "10.8.0.1", 17, udp(9, 9, b"x")))),
          rx_wrong_source=1)
    check("no IP", lambda: send(session.seal(b"\x00" * 32)), rx_malformed=1)
    other = far.new_socket()
    check("another address", lambda: far.send(session.seal(), other), endpoint_moved=1,
          keepalive_received=1)
    check("a packet for nobody", lambda: transmit("10.8.0.9"), "tx-no-peer")

    # Now wg0 begins.
    far = check.far = new_peer(key, "10.8.0.4/32")
    check("no endpoint", lambda: transmit("10.8.0.4"), no_endpoint=1)
    wg("set", "wg0", "peer", text_of(far.public), "endpoint",
       f"127.0.0.1:{far.sock.getsockname()[1]}")
    check("an initiation of ours", lambda: transmit("10.8.0.4"), handshake_begun=1)
    far.consume_initiation(far.receive(INITIATION))
    right = far.psk
    far.psk = os.urandom(32)
    state = far.state.chain, far.state.hash, far.state.key
    answer, _ = far.response()
    check("another preshared key", lambda: far.send(answer), response_not_authentic=1)
    far.psk = right
    far.state.chain, far.state.hash, far.state.key = state
    answer, _ = far.response()
    check("the answer", lambda: far.send(answer), handshake_completed=1)
    check("the answer again", lambda: far.send(answer), response_not_awaited=1)


def reasons(key):
    counts_test(key, Traced)


def drop_reasons(key):
    trace, far = Trace(), new_peer(key, "10.8.0.2/32")
    # More packets wait for a key than there is room for.
    wg("set", "wg0", "peer", text_of(far.public), "endpoint",
       f"127.0.0.1:{far.sock.getsockname()[1]}")
    for _ in range(200):
        transmit("10.8.0.2")
    found = trace.freed()
    assert found and set(found) == {"FULL_RING"}, found
    # The others go with the peer.
    before = len(found)
    trace.clear()
    wg("set", "wg0", "peer", text_of(far.public), "remove")
    found = trace.freed()
    assert found == ["QUEUE_PURGE"] * (200 - before), (found, before)
    # A session, and no route.
    far = new_peer(key, "10.8.0.3/32")
    far.connect()
    until("the session is confirmed",
          lambda: counts()[far.public].get("handshake-completed") == 1)
    wg("set", "wg0", "peer", text_of(far.public), "endpoint", "203.0.113.1:9")
    trace.clear()
    transmit("10.8.0.3")
    until("there is no route", lambda: trace.freed() == ["IP_OUTNOROUTES"])
    # A packet that is no IP.
    trace.clear()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        with contextlib.suppress(OSError):
            sock.sendto(b"x" * 40, ("wg0", 0x0800))
    until("it is dropped", lambda: trace.freed() == ["UNHANDLED_PROTO"])
    # The interface goes down while packets wait.
    far = new_peer(key, "10.8.0.4/32")
    wg("set", "wg0", "peer", text_of(far.public), "endpoint",
       f"127.0.0.1:{far.sock.getsockname()[1]}")
    transmit("10.8.0.4")
    trace.clear()
    run("ip", "link", "set", "wg0", "down")
    assert trace.freed() == ["QUEUE_PURGE"], trace.freed()


def traces(key):
    trace, far = Trace(), new_peer(key, "10.8.0.2/32")

    def of(what, *fields):
        return [(name, *(about[field] for field in fields)) for name, about in trace.read()
                if name in what]

    at = f"127.0.0.1:{far.sock.getsockname()[1]}"
    # The far end begins.
    session = far.connect()
    until("the session is confirmed",
          lambda: counts()[far.public].get("handshake-completed") == 1)
    handshakes = "wg_handshake_received", "wg_handshake_sent"
    got = of(handshakes, "message", "address")
    assert got == [("wg_handshake_received", "initiation", at),
                   ("wg_handshake_sent", "response", at)], got
    sessions = "wg_session_begun", "wg_session_ended"
    got = of(sessions, "role", "index")
    first = f"{session.remote:08x}"
    assert got == [("wg_session_begun", "responder", first)], (got, first)
    # It moves.
    other = far.new_socket()
    trace.clear()
    far.send(session.seal(), other)
    until("the peer has moved", lambda: counts()[far.public].get("endpoint-moved") == 1)
    got = of(["wg_endpoint"], "event", "address")
    there = f"127.0.0.1:{other.getsockname()[1]}"
    assert got == [("wg_endpoint", "endpoint-moved", there)], (got, there)
    # The peer goes, and its session with it.
    trace.clear()
    wg("set", "wg0", "peer", text_of(far.public), "remove")
    got = of(sessions, "role", "index")
    assert got == [("wg_session_ended", "responder", first)], (got, first)
    # Now wg0 begins.
    far = new_peer(key, "10.8.0.4/32")
    at = f"127.0.0.1:{far.sock.getsockname()[1]}"
    wg("set", "wg0", "peer", text_of(far.public), "endpoint", at)
    trace.clear()
    transmit("10.8.0.4")
    far.consume_initiation(far.receive(INITIATION))
    answer, _ = far.response()
    far.send(answer)
    until("the handshake is complete",
          lambda: counts()[far.public].get("handshake-completed") == 1)
    got = of(handshakes, "message", "address")
    assert got == [("wg_handshake_sent", "initiation", at),
                   ("wg_handshake_received", "response", at)], got
    got = of(sessions, "role")
    assert got == [("wg_session_begun", "initiator")], got
    # A filter by the reason.
    trace.clear()
    trace.write("events/wireguard/wg_handshake_refused/filter", 'reason != "wrong-mac1"')
    far.send(answer[:-17] + bytes([answer[-17] ^ 1]) + answer[-16:])
    far.send(answer)
    until("both are counted", lambda: counts()[None].get("wrong-mac1") == 1
          and counts()[far.public].get("response-not-awaited") == 1)
    assert [reason for _, reason, _ in trace.losses()] == ["response-not-awaited"], trace.read()
    # Nothing is traced that nobody wants.
    trace.write("events/wireguard/enable", "0")
    trace.clear()
    far.send(b"x" * 40)
    until("it is counted", lambda: counts()[None].get("datagram-malformed") == 1)
    assert trace.read() == [], trace.read()


def transmit(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"x", (address, 9))
        except OSError as refusal:
            assert refusal.errno in (errno.ENOKEY, errno.EDESTADDRREQ), refusal


def events(key):
    mine = Listener("config", "session", "unauth")
    # A listener in another namespace.
    run("ip", "netns", "add", "wgt-b")
    elsewhere = subprocess.Popen(
        ["ip", "netns", "exec", "wgt-b", "/tools/wgx/wgx", "monitor", "--json"],
        stdout=subprocess.PIPE, text=True)
    assert json.loads(elsewhere.stdout.readline()) == {"group": "ready"}
    far = new_peer(key, "10.8.0.2/32")
    stranger = Peer(os.urandom(32), far.remote, OURS)
    far.send(stranger.initiation())
    until("the stranger is refused", lambda: counts()[None].get("unknown-key") == 1)
    session = far.connect()
    until("the session is confirmed",
          lambda: counts()[far.public].get("handshake-completed") == 1)
    far.send(session.seal(), far.new_socket())
    until("the peer has moved", lambda: counts()[far.public].get("endpoint-moved") == 1)
    wg("set", "wg0", "peer", text_of(far.public), "remove")
    told = mine.read()
    got = [named(event) for event in told]
    # The time until the next handshake comes with a completed one.
    assert [(named(event)[0], struct.unpack("=I", event[1][EXT["rekey-in"]])[0]) for event in told
            if EXT["rekey-in"] in event[1]] == [("handshake-completed", 120)], told
    want = [("peer-added", far.public), ("allowed-ip-added", far.public), ("unknown-key", None),
            ("endpoint-proven", far.public), ("handshake-completed", far.public),
            ("endpoint-moved", far.public), ("peer-removed", far.public)]
    assert got == want, (got, want)
    # The next event that the other namespace sees is its own.
    run("ip", "-n", "wgt-b", "link", "add", "wg5", "type", "wireguard")
    run("ip", "netns", "exec", "wgt-b", "wg", "set", "wg5", "fwmark", "3")
    event = json.loads(elsewhere.stdout.readline())
    assert (event["ifname"], event["change"]) == ("wg5", "device-changed"), event
    assert mine.read() == []
    elsewhere.kill()
    elsewhere.wait()


def prompt(key):
    far = new_peer(key, "10.8.0.2/32")
    stranger = Peer(os.urandom(32), far.remote, OURS)
    wg_mark(1)
    listener = Listener("config", "session", "unauth")
    slowest = 0

    def arrives(name, cause):
        nonlocal slowest
        begun = time.monotonic_ns()
        cause()
        ready, _, _ = select.select([listener.netlink.sock], [], [], 5)
        took = time.monotonic_ns() - begun
        got = [named(event)[0] for event in listener.read()]
        assert ready and got == [name], (got, name)
        assert took < 10_000_000, (name, took)
        slowest = max(slowest, took)

    for number in range(20):
        arrives("device-changed", lambda: wg_mark(number + 2))
        message = stranger.initiation()
        arrives("unknown-key", lambda: far.send(message))
        time.sleep(0.2)  # ten refusals a second are told
        message = far.macs(struct.pack("<I", INITIATION) + bytes(112))
        arrives("initiation-unreadable", lambda: far.send(message))
        time.sleep(0.2)
    far.send(far.initiation())
    session = far.consume_response(far.receive(RESPONSE))
    far.send(session.seal())
    got = []
    until("both are told", lambda: got.extend(named(event)[0] for event in listener.read())
          or len(got) == 2)
    assert got == ["endpoint-proven", "handshake-completed"], got
    for _ in range(20):
        message, sock = session.seal(), far.new_socket()
        arrives("endpoint-moved", lambda: far.send(message, sock))
    print(f"NOTE: the slowest event took {slowest / 1e6:.2f} ms")


def endpoint_states(key):
    far, session, listener, trace = *connected_for(key), Listener("session"), Trace()

    def told():
        return [named(event)[0] for event in listener.read()]

    def is_now(endpoint, state):
        found = json.loads(run("/tools/wgx/wgx", "show", "wg0", "--json"))[0]["peer"][0]
        return (found["endpoint"], found["endpoint-state"]) == (endpoint, state)

    at = "127.0.0.1:%d" % far.sock.getsockname()[1]
    assert is_now(at, "proven")
    # It speaks from another address, and answers the probe there.
    other = far.new_socket(("127.0.0.2", 0))
    there = "127.0.0.2:%d" % other.getsockname()[1]
    time.sleep(1.5)  # a probe comes a second after another handshake message
    far.send(session.seal(), other)
    until("the address is a candidate", lambda: is_now(there, "candidate"))
    assert "endpoint: " + there + ", not proven" in run("/tools/wgx/wgx", "show", "wg0")
    far.sock = other
    far.consume_initiation(far.receive(INITIATION))
    answer, session = far.response()
    far.send(answer)
    until("the address is proven", lambda: is_now(there, "proven"))
    until("the handshake is complete",
          lambda: counts()[far.public].get("handshake-completed") == 2)
    got = told()
    assert got == ["endpoint-moved", "endpoint-proven", "handshake-completed"], got
    # And from a third one, where it answers no probe.
    time.sleep(1.5)
    third = far.new_socket(("127.0.0.3", 0))
    far.send(session.seal(), third)
    elsewhere = "127.0.0.3:%d" % third.getsockname()[1]
    until("the address is a candidate", lambda: is_now(elsewhere, "candidate"))
    got = told()
    assert got == ["endpoint-moved"], got
    until("the address is refused", lambda: got.extend(told()) or "endpoint-refused" in got)
    third.setblocking(False)
    probes = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            probes += third.recv(70000)[0] == INITIATION
    assert probes == 3, probes
    got = [(fields["event"], fields["address"]) for name, fields in trace.read()
           if name == "wg_endpoint"]
    assert got == [("endpoint-moved", there), ("endpoint-proven", there),
                   ("endpoint-moved", elsewhere), ("endpoint-refused", elsewhere)], got


def connected_for(key):
    """A peer with a confirmed session, and that session."""
    far = new_peer(key, "10.8.0.2/32")
    session = far.connect()
    until("the session is confirmed",
          lambda: counts()[far.public].get("handshake-completed") == 1)
    return far, session


def moved(key):
    first, second = new_peer(key, "10.8.0.2/32,fd08::2/128"), new_peer(key, "10.8.0.3/32")
    listener = Listener("config")
    wg("set", "wg0", "peer", text_of(second.public), "allowed-ips", "10.8.0.2/32,10.8.0.3/32")
    wg("set", "wg0", "peer", text_of(second.public), "allowed-ips", "10.8.0.2/32")
    got = listener.read()
    assert [named(event) for event in got] == [
        ("allowed-ip-moved", second.public), ("allowed-ip-removed", second.public)], got
    assert got[0][1][EXT["from-public-key"]] == first.public


def silent_listener(key):
    far, silent = new_peer(key, "10.8.0.2/32"), Listener("unauth", "session", "config")
    session = far.connect()
    before = counts()[far.public].get("keepalive-received", 0)
    # More than its buffer holds.
    for number in range(3000):
        wg_mark(number)
    for _ in range(20):
        far.send(session.seal())
    until("all have come", lambda: counts()[far.public]["keepalive-received"] >= before + 20)
    try:
        silent.read()
    except OSError as lost:
        assert lost.errno == errno.ENOBUFS, lost
    else:
        raise AssertionError("the listener was not told that it had lost messages")
    # Afterwards it gets messages again.
    silent.read()
    wg("set", "wg0", "fwmark", "77")
    assert [named(event)[0] for event in silent.read()] == ["device-changed"]
    # A mark stays, and is told, even if the port that is set with it cannot be had.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 0))
        request = ["wg", "set", "wg0", "fwmark", "78", "listen-port", str(taken.getsockname()[1])]
        assert subprocess.run(request, check=False).returncode != 0
    assert [named(event)[0] for event in silent.read()] == ["device-changed"]


def wg_mark(number, sockets=[]):
    """Sets the mark of wg0, by one socket for all calls."""
    if not sockets:
        sockets.append(wgnl.Socket())
    sockets[0].do(wgnl.SET_DEVICE, attr(wgnl.A_IFNAME, "wg0") + attr(wgnl.A_FWMARK, u32(number)))


def flood(key):
    far, listener = new_peer(key, "10.8.0.2/32"), Listener("unauth")
    # The kernel makes the datagrams of a call, with less work than one call for each.
    calls, together, messages = 10000 // SLOW, 100, []
    count = calls * together
    wrong = struct.pack("<I", INITIATION) + bytes(LENGTHS[INITIATION] - 4)
    begun = time.clock_gettime(time.CLOCK_BOOTTIME)
    for number in range(calls):
        far.sock.sendmsg([wrong * together],
                         [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(wrong)))],
                         0, far.address)
        if number % 10 == 0:
            messages += listener.read()
    until("all are counted", lambda: counts()[None].get("wrong-mac1", 0) == count)
    # The last one tells how many were left out before it.
    took = time.clock_gettime(time.CLOCK_BOOTTIME) - begun
    time.sleep(0.2)
    far.send(wrong)
    until("the last is told", lambda: messages.extend(listener.read()) or sum(
        1 + struct.unpack("=I", attrs[EXT["left-out"]])[0] for _, attrs in messages) == count + 1)
    print(f"{count} messages in {took:.2f} s were told by {len(messages)}")
    assert len(messages) <= 10 * (took + 0.5) + 2, (len(messages), took)


def load(key):
    far = new_peer(key, "10.8.0.2/32")
    message = far.macs(struct.pack("<I", INITIATION) + bytes(112))
    with NoWorkers():
        for _ in range(1000):
            far.send(message)
    until("cookies are sent", lambda: counts()[None].get("cookie-sent", 0) > 0)
    found = json.loads(run("/tools/wgx/wgx", "why", "wg0", "--json"))
    assert "rate-limit" in {each["code"] for each in found}, found


def answer_why(_):
    """Answers the name of a network namespace with the codes of `wgx why wg0` there."""
    loader = importlib.machinery.SourceFileLoader("wgx", "/tools/wgx/wgx")
    wgx = importlib.util.module_from_spec(importlib.util.spec_from_loader("wgx", loader))
    loader.exec_module(wgx)
    spec = wgx.Spec()
    for name in sys.stdin:
        with open(f"/run/netns/{name.strip()}") as namespace:
            os.setns(namespace.fileno(), os.CLONE_NEWNET)
        with wgx.Family(spec) as family:
            device = family.device("wg0")
        found = [code for code, _ in wgx.of_device(device)]
        for about in device["peer"]:
            found += [code for code, _ in wgx.of_peer(device, about)]
        print(*sorted(found), flush=True)


def main():
    tests = {"counts": counts_test}
    tests.get(sys.argv[1], globals().get(sys.argv[1]))(sys.argv[2])


main()
