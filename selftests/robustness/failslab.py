# SPDX-License-Identifier: GPL-2.0
"""Makes requests for which there is no memory, and checks their results.

failslab.py NAME      runs the function NAME below, as root in the initial namespaces

A request is made again and again: the first time its first allocation fails, the second time the
second, and so on until a request succeeds because no allocation is left to fail. That is
deterministic, and leads into the error path of each allocation.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time

from wgtest import wgnl
from wgtest.failing import DEBUG, EVERYTHING, NO_MEMORY, Faults, Nth, each, symbol
from wgtest.loopback import Log
from wgtest.machine import until
from wgtest.rtnl import (IFF_UP, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_NET_NS_FD,
                         RTM_DELLINK, RTM_NEWLINK)
from wgtest.tunnel import PORT, inside, run
from wgtest.wgnl import attr, nest, u16, u32

KO = "/root/wireguard.ko"
NLM_F_CREATE, NLM_F_EXCL = 0x400, 0x200


def key(number):
    return hashlib.sha256(b"%d" % number).digest()


class Link(wgnl.Netlink):
    """Requests for wg0, in the namespace in which the socket was made."""

    def __init__(self):
        super().__init__(0)
        self.sock.settimeout(20)

    def request(self, kind, flags, *attrs, index=0, up=False, change=0):
        self.send_message(kind, flags | wgnl.NLM_F_REQUEST | wgnl.NLM_F_ACK,
                          struct.pack("=BxHiII", 0, 0, index, IFF_UP if up else 0, change) +
                          b"".join(attrs))
        self.acknowledged()

    def add(self):
        self.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, attr(IFLA_IFNAME, "wg0"),
                     nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, "wireguard")))

    def delete(self):
        self.request(RTM_DELLINK, 0, attr(IFLA_IFNAME, "wg0"))

    def updown(self, up):
        self.request(RTM_NEWLINK, 0, attr(IFLA_IFNAME, "wg0"), up=up, change=IFF_UP)

    def move(self, namespace):
        self.request(RTM_NEWLINK, 0, attr(IFLA_IFNAME, "wg0"), attr(IFLA_NET_NS_FD, u32(namespace)))


def fresh(kind):
    """A new netlink socket, at which no answer to an earlier request waits."""
    return contextlib.closing(Closing(kind))


class Closing:
    def __init__(self, kind):
        self.netlink = kind()

    def __getattr__(self, name):
        return getattr(self.netlink, name)

    def close(self):
        self.netlink.sock.close()


def exists():
    try:
        return bool(socket.if_nametoindex("wg0"))
    except OSError:
        return False


def is_up():
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        return bool(struct.unpack_from("=H", fcntl.ioctl(
            sock, 0x8913, struct.pack("=16sH22x", b"wg0", 0)), 16)[0] & IFF_UP)  # SIOCGIFFLAGS


def sockets():
    """The ports of the UDP sockets."""
    return sorted(int(line.split()[1].split(":")[1], 16) for name in ("udp", "udp6") for line in
                  open(f"/proc/thread-self/net/{name}").read().splitlines()[1:])


def allowed_ips(first, count):
    """Prefixes of both families that need new branches in the trie."""
    found = []
    for number in range(first, first + count):
        found.append(wgnl.allowedip(socket.AF_INET, socket.inet_aton(f"10.{number}.0.0"), 16))
        found.append(wgnl.allowedip(
            socket.AF_INET6, socket.inet_pton(socket.AF_INET6, f"2001:db8:{number:x}::"), 48))
    return nest(wgnl.P_ALLOWEDIPS, *found)


ENDPOINT = attr(4, struct.pack("=H", socket.AF_INET) + struct.pack(">H", 9) +
                socket.inet_aton("127.0.0.1") + bytes(8))
NAME = attr(wgnl.A_IFNAME, "wg0")


def shown(netlink):
    """({attribute: value} of the device, [(public key, [allowed IPs])])."""
    device, peers = {}, []
    for _, body in netlink.dump(wgnl.GET_DEVICE, NAME):
        for kind, value in wgnl.parse(body):
            if kind != wgnl.A_PEERS:
                device[kind] = value
                continue
            for _, one in wgnl.parse(value):
                attrs = dict(wgnl.parse(one))
                ips = [ip for _, ip in wgnl.parse(attrs.get(wgnl.P_ALLOWEDIPS, b""))]
                if peers and peers[-1][0] == attrs[wgnl.P_PUBLIC_KEY]:
                    peers[-1][1].extend(ips)
                else:
                    peers.append((attrs[wgnl.P_PUBLIC_KEY], ips))
    return device, peers


def configuration():
    with fresh(wgnl.Socket) as netlink:
        return shown(netlink)


def is_part_of(peers, whole):
    """Whether `peers` are the first ones of `whole`, each with all its allowed IPs, the last one
    perhaps with only the first of them."""
    return not peers or (len(peers) <= len(whole) and peers[:-1] == whole[:len(peers) - 1] and
                         peers[-1][0] == whole[len(peers) - 1][0] and
                         peers[-1][1] == whole[len(peers) - 1][1][:len(peers[-1][1])])


def set_device(*attrs):
    with fresh(wgnl.Socket) as netlink:
        netlink.do(wgnl.SET_DEVICE, NAME + b"".join(attrs))


class Objects:
    """Checks that in the end the log has as many destroyed peers and interfaces as created ones."""

    def __enter__(self):
        with open(DEBUG + "dynamic_debug/control", "w") as file:
            file.write("module wireguard +p")
        self.log, self.over, self.counts = Log(), threading.Event(), {}
        self.log.lines.clear()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        return self

    def take(self):
        for line in self.log.read():
            if found := re.search(
                    r"(Peer|Interface)(?: \d+)?(?: \(.*\))? (created|destroyed)$", line):
                self.counts[found[1], found[2]] = self.counts.get((found[1], found[2]), 0) + 1
        self.log.lines.clear()

    def read(self):
        # Often, before new lines overwrite old ones in the log.
        while not self.over.wait(0.2):
            self.take()

    def balance(self):
        self.take()
        return all(self.counts.get((what, "created"), 0) == self.counts.get((what, "destroyed"), 0)
                   for what in ("Peer", "Interface"))

    def __exit__(self, kind, *_):
        self.over.set()
        self.reader.join()
        try:
            if kind is None:
                until("what was created is destroyed", self.balance)
        finally:
            print("NOTE: log: "
                  f"{' '.join(f'{a} {b} {n}' for (a, b), n in sorted(self.counts.items()))}")
            with open(DEBUG + "dynamic_debug/control", "w") as file:
                file.write("module wireguard -p")


def load():
    libc = ctypes.CDLL(None, use_errno=True)
    file = os.open(KO, os.O_RDONLY)

    def insert():
        if libc.syscall(313, file, b"", 0):  # finit_module
            raise OSError(ctypes.get_errno(), "finit_module")

    def check(error):
        assert os.path.exists("/sys/module/wireguard") == (not error)
        if error:
            # Nothing is left that would be in the way of the next attempt.
            with contextlib.closing(socket.socket(
                    socket.AF_NETLINK, socket.SOCK_RAW, wgnl.NETLINK_GENERIC)):
                assert "wireguard" not in open("/proc/modules").read()
        else:
            with fresh(wgnl.Socket) as netlink:
                assert netlink.family

    def prepare():
        if os.path.exists("/sys/module/wireguard"):
            subprocess.run(["rmmod", "wireguard"], check=True)

    # do_one_initcall() calls the module's own part of it.
    with Faults(symbol("do_one_initcall")):
        each("insmod", insert, check, prepare)
    with inside("a"), fresh(Link) as link:
        link.add()
        link.delete()


def interface():
    with inside("a"), Objects():
        def check(error):
            # If the answer to a request is lost, the request may have been carried out all the
            # same.
            assert error == errno.ENOBUFS or exists() == (not error)
            if exists():
                with fresh(Link) as link:
                    link.delete()
            assert not exists()

        def add():
            link.add()

        # The core registers the device, with hundreds of allocations and an error of its own.
        for what, faults, stride, errors in (
                ("ip link add, the module's part",
                 Faults(spared=symbol("register_netdevice")), 2, NO_MEMORY),
                ("ip link add", Faults(EVERYTHING, pages=False), 29, NO_MEMORY | {errno.EINVAL})):
            with faults:
                link = None

                def prepare():
                    nonlocal link
                    if link:
                        link.close()
                    link = Closing(Link)

                each(what, add, check, prepare, errors, stride=stride)

        # Deleting must succeed without memory. Only its answer may be lost.
        def delete():
            link.delete()

        def made():
            nonlocal link
            link.close()
            link = Closing(Link)
            link.add()
            with inside("a"):
                set_device(attr(wgnl.A_PRIVATE_KEY, key(0)), nest(
                    wgnl.A_PEERS, *(wgnl.peer(key(i), allowed_ips(i, 1)) for i in range(1, 4))))
            link.updown(True)

        def gone(_):
            assert not exists()

        with Faults():
            nth = Nth()
            made()
            error, hit = nth(1, delete)
            gone(error)
            if hit:
                each("ip link del, the module's part", delete, gone, made, may_fail=False)
        link.close()


def updown():
    with inside("a"), Objects():
        link = Closing(Link)
        link.add()
        set_device(attr(wgnl.A_PRIVATE_KEY, key(0)), attr(wgnl.A_LISTEN_PORT, u16(PORT)),
                   nest(wgnl.A_PEERS, *(wgnl.peer(key(i), ENDPOINT, attr(wgnl.P_KEEPALIVE, u16(25)),
                                                  allowed_ips(i, 2)) for i in range(1, 4))))
        whole = configuration()

        def up():
            link.updown(True)

        def prepare():
            nonlocal link
            link.close()
            link = Closing(Link)

        def check(error):
            if error != errno.ENOBUFS:
                assert is_up() == (not error)
            assert sockets() == ([PORT, PORT] if is_up() else []), sockets()
            if is_up():
                with fresh(Link) as other:
                    other.updown(False)
            assert configuration() == whole

        for what, faults in (("ip link set up, the module's part", Faults()),
                             ("ip link set up", Faults(EVERYTHING, pages=False))):
            with faults:
                each(what, up, check, prepare, NO_MEMORY)
        link.close()
        with fresh(Link) as link:
            link.delete()


def configure():
    with inside("a"), Objects():
        link = Closing(Link)
        link.add()
        link.updown(True)
        netlink = None

        def prepare(*attrs):
            """Makes a new socket, and a configuration with these attributes."""
            nonlocal netlink
            if netlink:
                netlink.close()
            netlink = Closing(wgnl.Socket)
            netlink.do(wgnl.SET_DEVICE,
                       NAME + attr(wgnl.A_FLAGS, u32(wgnl.REPLACE_PEERS)) + b"".join(attrs))

        def request(*attrs):
            data = NAME + b"".join(attrs)
            return lambda: netlink.do(wgnl.SET_DEVICE, data)

        def wanted(action, *before):
            """The configuration after `action`, if nothing fails."""
            prepare(*before)
            action()
            return configuration()

        def private(number):
            return attr(wgnl.A_PRIVATE_KEY, bytes([key(number)[0] & 248]) + key(number)[1:31] +
                        bytes([key(number)[31] & 127 | 64]))

        faults = Faults()
        first = private(100), attr(wgnl.A_LISTEN_PORT, u16(PORT)), attr(wgnl.A_FWMARK, u32(0))

        # A peer with all attributes.
        add = request(nest(
            wgnl.A_PEERS, wgnl.peer(key(1), attr(wgnl.P_PRESHARED_KEY, key(2)), ENDPOINT,
                                    attr(wgnl.P_KEEPALIVE, u16(25)), allowed_ips(1, 12))))
        device, peers = wanted(add, *first)

        def check(error):
            now = configuration()
            assert now[0] == device
            assert is_part_of(now[1], peers) if error else now[1] == peers, now

        with faults:
            each("wg set peer", add, check, lambda: prepare(*first))

        # A whole configuration, in place of another one.
        old = (*first,
               nest(wgnl.A_PEERS, *(wgnl.peer(key(i), allowed_ips(i, 1)) for i in (1, 2, 50))))
        setconf = request(
            attr(wgnl.A_FLAGS, u32(wgnl.REPLACE_PEERS)), private(101),
            attr(wgnl.A_FWMARK, u32(7)),
            nest(wgnl.A_PEERS, *(
                wgnl.peer(key(i), attr(wgnl.P_FLAGS, u32(wgnl.REPLACE_ALLOWEDIPS)), ENDPOINT,
                          allowed_ips(10 * i, 2)) for i in range(1, 6))))
        device, peers = wanted(setconf, *old)
        before = wanted(request(), *old)[0]

        def check_setconf(error):
            now = configuration()
            assert now[0][wgnl.A_LISTEN_PORT] == device[wgnl.A_LISTEN_PORT] and \
                now[0][wgnl.A_FWMARK] == device[wgnl.A_FWMARK]
            assert is_part_of(now[1], peers) if error else now == (device, peers), now
            # Without a new key there are no new peers.
            assert now[0] == device or (now[0][wgnl.A_PRIVATE_KEY] == before[wgnl.A_PRIVATE_KEY] and
                                        not now[1])

        with faults:
            each("wg setconf", setconf, check_setconf, lambda: prepare(*old))

        # A configuration a little different from the present one: peers and allowed IPs of both
        # stay, whatever fails.
        sync = request(nest(
            wgnl.A_PEERS,
            wgnl.peer(key(1), attr(wgnl.P_FLAGS, u32(wgnl.REPLACE_ALLOWEDIPS)), allowed_ips(1, 1)),
            wgnl.peer(key(2), attr(wgnl.P_FLAGS, u32(wgnl.REPLACE_ALLOWEDIPS)), allowed_ips(2, 8)),
            wgnl.peer(key(50), attr(wgnl.P_FLAGS, u32(wgnl.REMOVE_ME))),
            wgnl.peer(key(60), attr(wgnl.P_FLAGS, u32(wgnl.REPLACE_ALLOWEDIPS)),
                      allowed_ips(60, 2))))
        device, peers = wanted(sync, *old)
        before = wanted(request(), *old)[1]

        def check_sync(error):
            now = configuration()
            assert now[0] == device
            assert now[1][0] == peers[0]
            if not error:
                assert now[1] == peers
            elif len(now[1]) == 3 and now[1][2] == before[2]:
                assert now[1][1][1] == peers[1][1][:len(now[1][1][1])]
            else:
                assert is_part_of(now[1], peers) and len(now[1]) >= 2

        with faults:
            each("wg syncconf", sync, check_sync, lambda: prepare(*old))

        # A new private key: the old one stays.
        rekey = request(private(102))
        whole = wanted(request(), *old)
        new = wanted(rekey, *old)

        def check_key(error):
            now = configuration()
            assert now == (whole if error else new), now

        with faults:
            each("wg set private-key", rekey, check_key, lambda: prepare(*old))

        # Another port: the sockets on the old one stay.
        port = request(attr(wgnl.A_LISTEN_PORT, u16(PORT + 1)))

        def check_port(error):
            device = configuration()[0]
            number = PORT if error else PORT + 1
            assert device[wgnl.A_LISTEN_PORT] == u16(number)
            assert sockets() == [number, number], sockets()

        with faults:
            each("wg set listen-port", port, check_port, lambda: prepare(*old), NO_MEMORY)

        # Allowed IPs of other peers: their entries exist, and only change hands.
        steal = request(nest(wgnl.A_PEERS, wgnl.peer(key(2), nest(wgnl.P_ALLOWEDIPS, *(
            wgnl.allowedip(socket.AF_INET, socket.inet_aton(f"10.{i}.0.0"), 16)
            for i in (1, 50, 1, 50))))))
        prepare(*old)
        everything = sorted(sum((ips for _, ips in configuration()[1]), []))

        def check_steal(_):
            assert sorted(sum((ips for _, ips in configuration()[1]), [])) == everything

        with faults:
            each("moving allowed IPs", steal, check_steal, lambda: prepare(*old), may_fail=False)

        # A dump of more peers than one netlink message has room for. The core allocates the netlink
        # messages, and makes shorter ones if there is no memory for long ones.
        many = [wgnl.peer(key(i), attr(wgnl.P_PRESHARED_KEY, key(i)), ENDPOINT, allowed_ips(i, 1))
                for i in range(200)]
        prepare(*first, nest(wgnl.A_PEERS, *many[:100]))
        set_device(nest(wgnl.A_PEERS, *many[100:]))
        whole = configuration()
        seen = None

        def dump():
            nonlocal seen
            seen = shown(netlink)

        def again():
            nonlocal netlink
            netlink.close()
            netlink = Closing(wgnl.Socket)

        def unchanged(_):
            assert seen == whole and configuration() == whole

        with Faults(symbol("netlink_dump")):
            each("wg show", dump, unchanged, again, may_fail=False)

        # Removing must succeed without memory.
        remove = request(nest(wgnl.A_PEERS, *(
            wgnl.peer(key(i), attr(wgnl.P_FLAGS, u32(wgnl.REMOVE_ME))) for i in (1, 2, 50))))

        def removed(_):
            assert not configuration()[1]

        with faults:
            each("wg set peer remove", remove, removed, lambda: prepare(*old), may_fail=False)
        for one in (netlink, link):
            one.close()
        with fresh(Link) as link:
            link.delete()


def move():
    there = os.open("/run/netns/wgt-b", os.O_RDONLY)
    here = os.open("/run/netns/wgt-a", os.O_RDONLY)
    with inside("a"), Objects():
        with fresh(Link) as link:
            link.add()
        set_device(attr(wgnl.A_PRIVATE_KEY, key(0)), attr(wgnl.A_LISTEN_PORT, u16(PORT)),
                   nest(wgnl.A_PEERS,
                        *(wgnl.peer(key(i), ENDPOINT, allowed_ips(i, 2)) for i in range(1, 4))))
        whole = configuration()
        del whole[0][wgnl.A_IFINDEX]
        link = None

        def go():
            link.move(there)

        def prepare():
            nonlocal link
            if link:
                link.close()
            link = Closing(Link)
            link.updown(True)
            assert sockets() == [PORT, PORT]

        def same():
            now = configuration()
            del now[0][wgnl.A_IFINDEX]
            assert now == whole, now

        def check(error):
            if exists():
                assert error
                same()
                return
            assert not error or error == errno.ENOBUFS, "it moved, but reported an error"
            with inside("b"):
                assert exists() and not is_up()
                same()
                with fresh(Link) as back:
                    back.move(here)
            assert exists()

        # After the move the core renames the device, and does not handle a failure of that.
        with Faults(EVERYTHING, spared=symbol("device_rename"), pages=False):
            each("ip link set netns", go, check, prepare, NO_MEMORY, stride=3)
        link.close()
        with fresh(Link) as link:
            link.delete()


def namespace():
    """A namespace is destroyed with its interfaces, with or without memory."""
    with Objects():
        for number in range(3):
            run("ip", "netns", "add", "wgt-gone")
            with inside("gone"):
                with fresh(Link) as link:
                    link.add()
                    set_device(attr(wgnl.A_PRIVATE_KEY, key(0)), nest(wgnl.A_PEERS, *(
                        wgnl.peer(key(i), ENDPOINT, allowed_ips(i, 2)) for i in range(1, 20))))
                    link.updown(True)
            with Faults(spared=symbol("__vmalloc_node_range_noprof")) as faults:
                faults.rate((10, 50, 100)[number % 3])
                run("ip", "netns", "del", "wgt-gone")
                time.sleep(0.5)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
