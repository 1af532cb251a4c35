# SPDX-License-Identifier: GPL-2.0
"""The other end of a tunnel, for tests that have to send messages that no WireGuard sends.

It does the handshake (Noise_IKpsk2) from either side and encrypts any bytes under any counter; each
value that goes into a message can be replaced. It has no timers and keeps no state that a test does
not ask for.

    peer = Peer(private_key, public_key_of_the_interface, ("127.0.0.1", 51820))
    session = peer.connect()                          # as initiator
    session = peer.accept()                           # as responder, waits for an initiation
    peer.send(session.seal(packet))
    peer.receive_data(session)                        # the packet in the next data message
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4
LENGTHS = {INITIATION: 148, RESPONSE: 92, COOKIE: 64}
UDP_SEGMENT = 103  # linux/udp.h
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
# Bytes of an IPv4 and a UDP header.
HEADERS = 28
# What an address that is not proven may be sent: the bytes that came from there, times three, and
# for each peer this many bytes, and this many more in a second.
FACTOR, BUCKET, BYTES_PER_SECOND = 3, 16384, 4096
REKEY_AFTER_MESSAGES = 2**60
REJECT_AFTER_MESSAGES = 2**64 - 1 - 8128 - 1

# All public keys that give a shared secret of zeros with any private key: the points of small
# order, in all forms in which they can be written in 32 bytes. X25519 ignores the last bit.
P = 2**255 - 19
LOW_ORDER = [(point | top << 255).to_bytes(32, "little") for top in (0, 1) for point in (
    0, 1, P - 1, P, P + 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823)]


def blake2s(*parts, key=b"", size=32):
    return hashlib.blake2s(b"".join(parts), key=key, digest_size=size).digest()


def kdf(key, data, count):
    """HKDF with BLAKE2s: `count` keys."""
    secret = hmac.new(key, data, hashlib.blake2s).digest()
    keys, last = [], b""
    for number in range(1, count + 1):
        last = hmac.new(secret, last + bytes([number]), hashlib.blake2s).digest()
        keys.append(last)
    return keys


def public_of(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private, public):
    """X25519. Returns a shared secret of zeros, too: the other side has to refuse it."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return bytes(32)


def aead(key, counter):
    return ChaCha20Poly1305(key), struct.pack("<IQ", 0, counter)


def encrypt(key, counter, plain, extra=b""):
    cipher, nonce = aead(key, counter)
    return cipher.encrypt(nonce, plain, extra)


def decrypt(key, counter, text, extra=b""):
    cipher, nonce = aead(key, counter)
    return cipher.decrypt(nonce, text, extra)


def xchacha(key, nonce):
    """The ChaCha20-Poly1305 cipher, and its nonce, of an XChaCha20-Poly1305 key and nonce."""
    # HChaCha20 is the result of the block function before the initial state is added to it.
    block = struct.unpack(
        "<16I", Cipher(algorithms.ChaCha20(key, nonce[:16]), None).encryptor().update(bytes(64)))
    initial = struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<4I", nonce[:16])
    words = [(word - first) & 0xFFFFFFFF for word, first in zip(block[:4] + block[12:], initial)]
    return ChaCha20Poly1305(struct.pack("<8I", *words)), bytes(4) + nonce[16:]


def tai64n(when=None):
    when = time.time() if when is None else when
    return struct.pack(">QI", 2**62 + 10 + int(when), int(when % 1 * 1e9))


class Session:
    """The keys of a finished handshake."""

    def __init__(self, sending, receiving, index, remote):
        (self.sending, self.receiving, self.index, self.remote,
         self.counter) = sending, receiving, index, remote, 0

    def seal(self, plain=b"", counter=None, pad=True):
        """A data message; without `plain`, a keepalive. An explicit counter leaves the session's
        own as it is."""
        if counter is None:
            counter = self.counter
            self.counter += 1
        plain += bytes(-len(plain) % 16) if pad else b""
        return struct.pack("<IIQ", DATA, self.remote, counter) + \
            encrypt(self.sending, counter, plain)

    def open(self, message):
        """(counter, plaintext) of a message, or InvalidTag."""
        kind, index, counter = struct.unpack_from("<IIQ", message)
        if (kind, index) != (DATA, self.index):
            raise InvalidTag
        return counter, decrypt(self.receiving, counter, message[16:])


class Handshake:
    """The state of Noise that both messages share."""

    def __init__(self, responder_static):
        self.chain = blake2s(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
        self.hash = blake2s(blake2s(self.chain, b"WireGuard v1 zx2c4 Jason@zx2c4.com"),
                            responder_static)

    def mix_hash(self, data):
        self.hash = blake2s(self.hash, data)

    def mix(self, data):
        self.chain, = kdf(self.chain, data, 1)

    def mix_key(self, data):
        self.chain, self.key = kdf(self.chain, data, 2)

    def seal(self, plain):
        text = encrypt(self.key, 0, plain, self.hash)
        self.mix_hash(text)
        return text

    def open(self, text):
        plain = decrypt(self.key, 0, text, self.hash)
        self.mix_hash(text)
        return plain

    def ephemeral(self, public):
        self.mix(public)
        self.mix_hash(public)


class Peer:
    """A peer of the interface with the public key `remote`, at `address`.

    Its socket is bound to `source`. Keys are bytes, or text in the format of `wg`.
    """

    def __init__(self, private, remote, address, psk=bytes(32), source=None):
        self.private, self.remote, self.psk = (
            key if isinstance(key, bytes) else base64.b64decode(key)
            for key in (private, remote, psk))
        self.public = public_of(self.private)
        self.address = address
        self.cookie = self.mac1_sent = None
        self.sock = self.new_socket(source)

    def new_socket(self, source=None):
        v6 = ":" in self.address[0]
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(source or ("::" if v6 else "0.0.0.0", 0))
        sock.settimeout(30)
        return sock

    def send(self, message, sock=None):
        (sock or self.sock).sendto(message, self.address)

    def receive(self, *kinds, timeout=30):
        """The next message of these kinds; others are skipped. TimeoutError if none comes."""
        end = time.monotonic() + timeout
        while True:
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            message = self.sock.recv(70000)
            if not kinds or message[0] in kinds:
                return message

    def receive_data(self, session, timeout=30):
        """The packet in the next data message that is no keepalive."""
        while True:
            plain = session.open(self.receive(DATA, timeout=timeout))[1]
            if plain:
                return plain

    # Messages that authenticate themselves.

    def macs(self, message):
        """The message to the interface, with both MACs added."""
        mac1 = blake2s(message, key=blake2s(b"mac1----", self.remote), size=16)
        self.mac1_sent = mac1
        return message + mac1 + (blake2s(message, mac1, key=self.cookie, size=16)
                                 if self.cookie else bytes(16))

    def is_for(self, message, public):
        return hmac.compare_digest(message[-32:-16], blake2s(
            message[:-32], key=blake2s(b"mac1----", public), size=16))

    def consume_cookie(self, message):
        """Takes the cookie out of a reply to the last message that was made."""
        kind, index, nonce, text = struct.unpack("<II24s32s", message)
        cipher, nonce = xchacha(blake2s(b"cookie--", self.remote), nonce)
        self.cookie = cipher.decrypt(nonce, text, self.mac1_sent)
        return index

    def cookie_reply(self, message, cookie):
        """A cookie reply to a handshake message of the interface."""
        nonce = os.urandom(24)
        cipher, short = xchacha(blake2s(b"cookie--", self.public), nonce)
        return struct.pack("<I4s24s", COOKIE, message[4:8], nonce) + \
            cipher.encrypt(short, cookie, message[-32:-16])

    # The initiator's side.

    def initiation(self, timestamp=None, ephemeral=None, static=None, static_static=None):
        """An initiation. `ephemeral` and `static` replace this peer's public keys; `static_static`
        replaces the shared secret of the static keys."""
        self.index = struct.unpack("<I", os.urandom(4))[0]
        self.secret = os.urandom(32)
        state = self.state = Handshake(self.remote)
        public = ephemeral or public_of(self.secret)
        state.ephemeral(public)
        state.mix_key(bytes(32) if ephemeral else dh(self.secret, self.remote))
        sealed = state.seal(static or self.public)
        state.mix_key(dh(self.private, self.remote) if static_static is None else static_static)
        stamp = state.seal(timestamp or tai64n())
        return self.macs(struct.pack("<II", INITIATION, self.index) + public + sealed + stamp)

    def consume_response(self, message):
        kind, remote, index, public, empty = struct.unpack_from("<III32s16s", message)
        if (kind, index, len(message)) != (RESPONSE, self.index, 92) or \
                not self.is_for(message, self.public):
            raise InvalidTag
        state = self.state
        state.ephemeral(public)
        state.mix(dh(self.secret, public))
        state.mix(dh(self.private, public))
        self.mix_psk()
        state.open(empty)
        sending, receiving = kdf(state.chain, b"", 2)
        return Session(sending, receiving, index, remote)

    def connect(self, confirm=True, **replaced):
        """Makes a session with this peer as initiator. The interface sends with it only once it is
        confirmed.

        An interface under load may answer with a cookie first."""
        for _ in range(12):
            self.send(self.initiation(**replaced))
            try:
                message = self.receive(RESPONSE, COOKIE, timeout=5)
            except TimeoutError:
                continue
            if message[0] == COOKIE:
                self.consume_cookie(message)
                continue
            session = self.consume_response(message)
            if confirm:
                self.send(session.seal())
            return session
        raise TimeoutError("no response to an initiation")

    # The responder's side.

    def consume_initiation(self, message):
        """Reads an initiation and returns its timestamp."""
        kind, self.theirs, public, sealed, stamp = struct.unpack_from("<II32s48s28s", message)
        if (kind, len(message)) != (INITIATION, 148) or not self.is_for(message, self.public):
            raise InvalidTag
        state = self.state = Handshake(self.public)
        self.their_ephemeral = public
        state.ephemeral(public)
        state.mix_key(dh(self.private, public))
        if state.open(sealed) != self.remote:
            raise InvalidTag
        state.mix_key(dh(self.private, self.remote))
        return state.open(stamp)

    def response(self, ephemeral=None):
        """The response to the last initiation that was read, and the session. `ephemeral` as in
        initiation()."""
        state = self.state
        self.index = struct.unpack("<I", os.urandom(4))[0]
        secret = os.urandom(32)
        public = ephemeral or public_of(secret)
        state.ephemeral(public)
        for theirs in (self.their_ephemeral, self.remote):
            state.mix(bytes(32) if ephemeral else dh(secret, theirs))
        self.mix_psk()
        message = struct.pack("<III", RESPONSE, self.index, self.theirs) + public + state.seal(b"")
        receiving, sending = kdf(state.chain, b"", 2)
        return self.macs(message), Session(sending, receiving, self.index, self.theirs)

    def accept(self, timeout=30):
        """Waits for an initiation and answers it."""
        self.consume_initiation(self.receive(INITIATION, timeout=timeout))
        message, session = self.response()
        self.send(message)
        return session

    def mix_psk(self):
        self.state.chain, middle, self.state.key = kdf(self.state.chain, self.psk, 3)
        self.state.mix_hash(middle)
