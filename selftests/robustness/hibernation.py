# SPDX-License-Identifier: GPL-2.0
"""The peer of a machine that hibernates. For hibernation.sh.

hibernation.py peer ADDRESS PORT          sends packets for the machine to forward into the tunnel,
                                          answers handshakes, and counts the data messages that
                                          arrive; takes commands at that address and port
hibernation.py ask ADDRESS PORT COMMAND   sends a command, and prints the answer

Commands: `private` prints the private key of the machine, `public` the public key of the peer;
`start` begins to send; `report` prints the counts; `quit` ends the peer.
"""

import base64
import hashlib
import select
import socket
import struct
import sys
import time

from wgtest import peer

SOURCE, MACHINE = ("10.9.0.2", 52000), ("10.9.0.1", 51820)
# Behind the tunnel, by way of the machine.
BEHIND = ("10.7.0.2", 9)
# Seconds between two packets.
PACE = 0.005


def serve(address, port):
    private, own = peer.os.urandom(32), peer.os.urandom(32)
    side = peer.Peer(own, peer.public_of(private), MACHINE, source=SOURCE)
    answers = {
        "private": base64.b64encode(private).decode(),
        "public": base64.b64encode(side.public).decode(),
    }
    # The digest of the message that came under each index and counter, and how often another
    # message came under one of them.
    seen, doubled = {}, 0
    started, number, due = False, 0, time.monotonic()
    server = socket.create_server((address, port))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while True:
        wait = max(0, due - time.monotonic()) if started else None
        ready, _, _ = select.select([server, side.sock], [], [], wait)
        if started and time.monotonic() >= due:
            due = time.monotonic() + PACE
            number += 1
            sender.sendto(struct.pack("<Q", number) * 8, BEHIND)
        if side.sock in ready:
            message = side.sock.recv(2048)
            if message[0] == peer.INITIATION:
                try:
                    side.consume_initiation(message)
                except peer.InvalidTag:
                    continue
                answer, session = side.response()
                side.send(answer)
            elif message[0] == peer.DATA:
                under, digest = message[4:16], hashlib.blake2s(message).digest()
                doubled += seen.setdefault(under, digest) != digest
        if server in ready:
            control, _ = server.accept()
            with control:
                command = control.recv(64).decode().strip()
                if command == "start":
                    started = True
                if command == "report":
                    sessions = {under[:4] for under in seen}
                    lines = (f"messages {len(seen)}", f"sessions {len(sessions)}",
                             f"doubled {doubled}")
                    answers[command] = "\n".join(lines)
                control.sendall(answers.get(command, "").encode())
                if command == "quit":
                    return


def ask(address, port, command):
    with socket.create_connection((address, port), timeout=60) as control:
        control.sendall(command.encode())
        control.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: control.recv(4096), b""))
    if answer:
        print(answer.decode())


if __name__ == "__main__":
    {"peer": serve, "ask": ask}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
