# SPDX-License-Identifier: GPL-2.0
"""A generic netlink client for the `wireguard` family that sends any request, right or wrong.

`wg` only sends requests that make sense; the tests of the refusals need the others. Needs nothing
but Python's standard library. The numbers are those of include/uapi/linux/wireguard.h, netlink.h
and genetlink.h.
"""

import os
import socket
import struct

NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS, NLM_F_DUMP_INTR = 0x100, 0x200, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
(SOL_NETLINK, NETLINK_GENERIC, NETLINK_CAP_ACK, NETLINK_EXT_ACK,
 NETLINK_GET_STRICT_CHK) = 270, 16, 10, 11, 12
NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS = 1, 2
NESTED = 0x8000
TYPE_MASK = 0x3FFF

GET_DEVICE, SET_DEVICE = 0, 1
(A_IFINDEX, A_IFNAME, A_PRIVATE_KEY, A_PUBLIC_KEY,
 A_FLAGS, A_LISTEN_PORT, A_FWMARK, A_PEERS) = range(1, 9)
(P_PUBLIC_KEY, P_PRESHARED_KEY, P_FLAGS, P_ENDPOINT,
 P_KEEPALIVE, P_LAST_HANDSHAKE, P_RX_BYTES, P_TX_BYTES,
 P_ALLOWEDIPS, P_PROTOCOL_VERSION) = range(1, 11)
(I_FAMILY, I_IPADDR, I_CIDR, I_FLAGS) = range(1, 5)
REPLACE_PEERS = 1
REMOVE_ME, REPLACE_ALLOWEDIPS, UPDATE_ONLY = 1, 2, 4


def attr(kind, value=b""):
    """One attribute. A number is not accepted: its width is the point of many tests, so they choose
    it with u8, u16 and u32 below."""
    if isinstance(value, str):
        value = value.encode() + b"\0"
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)


def nest(kind, *attrs):
    """An attribute that holds others."""
    return attr(kind | NESTED, b"".join(attrs))


def u8(value):
    return struct.pack("=B", value)


def u16(value):
    return struct.pack("=H", value)


def u32(value):
    return struct.pack("=I", value)


def parse(data):
    """The attributes in `data` as a list of (type without flags, value)."""
    found = []
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4 or size > len(data):
            raise ValueError("a malformed attribute from the kernel")
        found.append((kind & TYPE_MASK, data[4:size]))
        data = data[(size + 3) & ~3:]
    return found


class Error(Exception):
    """The kernel's refusal: its errno (positive), the text of the extended acknowledgement, and the
    offset of the attribute."""

    def __init__(self, errno, text, offset):
        super().__init__(f"{os.strerror(errno)} ({text or 'no text'})")
        self.errno, self.text, self.offset = errno, text, offset


class Netlink:
    """A bound netlink socket of `protocol` that asks for extended acknowledgements without a copy
    of the request."""

    def __init__(self, protocol, strict=False):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.sock.bind((0, 0))
        self.sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        if strict:
            self.sock.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self.seq = 0
        self.buffer = memoryview(bytearray(1 << 16))

    def send_message(self, kind, flags, body):
        """Sends a message with these flags, and no others."""
        self.seq += 1
        self.sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, self.seq, 0) + body)

    def messages(self, size=1 << 16):
        """One datagram's messages as (type, flags, payload), read into a buffer of at most 64
        KiB."""
        data = bytes(self.buffer[:self.sock.recv_into(self.buffer, size)])
        found = []
        while len(data) >= 16:
            size, kind, flags, _, _ = struct.unpack_from("=IHHII", data)
            if not 16 <= size <= len(data):
                raise ValueError(
                    "a malformed message from the kernel, or one that the buffer is too small for")
            found.append((kind, flags, data[16:size]))
            data = data[(size + 3) & ~3:]
        return found

    @staticmethod
    def check(kind, flags, payload):
        """Raises the error of an NLMSG_ERROR or of a failing NLMSG_DONE."""
        if kind not in (NLMSG_ERROR, NLMSG_DONE) or len(payload) < 4:
            return
        errno = -struct.unpack_from("=i", payload)[0]
        if not errno:
            return
        tlvs = {}
        if flags & NLM_F_ACK_TLVS:
            tlvs = dict(parse(payload[20 if kind == NLMSG_ERROR else 4:]))
        text = tlvs.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode()
        raise Error(errno, text, tlvs.get(NLMSGERR_ATTR_OFFS))

    def acknowledged(self):
        """The payloads that come before the acknowledgement."""
        answers = []
        while True:
            for kind, flags, body in self.messages():
                self.check(kind, flags, body)
                if kind == NLMSG_ERROR:
                    return answers
                answers.append(body)

    def dumped(self, size=1 << 16):
        """The messages of a dump as (flags, payload), read into a buffer of `size` bytes."""
        while True:
            for kind, flags, body in self.messages(size):
                self.check(kind, flags, body)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return
                yield flags, body


class Socket(Netlink):
    """A generic netlink socket that knows the family `name`."""

    def __init__(self, name="wireguard", strict=False):
        super().__init__(NETLINK_GENERIC, strict)
        # CTRL_CMD_GETFAMILY with CTRL_ATTR_FAMILY_NAME; the answer has CTRL_ATTR_FAMILY_ID.
        self.family = 16
        answer = dict(parse(self.do(3, attr(2, name))[0]))
        self.family = struct.unpack("=H", answer[1])[0]
        self.operations = [dict(parse(op)) for _, op in parse(answer.get(6, b""))]

    def send(self, command, payload=b"", flags=0, version=1):
        self.send_message(self.family, NLM_F_REQUEST | flags,
                          struct.pack("=BBH", command, version, 0) + payload)

    def do(self, command, payload=b"", flags=0, version=1):
        """Sends a request and waits for its acknowledgement. Returns the messages before that,
        without generic netlink headers."""
        self.send(command, payload, flags | NLM_F_ACK, version)
        return [body[4:] for body in self.acknowledged()]

    def dump(self, command, payload=b""):
        """A dump, message by message: yields (flags, attributes as bytes)."""
        self.send(command, payload, NLM_F_DUMP)
        for flags, body in self.dumped():
            yield flags, body[4:]


def peer(key, *attrs):
    """An entry of A_PEERS."""
    return nest(0, attr(P_PUBLIC_KEY, key), *attrs)


def allowedip(family, address, cidr, *attrs):
    """An entry of P_ALLOWEDIPS."""
    return nest(0, attr(I_FAMILY, u16(family)),
                attr(I_IPADDR, address), attr(I_CIDR, u8(cidr)), *attrs)
