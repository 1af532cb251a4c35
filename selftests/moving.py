# SPDX-License-Identifier: GPL-2.0
"""Peers that move, and attackers who make it look as if a peer had moved.

moving.py NAME MODULE KEY
    runs the function NAME below; KEY is the private key of wg0, which is in this namespace. So is
    the other end of its tunnel, which is this program: its addresses are 127.0.0.1 and above

For guests whose clock counts instructions.
"""

import socket
import sys

from drops import LOG, endpoint_of, established, new_peer
from machine import until

SO_RCVBUFFORCE = 33  # asm-generic/socket.h


def new_socket(host):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    sock.bind((host, 0))
    sock.settimeout(30)
    return sock


def at_address(number):
    """A socket of the peer at 127.0.0.NUMBER. Each is another address."""
    return new_socket(f"127.0.0.{number}")


def name_of(sock):
    host, port = sock.getsockname()
    return f"{host}:{port}"


def drain(sock):
    """The messages that have come to this socket."""
    sock.setblocking(False)
    found = []
    try:
        while True:
            found.append(sock.recv(70000))
    except BlockingIOError:
        sock.settimeout(30)
        return found


def keepalive(far, session, sock, counter=None):
    """Sends a keepalive from this socket, and waits until wg0 has read it."""
    LOG.read().clear()
    far.send(session.seal(counter=counter), sock)
    until("the keepalive", lambda: LOG.has("Receiving keepalive packet"))


def connected(key):
    """A peer at 127.0.0.1 with a session, and a socket whose packets go to it."""
    far = new_peer(key, "10.8.0.2/32")
    far.sock = at_address(1)
    session = established(far)
    drain(far.sock)
    return far, session, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def old_counter(module, key):
    far, session, _ = connected(key)
    there = at_address(9)
    before = endpoint_of(far)
    keepalive(far, session, far.sock, counter=2000)
    for counter in (1999, 1000, 1):
        keepalive(far, session, there, counter)
        assert endpoint_of(far) == before, f"counter {counter} has moved it"
    keepalive(far, session, there, counter=2001)
    assert endpoint_of(far) == name_of(there)


def old_keys(module, key):
    far, old, _ = connected(key)
    there = at_address(9)
    # The peer may go on with the old session until it knows that wg0 has the new keys.
    new = far.connect(confirm=False)
    keepalive(far, old, there, counter=100)
    assert endpoint_of(far) == name_of(there)
    keepalive(far, new, far.sock)
    assert endpoint_of(far) == name_of(far.sock)
    keepalive(far, old, there, counter=101)
    assert endpoint_of(far) == name_of(far.sock), "a message of the old session has moved it"
    keepalive(far, new, there)
    assert endpoint_of(far) == name_of(there)


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    {function.__name__: function for function in (old_counter, old_keys)}[name](*words)
