# SPDX-License-Identifier: GPL-2.0
"""Looks for key material in the whole memory of a guest. For secrets.sh.

keysearch.py far ADDRESS            in the other guest: plays all peers, and knows all secrets
keysearch.py near ADDRESS MODULE    in the guest of the module: configures it, makes it talk to its
                                    peers, removes them, and searches the memory for their secrets;
                                    writes the results to /tmp/secrets.MODULE
keysearch.py show MODULE GROUP…     prints wrong results of these groups of secrets, and fails if
                                    there are any

No program in the searched guest has a secret in its memory. Secrets are sent to it masked, and
unmasked only to be given to the kernel, in a buffer that is masked again afterwards. A needle, a
secret that is searched for, is split into overlapping words of eight bytes, of which Python keeps
no two side by side. The memory is read into a buffer that is cleared in the end.

There are three searches: the first when all objects are there, and their secrets must be found; the
second when some objects have gone, whose secrets must not be found, but those of the others must;
the third when the module has gone, and no secret must be found.
"""

import collections
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

from wgtest.kcore import MASK, WORD_MASK, Memory, find
from wgtest.wgnl import (A_IFNAME, A_LISTEN_PORT, A_PEERS, A_PRIVATE_KEY, NLM_F_ACK, NLM_F_REQUEST,
                         P_ALLOWEDIPS, P_ENDPOINT, P_FLAGS, P_PRESHARED_KEY, REMOVE_ME, SET_DEVICE,
                         Socket, allowedip, attr, nest, peer, u16, u32)

UNMASK = bytes(byte ^ MASK for byte in range(256))
PORT = 17
# A peer has the port PEER_PORT + its number, an interface LISTEN_PORT + its number.
PEER_PORT, LISTEN_PORT = 52000, 51820
NEAR_OUTER, FAR_OUTER = "10.9.0.1", "10.9.0.2"
# The interface of each peer, wg0 to wg2. near() says how each of them goes.
DEVICE_OF = {"kept": 0, "next": 0, "rekeyed": 0, "asked": 0, "pending": 0, "removed": 0,
             "deleted": 1}
DEVICE_OF |= {"down": 2, "silent": 0}
PEERS = list(DEVICE_OF)
# A single word of a secret may lie anywhere: in the tables of this program, or in a register that
# an interrupt has put on a stack. So only this many bytes of a secret are a find, or all of a
# shorter one.
FIND = 16


def is_find(size, length):
    """Whether so many bytes of a secret of that length are a find."""
    return size >= min(FIND, length)

Needle = collections.namedtuple("Needle", "name group words lives dies")


def inner(peer):
    return f"10.8.{DEVICE_OF[peer]}.{10 + PEERS.index(peer)}"


def lines(sock):
    """The values that come as JSON, one a line."""
    yield from map(json.loads, sock.makefile("r"))


def say(sock, words):
    sock.sendall(json.dumps(words).encode() + b"\n")


## The far side


class Far:
    """All the peers, and the secrets that they share with the near side."""

    def __init__(self):
        from wgtest import peer, wire

        self.library, self.wire = peer, wire
        # Secrets that the library computes: (kind, bytes).
        self.seen = []
        plain_kdf, plain_dh = peer.kdf, peer.dh

        def kdf(key, data, count):
            extracted = peer.hmac.new(key, data, peer.hashlib.blake2s).digest()
            outputs = plain_kdf(key, data, count)
            for secret in (key, extracted):
                # HMAC pads its key with 0x36 and 0x5C.
                self.seen += [("chaining", bytes(byte ^ pad for byte in secret))
                              for pad in (0, 0x36, 0x5C)]
            self.seen += [("chaining", output) for output in outputs]
            return outputs

        def dh(private, public):
            self.seen.append(("shared", plain_dh(private, public)))
            return self.seen[-1][1]

        def mix_hash(state, data):
            state.hash = peer.blake2s(state.hash, data)
            self.seen.append(("hash", state.hash))

        plain_tai64n = peer.tai64n

        def tai64n():
            self.timestamp = plain_tai64n()
            return self.timestamp

        peer.kdf, peer.dh, peer.Handshake.mix_hash, peer.tai64n = kdf, dh, mix_hash, tai64n
        self.needles = {}
        self.sessions = collections.Counter()
        # Not secret: zeros, and the hash of the construction's name.
        self.known = {bytes(32)}
        name = peer.blake2s(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
        self.known |= {bytes(byte ^ pad for byte in name) for pad in (0, 0x36, 0x5C)}
        self.setup()

    def setup(self):
        def clamped():
            key = bytearray(os.urandom(32))
            key[0] &= 248
            key[31] = key[31] & 127 | 64
            return bytes(key)

        self.private = [clamped() for _ in range(3)]
        self.peers = {}
        for number, key in enumerate(self.private):
            self.add(f"private key of wg{number}", "device", key, 2 if number == 1 else 3)
        for name, device in DEVICE_OF.items():
            peer = self.library.Peer(clamped(), self.library.public_of(self.private[device]),
                                     (NEAR_OUTER, LISTEN_PORT + device),
                                     psk=os.urandom(32),
                                     source=(FAR_OUTER, PEER_PORT + PEERS.index(name)))
            self.peers[name] = peer
            gone = self.gone(name)
            self.add(f"{name}: preshared key", "peer", peer.psk, 2 if name == "kept" else gone)
            self.add(f"{name}: what both static keys have in common",
                     "peer", self.library.dh(peer.private, peer.remote), gone)
            self.add(f"{name}: public key", "trace", peer.public, gone)
            for label in ("mac1", "cookie"):
                key = self.library.blake2s(label.encode().ljust(8, b"-"), peer.public)
                self.add(f"{name}: {label} key", "trace", key, gone)
        # An endpoint to which no packet is sent.
        self.endpoint = b"\x20\x01" + os.urandom(14)
        self.add("silent: endpoint", "trace", self.endpoint, 2)
        self.initiations = collections.Counter()
        self.session = {}
        self.seen.clear()

    @staticmethod
    def gone(name):
        """The number of the search before which a peer is removed."""
        return 2 if name in ("pending", "removed", "deleted", "silent") else 3

    def add(self, name, group, secret, dies, lives=True):
        """Notes a secret. It must be gone in search `dies` and later; if it `lives`, earlier
        searches must find it."""
        if secret not in self.known:
            self.known.add(secret)
            self.needles[name] = (group, secret, lives, dies)

    def handshake(self, name, dies):
        """Notes the secrets that the library has computed for a handshake."""
        number = len(self.needles)
        for i, (what, secret) in enumerate(self.seen):
            self.add(f"{name}: {what} {number + i} of a handshake",
                     "handshake", secret, dies, False)
        self.seen.clear()

    def begun(self, name, session):
        """Notes the keys of a new session, and the secrets of its handshake."""
        self.sessions[name] += 1
        number = self.sessions[name]
        # "rekeyed" has five sessions, of which the last two stay.
        gone = name in ("removed", "deleted", "down") or name == "rekeyed" and number <= 3
        for way, key in (("sending", session.sending), ("receiving", session.receiving)):
            # The third comes after the first search, and is gone before the second.
            lives = not (name == "rekeyed" and number == 3)
            self.add(f"{name}: {way} key of session {number}",
                     "keypair", key, 2 if gone else 3, lives)
        self.handshake(name, 1 if number <= 2 else 2)
        self.session[name] = session

    def connect(self, name, confirm=True):
        """Makes a handshake from this side, and sends packets, to which there are answers."""
        peer = self.peers[name]
        # wg0 takes only one initiation in 20 ms from a peer.
        time.sleep(0.05)
        session = peer.connect(confirm=confirm)
        self.begun(name, session)
        # A peer keeps only the latest timestamp.
        if self.sessions[name] == 2 and name in ("kept", "removed", "deleted"):
            self.add(f"{name}: timestamp", "trace", self.timestamp, self.gone(name))
        for size in (0, 1, 50, 400, 1300) if confirm else ():
            source = inner(name)
            packet = self.wire.udp(7, 7, bytes(size))
            peer.send(session.seal(
                self.wire.ipv4(source, f"10.8.{DEVICE_OF[name]}.1", socket.IPPROTO_UDP, packet)))

    def received(self, name):
        peer = self.peers[name]
        message = peer.sock.recv(2048)
        if message[0] == self.library.INITIATION and name in ("asked", "pending"):
            peer.consume_initiation(message)
            self.initiations[name] += 1
            if name == "asked":
                answer, session = peer.response()
                peer.send(answer)
                self.begun(name, session)
            else:
                self.state = [peer.state.chain, peer.state.hash]
                self.handshake(name, 2)
                if self.initiations[name] == 1:
                    cookie = os.urandom(16)
                    self.add(f"{name}: cookie", "peer", cookie, 2)
                    peer.send(peer.cookie_reply(message, cookie))
        elif message[0] == self.library.DATA and name == "asked":
            # Without an answer, the near side would begin another handshake.
            peer.send(self.session[name].seal())

    def ephemeral(self, area):
        """Looks for the private key of the last initiation, and notes it. `area` is masked."""
        area = area.translate(UNMASK)
        public = self.peers["pending"].their_ephemeral
        for at in range(0, len(area) - 31):
            secret = area[at : at + 32]
            # A private key is kept clamped; trying only such bytes saves time.
            if not secret[0] & 7 and secret[31] >> 6 == 1 and \
                    self.library.public_of(secret) == public:
                self.add(f"pending: ephemeral private key {len(self.needles)}",
                         "handshake", secret, 2, False)
                return True
        return False

    def words(self):
        """All secrets, each as its words of eight bytes at every offset, masked."""
        for name, (group, secret, lives, dies) in self.needles.items():
            words = [struct.unpack_from("<Q", secret, at)[0] ^ WORD_MASK
                     for at in range(len(secret) - 7)]
            yield Needle(name, group, words, lives, dies)

    def answer(self, words):
        """Carries out a command of the near side, and returns the answer."""
        match words:
            case ["config"]:
                mask = lambda key: key.translate(UNMASK).hex()
                return [[mask(key) for key in self.private],
                        {name: [mask(peer.public), mask(peer.psk)]
                         for name, peer in self.peers.items()},
                        mask(self.endpoint)]
            case ["connect", name, confirm]:
                self.connect(name, confirm)
            case ["psk", name]:
                self.peers[name].psk = os.urandom(32)
                self.add(f"{name}: new preshared key", "peer", self.peers[name].psk, 3)
                return self.peers[name].psk.translate(UNMASK).hex()
            case ["initiations", name]:
                return self.initiations[name]
            case ["state"]:
                # The chaining key and the hash of the last initiation.
                return [struct.unpack_from("<Q", secret)[0] ^ WORD_MASK for secret in self.state]
            case ["ephemeral", area]:
                return self.ephemeral(bytes.fromhex(area))
            case ["words"]:
                return list(self.words())
        return None

    def serve(self, control):
        commands = control.makefile("r")
        socks = {peer.sock: name for name, peer in self.peers.items()}
        while True:
            for sock in select.select([control, *socks], [], [])[0]:
                if sock is not control:
                    self.received(socks[sock])
                    continue
                line = commands.readline()
                if not line:
                    return
                say(control, self.answer(json.loads(line)))
                # The command may have read from the other sockets: select again.
                break


def far(address):
    """Serves one near side after another, until one says that it was the last."""
    server = socket.create_server((address, PORT))
    while True:
        control, _ = server.accept()
        first = control.recv(1)
        if first == b"q":
            return
        if first != b"n":
            continue
        side = Far()
        side.serve(control)
        for peer in side.peers.values():
            peer.sock.close()


## The near side


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def configure(sock, payload, *masked):
    """Sends a request whose secrets are masked in `payload`, and unmasks them for that moment."""
    sock.seq += 1
    message = struct.pack("=IHHIIBBH", 20 + len(payload), sock.family,
                          NLM_F_REQUEST | NLM_F_ACK, sock.seq, 0, SET_DEVICE, 1, 0)
    message = bytearray(message + payload)
    places = [message.index(secret) for secret in masked]

    def turn():
        for place, secret in zip(places, masked):
            for at in range(place, place + len(secret)):
                message[at] ^= MASK

    turn()
    sock.sock.send(message)
    turn()
    sock.acknowledged()


class Near:
    """The side whose memory is searched."""

    def __init__(self, address):
        self.control = socket.create_connection((address, PORT))
        self.control.send(b"n")
        self.commands = lines(self.control)
        self.sock = Socket()
        self.private, self.peers, self.endpoint = self.ask("config")

    def ask(self, *words):
        say(self.control, words)
        return next(self.commands)

    def set_peer(self, name, psk):
        psk, public = bytes.fromhex(psk), bytes.fromhex(self.peers[name][0])
        masked = [psk, public]
        endpoint = struct.pack("=H", socket.AF_INET) + \
            struct.pack(">H", PEER_PORT + PEERS.index(name))
        endpoint += socket.inet_aton(FAR_OUTER) + bytes(8)
        if name == "silent":
            masked.append(bytes.fromhex(self.endpoint))
            endpoint = struct.pack("=HHI16sI", socket.AF_INET6, 0x1234, 0, masked[-1], 0)
        configure(
            self.sock,
            attr(A_IFNAME, f"wg{DEVICE_OF[name]}")
            + nest(
                A_PEERS,
                peer(
                    public,
                    attr(P_PRESHARED_KEY, psk),
                    attr(P_ENDPOINT, endpoint),
                    nest(P_ALLOWEDIPS,
                         allowedip(socket.AF_INET, socket.inet_aton(inner(name)), 32)),
                ),
            ),
            *masked,
        )

    def remove_peer(self, name):
        public = bytes.fromhex(self.peers[name][0])
        remove = nest(A_PEERS, peer(public, attr(P_FLAGS, u32(REMOVE_ME))))
        configure(self.sock, attr(A_IFNAME, f"wg{DEVICE_OF[name]}") + remove, public)

    def send_to(self, name):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(100), (inner(name), 9))

    def wait_initiations(self, name, more=1):
        """Waits for another initiation to this peer."""
        had = self.ask("initiations", name)
        end = time.monotonic() + 120
        while self.ask("initiations", name) < had + more:
            if time.monotonic() > end:
                raise TimeoutError(f"no initiation to {name}")
            time.sleep(0.05)

    def set_up(self):
        for number, masked in enumerate(self.private):
            name, key = f"wg{number}", bytes.fromhex(masked)
            ip("link", "add", name, "type", "wireguard")
            configure(
                self.sock, attr(A_IFNAME, name) + attr(A_PRIVATE_KEY, key) + attr(
                    A_LISTEN_PORT, u16(LISTEN_PORT + number)), key
            )
            ip("addr", "add", f"10.8.{number}.1/24", "dev", name)
            ip("link", "set", name, "up")
        for name, (_, psk) in self.peers.items():
            self.set_peer(name, psk)

    def settle(self):
        """Waits for pending RCU callbacks: removing an interface waits for them."""
        for _ in range(3):
            ip("link", "add", "settle", "type", "veth", "peer", "name", "settle2")
            ip("link", "del", "settle")
            time.sleep(0.5)

    def search(self, phase):
        """Searches for all secrets. Returns [[search, name, group, whether it should be there
        (None: it may be), the most bytes found, number of places]], and the result of find()."""
        needles = [Needle(*words) for words in self.ask("words")]
        begun = time.monotonic()
        found = find(needles)
        print(f"{len(needles)} secrets looked for in {time.monotonic() - begun:.0f} s")
        results = []
        for needle in needles:
            whole = max([size for _, size in found.get(needle.name, ())], default=0)
            should = None if needle.dies > phase and not needle.lives else needle.dies > phase
            length = len(needle.words) + 7
            places = sum(is_find(size, length) for _, size in found.get(needle.name, ()))
            results.append([phase, needle.name, needle.group, should, whole, places])
        return results, found

    def pending(self, places):
        """Whether the state of a handshake under way, with its ephemeral private key, lies near the
        preshared key of its peer."""
        memory = Memory()
        for _ in range(3):
            self.wait_initiations("pending")
            state = self.ask("state")
            for place in places:
                begin = max(place - 1024, memory.parts[0][2])
                memory.read(begin, 2048)
                words = {struct.unpack_from("<Q", memory.buffer, at)[0] ^ WORD_MASK
                         for at in range(2048 - 7)}
                area = bytes(byte ^ MASK for byte in memory.views[0][:2048]).hex()
                memory.clear()
                if words.issuperset(state) and self.ask("ephemeral", area):
                    return True
        return False


def near(address, module):
    side = Near(address)
    side.set_up()
    for name in ("kept", "kept", "rekeyed", "rekeyed",
                 "removed", "removed", "deleted", "deleted", "down", "next"):
        side.ask("connect", name, True)
    side.ask("connect", "next", False)
    for name in ("asked", "pending"):
        side.send_to(name)
        side.wait_initiations(name, 0)
    # The first initiation is answered with a cookie.
    side.wait_initiations("pending", 2)
    # A handshake is given up 90 s after the last packet that wanted it. Searching takes longer on
    # a slow machine.
    wanting = subprocess.Popen(["ping", "-q", "-i", "20", inner("pending")],
                               stdout=subprocess.DEVNULL)
    side.settle()
    results, found = side.search(1)
    pending = side.pending(
        [place for place, size in found.get("pending: preshared key", ()) if size == 32])
    wanting.kill()
    wanting.wait()
    results.append([1, "pending: chaining key, hash and ephemeral private key",
                    "handshake", True, 32 * pending, int(pending)])

    for _ in range(3):
        side.ask("connect", "rekeyed", True)
    side.set_peer("kept", side.ask("psk", "kept"))
    side.remove_peer("pending")
    side.remove_peer("removed")
    side.remove_peer("silent")
    ip("link", "del", "wg1")
    ip("link", "set", "wg2", "down")
    side.settle()
    results += side.search(2)[0]

    ip("link", "del", "wg0")
    ip("link", "del", "wg2")
    subprocess.run(["rmmod", "wireguard"], check=True)
    side.settle()
    results += side.search(3)[0]
    with open(f"/tmp/secrets.{module}", "w") as file:
        json.dump([Memory().size, results], file)


def show(module, *groups):
    """Prints wrong results; returns whether there are any, or nothing was searched for."""
    with open(f"/tmp/secrets.{module}") as file:
        size, results = json.load(file)
    wrong, counted = 0, collections.Counter()
    for phase, name, group, should, whole, places in results:
        if group not in groups or should is None:
            continue
        counted[should] += 1
        if (places > 0) != should:
            wrong += 1
            print(f"{'MISSED' if should else 'FOUND'} in search {phase}: {name}: {whole} bytes, in "
                  f"{places} places")
    print(
        f"NOTE: {size >> 20} MB searched three times, for {counted[True]} secrets that must be"
        " there"
        f" and {counted[False]} that must be gone: {wrong} wrong"
    )
    if not counted[True] or not counted[False]:
        print("no secret was searched for")
        wrong += 1
    return wrong != 0


if __name__ == "__main__":
    sys.exit({"far": far, "near": near, "show": show}[sys.argv[1]](*sys.argv[2:]))
