# SPDX-License-Identifier: GPL-2.0
"""Sends random and mutated netlink requests, most of them wrong, and checks the answers.

hostile_netlink.py SEED COUNT SECRETS

The same SEED and COUNT make the same requests. SECRETS is a file with keys in the format of `wg`,
which senders without rights must never see. Several senders run concurrently. Some of them may
configure:

root        requests to the generic netlink families, in namespace c, to interfaces that come and go
links       requests to rtnetlink, in d, for interfaces of the kind wireguard
dumps       dumps that are given up half-way, in c

The families are `wireguard` and, where the module has it, `wireguard_ext`.

Some may not configure anything. They send requests of all kinds, each of which must be refused:

nobody      another user, in a, first with a socket that root opened, then with its own
unmapped    root, in a, in a user namespace that owns nothing
outside     another user, with a socket of `owner`'s namespace

And some may configure interfaces of their own:

owner       a user in a user namespace and a network namespace of its own; the latter also has wg9,
            whose socket is in another namespace
creator     the user that made the user namespace of `owner`, with a socket of its network namespace

Prints a line of JSON for each sender: the number of its requests and of each answer. Fails if any
answer was wrong.
"""

import array
import base64
import collections
import ctypes
import errno
import json
import os
import socket
import struct
import sys
import time

from wgtest.extension import DEV_SET, EXT, GET, PEER, PEER_SET
from wgtest.record import NAME, PR_SET_DUMPABLE, become_nobody, fresh, ip, leave_with
from wgtest.requests import Maker, ips, key, sockaddr_in, v4, v6
from wgtest.rtnl import (IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_IFALIAS, IFLA_IFNAME,
                         IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND,
                         IFLA_LINK, IFLA_LINKINFO, IFLA_LINK_NETNSID, IFLA_MASTER, IFLA_MTU,
                         IFLA_NET_NS_FD, IFLA_NET_NS_PID, IFLA_RX_QUEUES, IFLA_TXQLEN,
                         IFLA_TX_QUEUES, IFLA_XDP, MAX_MTU, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK)
from wgtest.wgnl import (A_FLAGS, A_FWMARK, A_IFINDEX, A_IFNAME, A_LISTEN_PORT, A_PEERS, GET_DEVICE,
                         NESTED, NETLINK_GENERIC, NLMSG_DONE, NLMSG_ERROR, NLM_F_ACK, NLM_F_DUMP,
                         NLM_F_REQUEST, P_ALLOWEDIPS, P_FLAGS, P_PUBLIC_KEY, SET_DEVICE, Error,
                         Netlink, Socket, attr, nest, parse, peer, u16, u32, u8)

RTM_SETLINK = 19
NLM_F_ECHO, NLM_F_CREATE, NLM_F_EXCL = 0x8, 0x400, 0x200
IFLA_TARGET_NETNSID, IFLA_NEW_IFINDEX, IFLA_NUM_VF = 46, 49, 21
DO, DUMP = NLM_F_REQUEST | NLM_F_ACK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP
# Seconds after which an event is given up.
HANG = 120


def long(attrs):
    """An A_PEERS whose body may be longer than its length of 16 bits can say."""
    body = b"".join(attrs)
    return struct.pack("=HH", (4 + len(body)) & 0xFFFF, A_PEERS | NESTED) + body


def deep(kind, levels):
    body = b""
    for _ in range(levels):
        body = nest(kind, body)
    return body


# The namespace in which each sender begins, and its part of the requests, in percent.
ROLES = {
    "root": ("c", 16),
    "links": ("d", 2),
    "dumps": ("c", 1),
    "nobody": ("a", 30),
    "unmapped": ("a", 23),
    "owner": ("a", 8),
    "creator": ("a", 8),
    "outside": ("a", 12),
}


class Sender:
    """Makes requests, sends them and reads the answers."""

    def __init__(self, seed, secrets):
        self.maker = Maker(seed)
        self.chance = self.maker.chance
        self.secrets = secrets
        self.answers, self.wrong = collections.Counter(), []
        self.sent = 0
        # Attributes made in advance, for senders that are refused whatever they send.
        self.ready, self.ready_ext, self.ready_links = [], [], []
        self.nested = deep(1, 500)
        self.pool = [self.maker.device() for _ in range(150)] + \
            [self.maker.sound() for _ in range(50)]
        many = [peer(key(i), ips(*(v4(f"10.{i}.{j}.0", 24) for j in range(30)))) for i in range(40)]
        self.big = [
            nest(A_PEERS, *many),
            nest(A_PEERS, *(peer(key(i)) for i in range(500))),
            nest(A_PEERS, peer(key(0), ips(*(v6(f"fd00::{i:x}") for i in range(1000))))),
            long(many * 2),
            nest(A_PEERS, *many) * 3,
            nest(A_PEERS, *(peer(key(1), attr(P_FLAGS, u32(i & 7))) for i in range(300))),
            deep(A_PEERS, 1000),
            nest(A_PEERS, deep(0, 1000)),
            nest(A_PEERS, nest(0, attr(P_PUBLIC_KEY, key(1)), deep(P_ALLOWEDIPS, 1000))),
            attr(A_FLAGS) * 20000,
            bytes(100000),
            b"\xff" * 65536,
            self.chance.randbytes(100000),
        ]
        self.big_ext = [
            *(nest(EXT["peer"], attr(PEER["public-key"], key(0)),
                   *(attr(PEER["endpoints"], sockaddr_in("192.0.2.1", port))
                     for port in range(count))) for count in (8, 9, 1000)),
            *(nest(EXT["peer"], attr(PEER["public-key"], key(0)),
                   attr(PEER["label"], b"x" * size)) for size in (64, 65, 60000)),
            nest(EXT["peer"], attr(PEER["public-key"], key(0)), deep(PEER["endpoints"], 1000)),
            deep(EXT["peer"], 1000),
            nest(EXT["peer"], attr(PEER["public-key"], key(0))) * 1000,
            attr(EXT["sealed"], b"\1") * 8000,
            attr(EXT["local-ipv6"], bytes(60000)),
        ]

    def begin(self, role):
        """Makes this the sender of `role`: seeds it and opens its sockets."""
        self.chance.seed(f"{self.chance.random()} {role}")
        self.generic, self.route = Socket(), Netlink(socket.NETLINK_ROUTE)
        self.family = self.generic.family
        try:
            self.ext = Socket("wireguard_ext").family
        except Error:  # the C module does not have it
            self.ext = None

    # Making requests.

    def target(self):
        at = self.chance.random()
        if at < 0.8:
            return NAME
        if at < 0.9:
            return attr(A_IFINDEX, u32(self.chance.randrange(40)))
        return self.chance.choice(
            [b"", attr(A_IFNAME, "wg1"), attr(A_IFNAME, "lo"), NAME + NAME,
             attr(A_IFNAME, b"wg0"), NAME + attr(A_IFINDEX, u32(2))]
        )

    def attributes(self):
        """Attributes of the family: half of them as they were made, half mutated, few garbage."""
        if self.ready:
            return self.chance.choice(self.ready)
        how = self.chance.random()
        if how < 0.01:
            return self.target() + self.chance.choice(self.big)
        if how < 0.03:
            return self.chance.randbytes(self.chance.randrange(400))
        body = self.chance.choice(self.pool)
        if not body.startswith(NAME):
            body = self.target() + body
        return self.maker.mutate(body) if how > 0.5 and body else body

    def ext_attributes(self):
        """As attributes(), of the family `wireguard_ext`."""
        if self.ready_ext:
            return self.chance.choice(self.ready_ext)
        chance, maker = self.chance, self.maker
        how = chance.random()
        if how < 0.03:
            return self.target() + chance.choice(self.big_ext)
        if how < 0.05:
            return chance.randbytes(chance.randrange(400))

        def number(high):
            return maker.odd(u8(chance.randrange(high + 2)))

        def few(*attrs):
            """Attributes with the same probability each, and seldom one that does not belong."""
            return maker.some(*((1.3 / len(attrs), *each) for each in attrs),
                              (0.02, chance.randrange(1, 64), maker.odd(u8(1), 0.5)))

        if chance.random() < 0.5:
            body = few(
                (EXT["sealed"], number(1)),
                (EXT["validation"], number(3)),
                (EXT["local-ipv4"], maker.odd(chance.choice([bytes(4), b"\x7f\0\0\1"]))),
                (EXT["local-ipv6"], maker.odd(chance.choice([bytes(16), bytes(15) + b"\1"]))),
                (EXT["bind-ifindex"],
                 maker.odd(u32(chance.choice([0, 0, 1, chance.randrange(40), 0xFFFFFFFF])))),
                *((EXT[name], number(high)) for name, high in (
                    ("aggregate-tx", 2), ("aggregate-rx", 2), ("copy-dscp", 1),
                    ("copy-flow-label", 1))))
        else:
            places = b"".join(attr(PEER["endpoints"], maker.endpoint())
                              for _ in range(chance.choice([0, 1, 2, 8, 9])))
            label = chance.randbytes(chance.choice([0, 1, 63, 64, 65]))
            body = nest(
                EXT["peer"],
                maker.some((0.95, PEER["public-key"], maker.odd(chance.choice(maker.keys), 0.02))),
                few((PEER["label"], label), (PEER["endpoint"], maker.endpoint()),
                    *((PEER[name], number(1)) for name in (
                        "disabled", "require-preshared-key", "sealed", "pinned"))),
                places)
        body = self.target() + body
        return maker.mutate(body) if body and chance.random() < 0.3 else body

    def link_attributes(self, spaces):
        if self.ready_links:
            return self.chance.choice(self.ready_links)
        chance = self.chance
        name = chance.choice(["wg0", "wg1", "wg2", "wg%d", "lo",
                              "", "x" * 15, "x" * 16, "a/b", "..", "wg 0", "\xff"])
        number = u32(chance.choice(
            [0, 1, 67, 1280, 1420, 65535, 65536, MAX_MTU, MAX_MTU + 1, 0x80000000, 0xFFFFFFFF]))
        data = chance.choice(
            [b"", b"\0", chance.randbytes(8), attr(1, number),
             nest(1, nest(1)), self.nested, chance.choice(self.pool)]
        )
        kind = chance.choice(
            ["wireguard"] * 12 + [b"wireguard", "wireguar", "", "w" * 100, "dummy\0wireguard"])
        space = u32(chance.choice([*spaces, 0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFF]))
        body = self.maker.some(
            (0.7, IFLA_IFNAME, self.maker.odd(name.encode("latin-1") + b"\0")),
            (
                0.75,
                IFLA_LINKINFO | NESTED,
                self.maker.some(
                    (0.95, IFLA_INFO_KIND,
                     kind.encode() + b"\0" if isinstance(kind, str) else kind),
                    (0.4, IFLA_INFO_DATA | NESTED, data),
                    (0.03, IFLA_INFO_SLAVE_KIND, b"wireguard\0"),
                    (0.03, IFLA_INFO_SLAVE_DATA | NESTED, data),
                ),
            ),
            (0.2, IFLA_MTU, self.maker.odd(number)),
            (0.2, IFLA_NET_NS_FD, self.maker.odd(space)),
            (0.05, IFLA_NET_NS_PID, u32(chance.choice([0, 0x7FFFFFFE, 0xFFFFFFFF]))),
            (0.05, IFLA_TARGET_NETNSID, u32(chance.choice([0, 1, 2, 0xFFFFFFFF]))),
            (0.1, IFLA_LINK_NETNSID, u32(chance.choice([0, 1, 2, 0xFFFFFFFF]))),
            (0.1, IFLA_LINK, number),
            (0.05, IFLA_ADDRESS, chance.randbytes(chance.choice([0, 1, 4, 6, 20, 40]))),
            (0.05, IFLA_MASTER, u32(chance.randrange(5))),
            (0.05, IFLA_TX_QUEUES, u32(chance.choice([0, 1, 2, 64, 5000]))),
            (0.05, IFLA_RX_QUEUES, u32(chance.choice([0, 1, 2, 64, 5000]))),
            (0.03, IFLA_TXQLEN, number),
            (0.03, IFLA_NEW_IFINDEX, u32(chance.choice([0, 1, 77, 0x80000000]))),
            (0.03, IFLA_AF_SPEC | NESTED, data),
            (0.03, IFLA_XDP | NESTED, data),
            (0.02, IFLA_IFALIAS, chance.randbytes(chance.choice([0, 5, 300]))),
            (0.02, chance.randrange(70), data),
        )
        return self.maker.mutate(body) if body and chance.random() < 0.3 else body

    def next_generic(self):
        """Sends a request to a family, sound if its header is right. Returns like exchange()."""
        chance = self.chance
        of_ext = self.ext is not None and chance.random() < 0.35
        command, flags = (SET_DEVICE, DO) if chance.random() < 0.85 else (GET_DEVICE, DUMP)
        if of_ext:
            command = chance.choice([DEV_SET, PEER_SET]) if flags == DO else GET
        version, reserved = 1, 0
        damaged = chance.random() < 0.06
        if damaged:
            which = chance.randrange(4)
            if which == 0:
                command = chance.randrange(256)
            elif which == 1:
                version = chance.randrange(256)
            elif which == 2:
                reserved = chance.randrange(1, 1 << 16)
            else:
                flags = chance.randrange(1 << 16) | NLM_F_REQUEST
        body = struct.pack("=BBH", command, version, reserved)
        body += self.ext_attributes() if of_ext else self.attributes()
        family = self.ext if of_ext else self.family
        return self.exchange(self.generic, family, flags, body, not damaged)

    def next_link(self, spaces=()):
        """Sends a request to rtnetlink, sound if it asks for a change. Returns like exchange()."""
        chance = self.chance
        kind = chance.choice(
            [RTM_NEWLINK] * 6 + [RTM_SETLINK, RTM_DELLINK, RTM_DELLINK, RTM_GETLINK])
        flags = DO
        if kind == RTM_NEWLINK:
            flags |= chance.choice([NLM_F_CREATE | NLM_F_EXCL,
                                    NLM_F_CREATE, NLM_F_CREATE, 0, 0x100, NLM_F_ECHO])
        elif kind == RTM_GETLINK and chance.random() < 0.2:
            flags = DUMP
        family = chance.choice([0] * 9 + [chance.randrange(256)])
        index = chance.choice([0] * 9 + [-1, 1, 2, chance.randrange(40), 0x7FFFFFFF])
        change = chance.choice([0, 0, IFF_UP, IFF_UP, chance.randrange(1 << 16), 0xFFFFFFFF])
        body = struct.pack("=BxHiII", family, 0, index,
                           chance.choice([change, 0]), change) + self.link_attributes(spaces)
        return self.exchange(self.route, kind, flags, body, kind != RTM_GETLINK)

    # Sending and reading.

    def exchange(self, sock, kind, flags, body, sound):
        """Sends a request, seldom cut off or with more behind it, and reads all answers. Returns
        (sound, errno, data came). The errno is 0 for success, and None if there was no answer."""
        sock.seq += 1
        self.sent += 1
        message = struct.pack("=IHHII", 16 + len(body), kind, flags, sock.seq, 0) + body
        how = self.chance.random()
        if how < 0.04:
            sound = False
            if how < 0.01:
                message = message[: self.chance.randrange(len(message))]
            elif how < 0.02:
                message = u32(self.chance.choice(
                    [0, 15, 16, 17, 20, len(message) + 1, 0xFFFFFFFF])) + message[4:]
            elif how < 0.03:  # the same request three times in one datagram
                message = b"".join([message + bytes(-len(message) % 4)] * 3)
            else:
                message += self.chance.randbytes(self.chance.randrange(1, 16))
        self.last = message
        try:
            sock.sock.send(message)
        except OSError as error:
            self.answers[f"not sent: {errno.errorcode[error.errno]}"] += 1
            return False, None, False
        status, data = self.answer(sock, sound)
        if sound and status is None:
            self.complain("no answer", message)
        self.answers["nothing" if status is None else errno.errorcode.get(status, "done")] += 1
        return sound, status, data

    def answer(self, sock, one):
        """Reads all answers, or with `one` up to the end of the one that must come. The answer to a
        request is there as soon as it has been sent; a dump continues while it is read."""
        status, data = None, False
        while not one or status is None:
            try:
                size = sock.sock.recv_into(sock.buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return status, data
            except OSError as error:  # the socket had no room for all answers
                self.answers[f"not read: {errno.errorcode[error.errno]}"] += 1
                status = error.errno if status is None else status
                continue
            datagram = bytes(sock.buffer[:size])
            if any(secret in datagram for secret in self.secrets):
                self.complain("a secret was shown", self.last)
            while len(datagram) >= 16:
                size, kind, _, seq, _ = struct.unpack_from("=IHHII", datagram)
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    if seq == sock.seq:
                        status = -struct.unpack_from("=i", datagram, 16)[0] if size >= 20 else 0
                else:
                    data |= sock is self.generic and kind in (self.family, self.ext)
                datagram = datagram[max(16, size + 3 & ~3) :]
        return status, data

    def complain(self, what, message=b""):
        self.wrong.append(f"{what}; the request: {message[:300].hex()}")

    def expect(self, what, good):
        if not good:
            self.complain(what)


def root(sender, count):
    while sender.sent < count:
        sender.next_generic()


def links(sender, count):
    spaces = [os.open(f"/run/netns/wgt-{name}", os.O_RDONLY) for name in "cd"]
    while sender.sent < count:
        sender.next_link(spaces)
        made = [index for index, name in socket.if_nameindex() if name != "lo"]
        if len(made) > 8:
            for index in made:
                body = struct.pack("=BxHiII", 0, 0, index, 0, 0)
                sender.exchange(sender.route, RTM_DELLINK, DO, body, False)


def dumps(sender, count):
    while sender.sent < count:
        sock = Netlink(NETLINK_GENERIC)
        sock.sock.setblocking(False)
        if sender.chance.random() < 0.5:
            sock.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        family, command = sender.chance.choice(
            [(sender.family, GET_DEVICE)] + [(sender.ext, GET)] * (sender.ext is not None))
        body = struct.pack("=BBH", command, 1, 0) + \
            attr(A_IFNAME, sender.chance.choice(["wg0", "wg0", "wg1"]))
        came = 0
        try:
            # Seldom a second dump is begun before the first has ended.
            for _ in range(sender.chance.choice([1, 1, 2])):
                sock.send_message(family, DUMP, body)
                sender.sent += 1
                for _ in range(sender.chance.randrange(4)):
                    came += len(sock.messages(4096))
        except OSError:  # no message now, or no room for one
            pass
        sender.answers[f"{came} messages read"] += 1
        sock.sock.close()


def refused(sender, count, spaces=()):
    """Requests by a sender without rights: each must be refused, and show nothing."""
    sender.ready, sender.ready_ext, sender.ready_links = [], [], []
    sender.ready = [sender.attributes() for _ in range(400)]
    sender.ready_ext = [sender.ext_attributes() for _ in range(200)]
    sender.ready_links = [sender.link_attributes(spaces) for _ in range(100)]
    while sender.sent < count:
        if sender.chance.random() < 0.7:
            sound, status, data = sender.next_generic()
        else:
            sound, status, data = sender.next_link()
        if data:
            sender.complain("the configuration was shown", sender.last)
        if sound and status != errno.EPERM:
            sender.complain(f"the answer was {status}", sender.last)


def nobody(sender, count):
    spaces = [os.open("/run/netns/wgt-c", os.O_RDONLY)]
    become_nobody()
    refused(sender, count // 2, spaces)
    sender.generic, sender.route = Socket(), Netlink(socket.NETLINK_ROUTE)
    refused(sender, count, spaces)


def unmapped(sender, count):
    os.unshare(os.CLONE_NEWUSER)
    sender.generic, sender.route = Socket(), Netlink(socket.NETLINK_ROUTE)
    refused(sender, count)


def allowed(sender, count, foreign):
    """Requests by a sender that may configure wg0, but not the socket of wg9."""
    name = attr(A_IFNAME, "wg9")

    def shown():
        """The port and the mark of wg9."""
        attrs = dict(parse(b"".join(body for _, body in Socket().dump(GET_DEVICE, name))))
        return attrs[A_LISTEN_PORT], attrs[A_FWMARK]

    before = shown() if foreign else None
    while sender.sent < count:
        if foreign and sender.chance.random() < 0.3:
            if sender.ext is not None and sender.chance.random() < 0.3:
                family, command = sender.ext, DEV_SET
                body = sender.chance.choice([attr(EXT["local-ipv4"], b"\x7f\0\0\7"),
                                             attr(EXT["bind-ifindex"], u32(1))])
            else:
                family, command = sender.family, SET_DEVICE
                body = sender.chance.choice(
                    [attr(A_LISTEN_PORT, u16(7)), attr(A_FWMARK, u32(7))])
                if sender.chance.random() < 0.2:
                    body += sender.chance.choice(sender.pool[:100])
            body = struct.pack("=BBH", command, 1, 0) + name + body
            sound, status, _ = sender.exchange(sender.generic, family, DO, body, True)
            if sound and status == 0:
                sender.complain("the socket of another's interface was changed", sender.last)
        else:
            sender.next_generic()
    sender.expect("port or mark of another's interface has changed",
                  not foreign or shown() == before)
    sender.expect("nothing was allowed", sender.answers["done"] > 0)


def owner(sender, count, others):
    """Becomes the owner of a namespace, to which `outside` adds its wg9. Gives sockets of the
    namespace to the others."""
    become_nobody()
    # Without this, root owns the files of this process in /proc.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    for file, line in (("setgroups", "deny"), ("uid_map", "0 65534 1"), ("gid_map", "0 65534 1")):
        with open(f"/proc/self/{file}", "w") as map_:
            map_.write(line)
    fresh()
    sender.generic, sender.route = Socket(), Netlink(socket.NETLINK_ROUTE)
    for other in others:
        given = Socket().sock, Netlink(socket.NETLINK_ROUTE).sock
        numbers = array.array("i", [sock.fileno() for sock in given])
        other.sendmsg([b"%d" % os.getpid()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
    end = time.monotonic() + HANG
    while "wg9" not in (name for _, name in socket.if_nameindex()):
        sender.expect("wg9 has not come", time.monotonic() < end)
        time.sleep(0.05)
    allowed(sender, count, True)
    # Their sockets are of no use when the namespace has gone: wait for them.
    for other in others:
        other.recv(1)


def with_sockets(sender, channel):
    """Takes the sockets that `owner` gives away; returns its process id."""
    pid, control, _, _ = channel.recvmsg(20, socket.CMSG_SPACE(8))
    given = array.array("i", control[0][2])
    for sock, number in ((sender.generic, given[0]), (sender.route, given[1])):
        sock.sock.close()
        sock.sock = socket.socket(fileno=number)
    return int(pid)


def creator(sender, count, channel):
    become_nobody()
    with_sockets(sender, channel)
    allowed(sender, count, False)
    channel.send(b"1")


def outside(sender, count, channel):
    pid = with_sockets(sender, channel)
    ip("link", "add", "wgt-wg9", "type", "wireguard")
    ip("link", "set", "wgt-wg9", "netns", str(pid), "name", "wg9")
    os.setgroups([])
    os.setresgid(65533, 65533, 65533)
    os.setresuid(65533, 65533, 65533)
    refused(sender, count)
    channel.send(b"1")


def play(sender, role, count, *args):
    """Runs one sender, and prints its line of JSON."""
    with open(f"/run/netns/wgt-{ROLES[role][0]}") as file:
        os.setns(file.fileno(), os.CLONE_NEWNET)
    sender.begin(role)
    globals()[role](sender, count * ROLES[role][1] // 100, *args)
    line = {"role": role, "seconds": time.process_time(),
            "sent": sender.sent, "answers": sender.answers, "wrong": sender.wrong[:5]}
    os.write(1, json.dumps(line).encode() + b"\n")
    if sender.wrong:
        raise RuntimeError(f"{len(sender.wrong)} answers were wrong")


def main(seed, count, secrets):
    with open(secrets) as file:
        sender = Sender(seed, [base64.b64decode(line) for line in file])
    # `owner` passes sockets of its namespace through these.
    creator, outside = socket.socketpair(), socket.socketpair()
    args = {"owner": [[creator[0], outside[0]]], "creator": [creator[1]], "outside": [outside[1]]}
    children = {}
    for role in ROLES:
        child = os.fork()
        if child == 0:
            if role == "owner":  # it may see the keys of its own interface
                sender.secrets = []
            leave_with(lambda: play(sender, role, int(count), *args.get(role, ())))
        children[child] = role
    for ends in (creator, outside):
        for end in ends:
            end.close()
    failed = []
    while children:
        child, status = os.wait()
        role = children.pop(child)
        if status:
            failed.append(role)
    sys.exit(f"failed: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
