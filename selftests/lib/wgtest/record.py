# SPDX-License-Identifier: GPL-2.0
"""Records requests to a WireGuard interface and their results, so that two modules can be compared.

Each request is one line of JSON on stdout: a title, the request, the errno of the answer and the
text beside that, and the complete configuration of the interface afterwards. Values that differ
from run to run are left out: the number of a random port, and the number of bytes sent.
"""

import base64
import functools
import json
import os
import socket
import struct
import subprocess
import sys
import traceback

from wgtest.wgnl import (A_FWMARK, A_IFINDEX, A_IFNAME, A_LISTEN_PORT, A_PEERS, A_PRIVATE_KEY,
                         A_PUBLIC_KEY, GET_DEVICE, NLMSG_DONE, NLMSG_ERROR, NLM_F_ACK,
                         NLM_F_REQUEST, P_ALLOWEDIPS, P_ENDPOINT, P_KEEPALIVE, P_LAST_HANDSHAKE,
                         P_PRESHARED_KEY, P_PROTOCOL_VERSION, P_PUBLIC_KEY, P_RX_BYTES, P_TX_BYTES,
                         SET_DEVICE, Error, Netlink, Socket, attr, nest, parse)

NAME = attr(A_IFNAME, "wg0")
V4, V6 = socket.AF_INET, socket.AF_INET6
# The ports that requests ask for. The kernel has chosen any other port of an interface.
PORTS = {0, 1, 777, 4242, 5182, 65535}
TAKEN_PORT = 777

DEVICE_NAMES = {
    A_IFINDEX: "index",
    A_IFNAME: "name",
    A_PRIVATE_KEY: "private-key",
    A_PUBLIC_KEY: "public-key",
    A_LISTEN_PORT: "port",
    A_FWMARK: "mark",
}
PEER_NAMES = {
    P_PUBLIC_KEY: "peer",
    P_PRESHARED_KEY: "psk",
    P_ENDPOINT: "endpoint",
    P_KEEPALIVE: "keepalive",
    P_LAST_HANDSHAKE: "handshake",
    P_RX_BYTES: "rx",
    P_TX_BYTES: "tx",
    P_PROTOCOL_VERSION: "version",
}


def ip(*args):
    """Runs `ip`, which has to succeed."""
    subprocess.run(["ip", *args], check=True)


def fresh():
    """Makes wg0 anew."""
    subprocess.run(["ip", "link", "del", "wg0"], capture_output=True)
    ip("link", "add", "wg0", "type", "wireguard")


def public_key(private):
    """The public key of a private one, as `wg` computes it."""
    shown = subprocess.run(["wg", "pubkey"],
                           input=base64.b64encode(private), capture_output=True, check=True).stdout
    return base64.b64decode(shown)


def leave_with(function):
    """Calls the function and ends the process: with status 1 if it raises an exception."""
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def in_child(function):
    """Calls a function in a process of its own, where it can give up its rights. Fails if it
    does."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        leave_with(function)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the child has failed")


@functools.lru_cache(1024)
def peer_lines(body):
    """The attributes of a peer as lines. Most peers are the same from dump to dump, so results are
    kept."""
    lines = []
    for kind, value in parse(body):
        if kind == P_ALLOWEDIPS:
            for element, inside in parse(value):
                lines.append(f"  allowed-ip {element} " + " ".join(
                    f"{k}:{v.hex()}" for k, v in parse(inside)))
        elif kind == P_TX_BYTES:
            lines.append(f"  tx of {len(value)} bytes")
        elif kind:  # 0 is padding
            indent = "" if kind == P_PUBLIC_KEY else "  "
            lines.append(f"{indent}{PEER_NAMES.get(kind, kind)} {value.hex()}")
    return lines


def blocks(messages):
    """The attributes of a dump, in their order: a list of lists of lines, one for the device and
    one for each peer. A peer that continues in another message, which repeats its key, is one
    list."""
    device, peers = [], []
    for body in messages:
        for kind, value in parse(body):
            if kind != A_PEERS:
                if kind == A_LISTEN_PORT and struct.unpack("=H", value)[0] not in PORTS:
                    value = b"any"
                device.append(f"{DEVICE_NAMES.get(kind, kind)} {value.hex()}")
                continue
            for element, inside in parse(value):
                lines = peer_lines(inside)
                if peers and lines[0] == peers[-1][0]:
                    peers[-1] = peers[-1] + lines[1:]
                else:
                    peers.append(lines)
                if element:
                    device.append(f"an element of type {element}")
    return [device] + peers


def attr_lines(messages):
    """All lines of blocks()."""
    return [line for block in blocks(messages) for line in block]


class Facts:
    """Writes down facts, in the form of requests whose answer is lines of text."""

    @staticmethod
    def write(title, lines, errno=0, text=""):
        print(json.dumps({"title": title, "request": "",
                          "errno": errno, "text": text, "state": lines, "core": True}))

    def command(self, *args, left_out=None):
        """Writes down the output and the status of a command, except for lines with left_out."""
        done = subprocess.run(args, capture_output=True, text=True)
        lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
        self.write(" ".join(args), [f"status {done.returncode}",
                                    *(l for l in lines if not left_out or left_out not in l)])

    def file(self, path):
        """Writes down the content and the mode of a file."""
        mode = f"mode {os.lstat(path).st_mode:o}"
        if os.path.islink(path):
            return self.write(path, [mode, os.readlink(path)])
        try:
            with open(path, "rb") as file:
                return self.write(
                    path, [mode, *file.read(65536).decode(errors="backslashreplace").splitlines()])
        except OSError as error:
            return self.write(path, [mode], error.errno)

    def tree(self, top, left_out=()):
        """Writes down all files below a directory."""
        for folder, folders, files in os.walk(top):
            folders.sort()
            for name in sorted(
                    files + [f for f in folders if os.path.islink(os.path.join(folder, f))]):
                if name not in left_out:
                    self.file(os.path.join(folder, name))

    def store(self, path, value):
        """Writes `value` to a file, and writes down the result and the file."""
        errno = 0
        try:
            with open(path, "w") as file:
                file.write(value)
        except OSError as error:
            errno = error.errno
        self.write(f"{value} to {path}", [], errno)
        self.file(path)


class Recorder:
    """Sends requests about wg0. `core`: the netlink core refuses them before the module sees
    them."""

    def __init__(self, strict=False, core=False):
        self.sock = Socket(strict=strict)
        self.route = Netlink(socket.NETLINK_ROUTE)
        self.core = core
        self.seen = self.blocks = None

    def reset(self):
        """Makes wg0 anew and forgets the state of the old one."""
        fresh()
        self.seen = self.blocks = None

    def state(self):
        """The configuration of wg0; for unchanged parts, only the words that they are unchanged."""
        try:
            seen = [body for _, body in self.sock.dump(GET_DEVICE, NAME)]
        except Error as error:
            return [f"cannot be read: {error.errno}"]
        if seen == self.seen:
            return "unchanged"
        self.seen = seen
        before, self.blocks = self.blocks, blocks(seen)
        if self.blocks == before:
            return "unchanged"
        known = {block[0]: block for block in before or []}
        lines = []
        for block in self.blocks:
            lines += [block[0] + " as before"] if known.get(block[0]) == block else block
        return lines

    def write(self, title, request=b"", errno=0, text="", **more):
        """Writes down the result of a request, and the configuration after it."""
        entry = {"title": title, "request": request.hex(),
                 "errno": errno, "text": text, "core": self.core}
        print(json.dumps({**entry, "state": self.state(), **more}))

    def raw(self, title, command, payload, flags, version=1, reserved=0, headers=None):
        """Sends a request with any header, and writes down the types and sizes of its answers."""
        body = (struct.pack("=BBH", command, version, reserved)
                if headers is None else headers) + payload
        self.sock.send_message(self.sock.family, flags, body)
        answers, errno, text = [], 0, ""
        try:
            done = False
            while not done:
                for kind, answer_flags, answer in self.sock.messages():
                    self.sock.check(kind, answer_flags, answer)
                    done = done or kind in (NLMSG_ERROR, NLMSG_DONE)
                    answers.append([kind if kind < 16 else "family", answer_flags, len(answer)])
        except Error as error:
            errno, text = error.errno, error.text
        # The core refuses a wrong header, and has no texts for that.
        self.write(title, body, errno, text, answers=answers, core=True)

    def set(self, title, *attrs, name=NAME):
        """Sends a request for a change, and writes down its result."""
        payload = name + b"".join(attrs)
        errno, text = 0, ""
        try:
            self.sock.do(SET_DEVICE, payload)
        except Error as error:
            errno, text = error.errno, error.text
        self.write(title, payload, errno, text)

    def get(self, title, payload):
        """Sends a request to show the configuration, and writes down its result."""
        errno, text, answers = 0, "", []
        try:
            answers = [body for _, body in self.sock.dump(GET_DEVICE, payload)]
        except Error as error:
            errno, text = error.errno, error.text
        self.write(title, payload, errno, text, answers=attr_lines(answers))

    def peers(self, title, *entries):
        """Sends a request to change peers, and writes down its result."""
        self.set(title, nest(A_PEERS, *entries))

    def up(self, up):
        """Makes wg0 go up or down, and writes down the result."""
        flag = 1 if up else 0
        index = socket.if_nametoindex("wg0")
        # RTM_NEWLINK with a struct ifinfomsg
        self.route.send_message(16, NLM_F_REQUEST | NLM_F_ACK,
                                struct.pack("=BxHiII", 0, 0, index, flag, 1))
        errno, text = 0, ""
        try:
            self.route.acknowledged()
        except Error as error:
            errno, text = error.errno, error.text
        # The core's own refusals have their own texts, so the module needs none.
        self.write("up" if up else "down", b"", errno, text, core=True)


def take_port():
    """Returns a socket that occupies TAKEN_PORT until it is closed."""
    taken = socket.socket(V6, socket.SOCK_DGRAM)
    taken.bind(("::", TAKEN_PORT))
    return taken


PR_SET_DUMPABLE = 4


def become_nobody():
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
