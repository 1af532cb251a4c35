# SPDX-License-Identifier: GPL-2.0
"""Gives random prefixes to two peers of wg0, takes them away, and compares lookups with a model.

The error that a sender gets names the peer of its destination: ENOKEY for none, EDESTADDRREQ for
the peer without an endpoint, and no error for the other peer.
"""

import errno
import random
import socket

from wgtest.wgnl import (A_IFNAME, A_PEERS, I_FLAGS, P_ALLOWEDIPS, P_ENDPOINT, SET_DEVICE, Socket,
                         allowedip, attr, nest, peer, u16, u32)

NAME = attr(A_IFNAME, "wg0")
KEYS = [bytes([number]) * 32 for number in (1, 2)]
ENDPOINT = u16(socket.AF_INET) + b"\0\t\x7f\0\0\1" + bytes(8)
TOLD = {errno.ENOKEY: None, errno.EDESTADDRREQ: 0, 0: 1}
FAMILIES = ((socket.AF_INET, 32), (socket.AF_INET6, 128))
# All addresses differ from these in few bits, in any place of a byte.
BASES = {32: 0x0A55AAF0, 128: 0xFD55AAF00FF0AA550123456789ABCDEF}


def near(choice, bits):
    """An address that differs from the base in at most two bits."""
    address = BASES[bits]
    for _ in range(choice.randrange(3)):
        # Not in the first byte: with another one, some addresses cannot be sent to.
        address ^= 1 << choice.randrange(bits - 8)
    return address


def entry(family, bits, address, cidr, *attrs):
    return allowedip(family, address.to_bytes(bits // 8, "big"), cidr, *attrs)


def main():
    sock, choice = Socket(), random.Random(12)
    inside = {family: socket.socket(family, socket.SOCK_DGRAM) for family, _ in FAMILIES}

    def change(number, *attrs):
        sock.do(SET_DEVICE, NAME + nest(A_PEERS, peer(KEYS[number], *attrs)))

    change(0)
    change(1, attr(P_ENDPOINT, ENDPOINT))
    model = {}
    seen = dict.fromkeys(TOLD.values(), 0)
    for step in range(1200):
        family, bits = choice.choice(FAMILIES)
        cidr = choice.randrange(16, bits + 1)
        address = near(choice, bits) >> (bits - cidr) << (bits - cidr)
        number = choice.randrange(2)
        # About 30 prefixes at a time: with too many, every address would have a peer.
        if len(model) > 30 and choice.random() < 0.75:
            family, bits, address, cidr = choice.choice(list(model))
            # Sometimes it is the one beside it, which there may not be.
            if choice.random() < 0.3:
                address ^= 1 << choice.randrange(bits - cidr, bits)
            # A prefix of the other peer stays.
            removed = entry(family, bits, address, cidr, attr(I_FLAGS, u32(1)))
            change(number, nest(P_ALLOWEDIPS, removed))
            if model.get((family, bits, address, cidr)) == number:
                del model[family, bits, address, cidr]
        else:
            change(number, nest(P_ALLOWEDIPS, entry(family, bits, address, cidr)))
            model[family, bits, address, cidr] = number
        for _ in range(3):
            family, bits = choice.choice(FAMILIES)
            address = near(choice, bits)
            found = [(cidr, owner) for (_, width, prefix, cidr), owner in model.items()
                     if width == bits and address >> (bits - cidr) == prefix >> (bits - cidr)]
            owner = max(found)[1] if found else None
            text = socket.inet_ntop(family, address.to_bytes(bits // 8, "big"))
            error = 0
            try:
                inside[family].sendto(b"x", (text, 9))
            except OSError as e:
                error = e.errno
            assert error in TOLD and TOLD[error] == owner, \
                f"step {step}: {text} is {owner}'s, and the sender got error {error}"
            seen[owner] += 1
    print(seen)
    assert min(seen.values()) > 300, seen


if __name__ == "__main__":
    main()
