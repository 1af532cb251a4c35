# SPDX-License-Identifier: GPL-2.0
"""Facts that parity_netlink.py compares besides requests: the family, dumps, files, features, the
module, rights.

Differences that are on purpose are left out here, each with its reason.
"""

import ctypes
import os
import struct
import subprocess

from parity_links import Links
from wgtest.record import (NAME, PR_SET_DUMPABLE, Recorder, attr_lines, become_nobody, fresh,
                           in_child, ip, leave_with)
from wgtest.requests import ips, key, sockaddr_in, v4, v6
from wgtest.rtnl import (IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, RTM_DELLINK, RTM_GETLINK,
                         RTM_NEWLINK)
from wgtest.wgnl import (A_FLAGS, A_FWMARK, A_IFNAME, A_LISTEN_PORT, A_PEERS, A_PRIVATE_KEY,
                         GET_DEVICE, NETLINK_GENERIC, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
                         P_ENDPOINT, P_FLAGS, REMOVE_ME, REPLACE_PEERS, SET_DEVICE, Error, Netlink,
                         Socket, attr, nest, parse, peer, u16, u32)

CTRL_GETFAMILY, CTRL_GETPOLICY = 3, 10
CTRL_FAMILY_ID, CTRL_FAMILY_NAME, CTRL_OP = 1, 2, 10


def family(f):
    """The description and the policy of the family."""
    control = Socket("nlctrl")
    for title, payload in (
        ("by name", attr(CTRL_FAMILY_NAME, "wireguard")),
        ("by number", attr(CTRL_FAMILY_ID, u16(Socket().family))),
    ):
        answers = control.do(CTRL_GETFAMILY, payload)
        f.write(
            f"family {title}",
            [f"{kind} {value.hex()}" for body in answers
             for kind, value in parse(body) if kind != CTRL_FAMILY_ID],
        )
    requests = [("all", b"")] + [(f"command {i}", attr(CTRL_OP, u32(i))) for i in range(4)]
    for title, op in requests:
        errno, lines = 0, []
        try:
            for _, body in control.dump(CTRL_GETPOLICY, attr(CTRL_FAMILY_NAME, "wireguard") + op):
                lines += [f"{kind} {value.hex()}"
                          for kind, value in parse(body) if kind != CTRL_FAMILY_ID]
        except Error as error:
            errno = error.errno
        f.write(f"policy, {title}", lines, errno)


def read_slowly(size, change=None):
    """Reads a dump into a buffer of `size` bytes. After its first message, requests `change`.

    Returns its messages, and whether one of them says that the dump was interrupted.
    """
    # The kernel makes messages as large as the largest buffer that was ever read into: take a new
    # socket.
    sock = Netlink(NETLINK_GENERIC)
    sock.send_message(Socket().family, NLM_F_REQUEST | NLM_F_DUMP,
                      struct.pack("=BBH", GET_DEVICE, 1, 0) + NAME)
    bodies, interrupted = [], False
    for flags, body in sock.dumped(size):
        interrupted |= bool(flags & NLM_F_DUMP_INTR)
        bodies.append(body[4:])
        if change is not None and len(bodies) == 1:
            try:
                Socket().do(SET_DEVICE, NAME + change)
            except Error:
                pass
    return bodies, interrupted


def dumps(f):
    """Dumps of many messages."""
    fresh()
    sock = Socket()
    for first in range(0, 160, 20):
        sock.do(
            SET_DEVICE,
            NAME
            + nest(
                A_PEERS,
                *(
                    peer(
                        key(i),
                        attr(P_ENDPOINT, sockaddr_in("192.0.2.1", i + 1)),
                        ips(*(v4(f"10.{i >> 8}.{i & 255}.{j}") for j in range(i % 40))),
                    )
                    for i in range(first, first + 20)
                ),
            ),
        )
    sock.do(SET_DEVICE,
            NAME + nest(A_PEERS, peer(key(1000), ips(*(v6(f"fd00::{i:x}") for i in range(500))))))
    sock.do(SET_DEVICE, NAME + nest(
        A_PEERS, peer(key(1000), ips(*(v4(f"10.200.{i >> 8}.{i & 255}") for i in range(500))))))
    for size in (4096, 8193, 12345, 32767, 65536):
        bodies, interrupted = read_slowly(size)
        f.write(
            f"read in {size} bytes",
            [
                f"interrupted: {interrupted}",
                f"{len(bodies)} messages",
                *(f"{len(body)} bytes" for body in bodies),
                *attr_lines(bodies),
            ],
        )
    changes = {
        "no change": b"",
        "a mark": attr(A_FWMARK, u32(5)),
        "one peer more": nest(A_PEERS, peer(key(2000))),
        "one allowed IP more": nest(A_PEERS, peer(key(159), ips(v4("10.99.0.1")))),
        "one peer less": nest(A_PEERS, peer(key(150), attr(P_FLAGS, u32(REMOVE_ME)))),
        "a change that the policy refuses": attr(A_LISTEN_PORT, u32(1)),
        "a change that the module refuses": nest(A_PEERS, nest(0)),
        "all peers less": attr(A_FLAGS, u32(REPLACE_PEERS)),
    }
    for title, change in changes.items():
        # The rest of an interrupted dump is not compared: its reader has to begin again anyway.
        _, interrupted = read_slowly(8192, change)
        bodies, again = read_slowly(8192)
        f.write(f"{title} while it is read",
                [f"interrupted: {interrupted}, {again}", *attr_lines(bodies)])


def sysfs(f):
    """The files of an interface."""
    fresh()
    for when in ("new", "up", "down"):
        if when != "new":
            ip("link", "set", "wg0", when)
        # `threaded`: the C module has a NAPI and a thread for each peer, ours one NAPI for each
        # processor.
        f.tree("/sys/class/net/wg0/", left_out=("threaded",))
        for top in ("/proc/sys/net/ipv4/conf/", "/proc/sys/net/ipv6/conf/"):
            for name in ("wg0", "all"):
                # A random number for each namespace.
                f.tree(top + name, left_out=("stable_secret",))
        for top in ("/proc/sys/net/ipv4/neigh/wg0", "/proc/sys/net/ipv6/neigh/wg0"):
            f.tree(top)
        for path in ("/proc/net/dev_mcast", "/proc/net/igmp",
                     "/proc/net/igmp6", "/proc/net/if_inet6"):
            f.file(path)
    top = "/sys/class/net/wg0/"
    for path, values in {
        "mtu": "0 67 1420 2147483553 -1 x",
        "tx_queue_len": "0 1000 -1",
        "ifalias": "me",
        "flags": "0x1003 0x0 0x91",
        "carrier": "0 1",
        "netdev_group": "9",
        "gro_flush_timeout": "1000 0",
        "napi_defer_hard_irqs": "2 0",
        "proto_down": "1 0",
        "link_mode": "1 0",
        "ifindex": "5",
        "queues/rx-0/rps_cpus": "3",
        "queues/tx-0/xps_cpus": "1",
    }.items():
        for value in values.split():
            f.store(top + path, value)


def ethtool(f):
    """The output of ethtool."""
    # Our module takes packets with lists of buffers, too: `segments: forwarded` tests it.
    lists = "tx-scatter-gather-fraglist"
    fresh()
    for option in (
        "",
        "-i",
        "-k",
        "-a",
        "-c",
        "-g",
        "-S",
        "-T",
        "-l",
        "-x",
        "-n",
        "-P",
        "-d",
        "-e",
        "-m",
        "-u",
        "--show-eee",
        "--show-fec",
        "--show-priv-flags",
        "--phy-statistics",
        "--show-tunnels",
    ):
        f.command("ethtool", *option.split(), "wg0", left_out=lists)
    f.command("sh", "-c", f"ethtool --json -k wg0 | sed '/{lists}/,/}}/d'")
    # The features that can be changed, each alone and all together.
    changeable = (
        "rx tx sg tso gso gro lro rxvlan txvlan ntuple rxhash highdma tx-gso-list tx-checksum-ipv4 "
        "tx-checksum-ip-generic tx-tcp-segmentation tx-tcp-ecn-segmentation "
        "tx-tcp-mangleid-segmentation tx-tcp6-segmentation tx-udp-segmentation "
        "tx-sctp-segmentation rx-gro-list rx-udp-gro-forwarding tx-nocache-copy "
        "tx-scatter-gather".split()
    )
    for state in ("off", "on"):
        for feature in changeable:
            # For a group, ethtool also tells which of its features have not changed.
            f.command("sh", "-c", f"ethtool -K wg0 {feature} {state} " +
                      ("> /dev/null" if feature == "sg" else ""))
            if feature in ("rx", "tx", "sg", "gso"):
                f.command("ethtool", "-k", "wg0", left_out=lists)
        f.command("ethtool", "-k", "wg0", left_out=lists)
    for words in ("-s speed 10", "-A rx on", "-C rx-usecs 5",
                  "-G rx 5", "-L combined 2", "-p 0", "-t", "-r"):
        option, *rest = words.split()
        f.command("ethtool", option, "wg0", *rest)


def module(f):
    """The module as the system sees it."""
    path = os.environ["MODULE_FILE"]
    for field in ("alias", "license", "description", "name", "version", "parm", "softdep"):
        done = subprocess.run(["modinfo", "-F", field, path], capture_output=True, text=True)
        # Our module has parameters of its own: `outside: aggregate_parameters` and `moving:
        # parameter` test them.
        lines = [line for line in done.stdout.splitlines()
                 if not line.startswith(("aggregate_", "roaming:"))]
        f.write(f"modinfo {field}", sorted(lines), done.returncode)
    top = "/sys/module/wireguard"
    # Only the names: the compiler chooses the content of `sections`.
    f.write(top, sorted(name for name in os.listdir(top) if name != "parameters"))
    for name in ("initstate", "refcnt", "version"):
        f.file(f"{top}/{name}")
    fresh()
    f.file(f"{top}/refcnt")
    ip("link", "set", "wg0", "up")
    f.file(f"{top}/refcnt")
    f.command("sh", "-c", "lsmod | awk '/^wireguard/ { print $1, $3, $4 }'")


def rights(f):
    """Requests with and without rights."""
    fresh()
    recorder, opened_before = Recorder(), Recorder(core=True)
    recorder.set("as root", attr(A_FWMARK, u32(1)))

    def nobody():
        become_nobody()
        opened_after = Recorder(core=True)
        for title, sender in (
                ("with root's socket", opened_before), ("with its own socket", opened_after)):
            sender.set(f"nobody, {title}: set", attr(A_FWMARK, u32(2)))
            sender.set(f"nobody, {title}: set nothing")
            sender.set(f"nobody, {title}: no such interface", name=attr(A_IFNAME, "nosuch"))
            sender.set(f"nobody, {title}: a malformed request", attr(A_FWMARK, u16(2)))
            sender.get(f"nobody, {title}: get", NAME)
            sender.up(True)
        family(f)
        f.link(
            "nobody: new",
            RTM_NEWLINK,
            attr(IFLA_IFNAME, "wg7"),
            nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, "wireguard")),
            flags=0x600,
        )
        f.link("nobody: show", RTM_GETLINK, attr(IFLA_IFNAME, "wg0"))
        f.link("nobody: delete", RTM_DELLINK, attr(IFLA_IFNAME, "wg0"))

    in_child(nobody)
    recorder.set("as root again", attr(A_FWMARK, u32(3)))


def owner(f):
    """Requests by the owner of a network namespace, a user without rights elsewhere: for its own
    interface, and for one from outside."""
    made, given = os.pipe(), os.pipe()

    def owning():
        become_nobody()
        # Without this, root owns the files of this process in /proc.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        for file, line in (("setgroups", "deny"),
                           ("uid_map", "0 65534 1"), ("gid_map", "0 65534 1")):
            with open(f"/proc/self/{file}", "w") as map_:
                map_.write(line)
        os.write(made[1], b"%d" % os.getpid())
        os.read(given[0], 1)
        recorder = Recorder()
        recorder.reset()
        every = (
            attr(A_PRIVATE_KEY, key(1)),
            attr(A_FWMARK, u32(5)),
            attr(A_LISTEN_PORT, u16(4242)),
            nest(A_PEERS, peer(key(2))),
        )
        recorder.set("its own", *every)
        recorder.up(True)
        recorder.set("its own, up", attr(A_LISTEN_PORT, u16(1)), attr(A_FWMARK, u32(0)))
        foreign = attr(A_IFNAME, "wg9")
        requests = {
            "a key": every[0:1],
            "a mark": every[1:2],
            "a port": every[2:3],
            "the same port": (attr(A_LISTEN_PORT, u16(0)),),
            "peers": every[3:4],
            "all of it": every,
            "another key and a mark": (attr(A_PRIVATE_KEY, key(3)), every[1]),
        }
        for up in ("down", "up"):
            f.command("ip", "link", "set", "wg9", up)
            for title, attrs in requests.items():
                recorder.set(f"that of another, {up}: {title}", *attrs, name=foreign)
                recorder.get("get it", foreign)
        f.link("delete that of another", RTM_DELLINK, attr(IFLA_IFNAME, "wg9"))

    def outsider():
        """Makes an interface, from this namespace, in that of the owner."""
        pid = os.read(made[0], 20).decode()
        ip("link", "add", "wg9", "netns", pid, "type", "wireguard")
        os.write(given[1], b"1")

    child = os.fork()
    if child == 0:
        leave_with(outsider)
    in_child(owning)
    os.waitpid(child, 0)


PARTS = {function.__name__: function
         for function in (family, dumps, sysfs, ethtool, module, rights, owner)}


def main(part):
    PARTS[part](Links())
