# SPDX-License-Identifier: GPL-2.0
"""Many peers. It is run with `python3 -m wgtest.scale`.

    scale.py conf FIRST END CHANGED     prints a configuration for `wg setconf`: the peers FIRST to
                                        END - 1 with four allowed IPs each; of every ten of them,
                                        CHANGED differ from those with CHANGED = 0
    scale.py fill DEVICE COUNT IPS      adds COUNT peers with IPS allowed IPs each, at most four
    scale.py limit DEVICE COUNT         checks that the device, which has COUNT peers, can have no
                                        more
"""

import base64
import errno
import socket
import struct
import sys

from wgtest.wgnl import (A_IFNAME, A_PEERS, P_ALLOWEDIPS, P_FLAGS, P_KEEPALIVE, P_PUBLIC_KEY,
                         REMOVE_ME, SET_DEVICE, Error, Socket, allowedip, attr, nest, parse, peer,
                         u16, u32)


def key(number):
    """The public key of a peer. It needs no private key: no handshake is made."""
    return struct.pack(">I", number) + b"\x5a" * 28


def conf(first, end, changed):
    lines = ["[Interface]\nListenPort = 51820\nFwMark = 0x5\n"]
    for i in range(first, end):
        other = i % 10 < changed
        a, b, c = i >> 16 & 255, i >> 8 & 255, i & 255
        public = base64.b64encode(key(i)).decode()
        # Every other one has a preshared key, every fourth a persistent keepalive.
        psk = (f"PresharedKey = {base64.b64encode(key(i + other)).decode()}\n"
               if i & 1 or other else "")
        keepalive = "" if i & 3 else f"PersistentKeepalive = {25 + other}\n"
        lines.append(
            f"\n[Peer]\nPublicKey = {public}\n{psk}{keepalive}"
            f"Endpoint = 192.0.2.{1 + c % 200}:{1 + i % 60000 + other}\n"
            f"AllowedIPs = 10.{a}.{b}.{c}/32, {a + 32}.{b}.{c}.{64 * other}/26, "
            f"fd08:{a:x}:{b:x}:{c:x}::{1 + other:x}/128, fd09:{a:x}:{b:x}:{c:x}::/{64 + other}\n")
    sys.stdout.write("".join(lines))


def numbered(number, ips):
    """A peer whose key and allowed IPs have its number in them, in the three bytes after each
    b"num"."""
    n = b"num" + struct.pack(">I", number)[1:]
    entries = [allowedip(socket.AF_INET6, n + bytes([kind]) * 10, 128) for kind in range(ips)]
    return nest(0, attr(P_PUBLIC_KEY, n + b"\x5a" * 26),
                *([nest(P_ALLOWEDIPS, *entries)] if entries else []))


def fill(sock, device, count, ips):
    # A request has as many peers as fit into an attribute, whose length is a number of 16 bits.
    # From one request to the next, a few bytes of each peer change: each of them is set for all
    # peers in one assignment, which is quick.
    many = 1024 if not ips else 256
    peers = bytearray(b"".join(numbered(i, ips) for i in range(many)))
    size = len(peers) // many
    places = [at for at in range(size) if peers[at:at + 3] == b"num"]
    for first in range(0, count, many):
        numbers = range(first, first + many)
        for at in places:
            peers[at + 3::size] = bytes([first >> 16]) * many
            peers[at + 4::size] = bytes(number >> 8 & 255 for number in numbers) \
                if many > 256 else bytes([first >> 8 & 255]) * many
        now = min(count - first, many)
        sock.do(SET_DEVICE, attr(A_IFNAME, device) + nest(A_PEERS, bytes(peers[:now * size])))


def limit(sock, device, count):
    # `there`: the key of a peer of the device. `new`: the key of none.
    (there,) = [value for kind, value in parse(numbered(count - 1, 0)[4:]) if kind == P_PUBLIC_KEY]
    new = key(0)

    def ask(key, *attrs):
        sock.do(SET_DEVICE, attr(A_IFNAME, device) + nest(A_PEERS, peer(key, *attrs)))

    def refused(key):
        try:
            ask(key)
        except Error as error:
            assert error.errno == errno.ENOMEM, error
            print(f"NOTE: peer {count + 1}: {error}")
        else:
            raise AssertionError(f"there can be {count + 1} peers")

    refused(new)
    # A peer that is there can be changed. When it is removed there is room for another.
    ask(there, attr(P_KEEPALIVE, u16(7)))
    ask(there, attr(P_FLAGS, u32(REMOVE_ME)))
    ask(new)
    refused(there)


if __name__ == "__main__":
    command, *args = sys.argv[1:]
    if command == "conf":
        conf(*map(int, args))
    else:
        {"fill": fill, "limit": limit}[command](Socket(), args[0], *map(int, args[1:]))
