# SPDX-License-Identifier: GPL-2.0
"""Sends malformed and forbidden requests for the interface wg0, and compares the errors with the C
module's.

refusals.py table       fails unless every request below is answered with the errno beside it
refusals.py texts       fails unless each refusal by the module itself carries a text for the user
"""

import errno
import socket
import sys

from wgtest.wgnl import (A_FLAGS, A_FWMARK, A_IFINDEX, A_IFNAME, A_LISTEN_PORT, A_PEERS,
                         A_PRIVATE_KEY, GET_DEVICE, I_CIDR, I_FAMILY, I_FLAGS, I_IPADDR,
                         P_ALLOWEDIPS, P_ENDPOINT, P_FLAGS, P_KEEPALIVE, P_PRESHARED_KEY,
                         P_PROTOCOL_VERSION, P_PUBLIC_KEY, SET_DEVICE, Error, Socket, allowedip,
                         attr, nest, peer, u16, u32, u8)

NAME = attr(A_IFNAME, "wg0")
KEY = bytes(range(32))
V4 = socket.inet_aton("192.0.2.1")
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
INET, INET6 = socket.AF_INET, socket.AF_INET6


def ips(*entries):
    return nest(P_ALLOWEDIPS, *entries)


def set_peer(*attrs):
    return NAME + nest(A_PEERS, peer(KEY, *attrs))


# (the mistake, command, attributes, errno of the C module's answer, whether the module itself
# refuses)
TABLE = [
    ("neither a name nor an index", SET_DEVICE, b"", errno.EBADR, True),
    ("a name and an index", SET_DEVICE, NAME + attr(A_IFINDEX, u32(1)), errno.EBADR, True),
    ("no such name", SET_DEVICE, attr(A_IFNAME, "nosuch"), errno.ENODEV, True),
    ("no such index", SET_DEVICE, attr(A_IFINDEX, u32(99999)), errno.ENODEV, True),
    ("an interface of another kind", SET_DEVICE, attr(A_IFNAME, "lo"), errno.EOPNOTSUPP, True),
    ("get: neither a name nor an index", GET_DEVICE, b"", errno.EBADR, True),
    ("get: a name and an index", GET_DEVICE, NAME + attr(A_IFINDEX, u32(1)), errno.EBADR, True),
    ("get: no such name", GET_DEVICE, attr(A_IFNAME, "nosuch"), errno.ENODEV, True),
    ("get: an interface of another kind", GET_DEVICE, attr(A_IFNAME, "lo"), errno.EOPNOTSUPP, True),
    ("get: an attribute that only set has", GET_DEVICE,
     NAME + attr(A_FWMARK, u32(1)), errno.EINVAL, False),
    ("no such command", 2, NAME, errno.EOPNOTSUPP, False),
    ("a name that is too long", SET_DEVICE, attr(A_IFNAME, "w" * 16), errno.EINVAL, False),
    ("a name without its zero", SET_DEVICE, attr(A_IFNAME, b"wg0"), errno.EINVAL, False),
    ("an unknown attribute of the device", SET_DEVICE,
     NAME + attr(A_PEERS + 1, u32(1)), errno.EINVAL, False),
    ("a short private key", SET_DEVICE, NAME + attr(A_PRIVATE_KEY, KEY[:31]), errno.ERANGE, False),
    ("a long private key", SET_DEVICE, NAME + attr(A_PRIVATE_KEY, KEY + b"x"), errno.ERANGE, False),
    ("a listen port of 32 bits", SET_DEVICE,
     NAME + attr(A_LISTEN_PORT, u32(1)), errno.EINVAL, False),
    ("a mark of 16 bits", SET_DEVICE, NAME + attr(A_FWMARK, u16(1)), errno.EINVAL, False),
    ("an unknown flag of the device", SET_DEVICE,
     NAME + attr(A_FLAGS, u32(2)), errno.EINVAL, False),
    ("a list of peers that is not marked as nested", SET_DEVICE,
     NAME + attr(A_PEERS, peer(KEY)), errno.EINVAL, False),
    ("a peer that is not marked as nested", SET_DEVICE,
     NAME + nest(A_PEERS, attr(0, attr(P_PUBLIC_KEY, KEY))),
     errno.EINVAL, True),
    ("a peer without a key", SET_DEVICE, NAME + nest(A_PEERS, nest(0)), errno.EINVAL, True),
    ("a peer with a short key", SET_DEVICE,
     NAME + nest(A_PEERS, peer(KEY[:31])), errno.ERANGE, False),
    ("a short preshared key", SET_DEVICE,
     set_peer(attr(P_PRESHARED_KEY, KEY[:31])), errno.ERANGE, False),
    ("an unknown flag of a peer", SET_DEVICE, set_peer(attr(P_FLAGS, u32(8))), errno.EINVAL, False),
    ("an unknown attribute of a peer", SET_DEVICE,
     set_peer(attr(P_PROTOCOL_VERSION + 1, u32(1))), errno.EINVAL, False),
    ("protocol version 2", SET_DEVICE,
     set_peer(attr(P_PROTOCOL_VERSION, u32(2))), errno.EPFNOSUPPORT, True),
    ("protocol version 0", SET_DEVICE,
     set_peer(attr(P_PROTOCOL_VERSION, u32(0))), errno.EPFNOSUPPORT, True),
    ("an endpoint of 15 bytes", SET_DEVICE,
     set_peer(attr(P_ENDPOINT, bytes(15))), errno.ERANGE, False),
    ("a keepalive interval of 32 bits", SET_DEVICE,
     set_peer(attr(P_KEEPALIVE, u32(1))), errno.EINVAL, False),
    ("allowed IPs that are not marked as nested", SET_DEVICE,
     set_peer(attr(P_ALLOWEDIPS, allowedip(INET, V4, 32))), errno.EINVAL, False),
    ("an allowed IP without a family", SET_DEVICE,
     set_peer(ips(nest(0, attr(I_IPADDR, V4), attr(I_CIDR, u8(32))))), errno.EINVAL, True),
    ("an allowed IP without an address", SET_DEVICE,
     set_peer(ips(nest(0, attr(I_FAMILY, u16(INET)), attr(I_CIDR, u8(32))))), errno.EINVAL, True),
    ("an allowed IP without a length", SET_DEVICE,
     set_peer(ips(nest(0, attr(I_FAMILY, u16(INET)), attr(I_IPADDR, V4)))), errno.EINVAL, True),
    ("an IPv4 length of 33", SET_DEVICE,
     set_peer(ips(allowedip(INET, V4, 33))), errno.EINVAL, True),
    ("an IPv6 length of 129", SET_DEVICE,
     set_peer(ips(allowedip(INET6, V6, 129))), errno.EINVAL, True),
    ("an IPv4 address of 16 bytes", SET_DEVICE,
     set_peer(ips(allowedip(INET, V6, 32))), errno.EINVAL, True),
    ("an IPv6 address of 4 bytes", SET_DEVICE,
     set_peer(ips(allowedip(INET6, V4, 32))), errno.EINVAL, True),
    ("an address of 3 bytes", SET_DEVICE,
     set_peer(ips(allowedip(INET, V4[:3], 24))), errno.ERANGE, False),
    ("an unknown address family", SET_DEVICE,
     set_peer(ips(allowedip(socket.AF_PACKET, V4, 32))), errno.EINVAL, True),
    ("an unknown flag of an allowed IP", SET_DEVICE,
     set_peer(ips(allowedip(INET, V4, 32, attr(I_FLAGS, u32(2))))),
     errno.EINVAL, False),
    ("an unknown attribute of an allowed IP", SET_DEVICE,
     set_peer(ips(allowedip(INET, V4, 32, attr(I_FLAGS + 1, u32(0))))), errno.EINVAL, False),
]


def refusal(sock, command, payload):
    """The Error with which the request is answered, or None if it is accepted."""
    try:
        if command == GET_DEVICE:
            for _ in sock.dump(command, payload):
                pass
        else:
            sock.do(command, payload)
    except Error as error:
        return error
    return None


def main(what):
    sock = Socket()
    wrong = 0
    for title, command, payload, expected, own in TABLE:
        error = refusal(sock, command, payload)
        got = error.errno if error else 0
        text = error.text if error else ""
        print(f"{title}: {errno.errorcode.get(got, got)}, {text or 'no text'}")
        if what == "table" and got != expected:
            print(f"    WRONG: expected {errno.errorcode[expected]}")
            wrong += 1
        if what == "texts" and own and not text:
            print("    WRONG: a text is missing")
            wrong += 1
    print(f"{len(TABLE)} requests, {wrong} wrong")
    return wrong != 0


sys.exit(main(sys.argv[1]))
