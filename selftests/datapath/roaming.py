# SPDX-License-Identifier: GPL-2.0
"""Flows to peers that move, measured.

roaming.py roam MODULE DELAY [DEVICE]
    lets the end b of a tunnel move under a flow. The ends are in the namespaces a and b, DELAY ms
    apart. DEVICE is that of b

roaming.py roam_tcp MODULE DELAY [DEVICE]
    does so under a TCP connection

roaming.py clock_back MODULE SECONDS
    sets the clock of a back, and lets b move

roaming.py copied MODULE SECONDS
    measures where the packets for b go if somebody on the path changes the source of all that b
    sends to 10.9.0.66

roaming.py in_turn MODULE SECONDS
    measures a flow to b while b sends from two addresses in turn

roaming.py both MODULE SECONDS
    measures the flows of a and b, of which both begin to send from another address during the same
    time

What MODULE has no rules for is shown, and not checked. For guests whose clock counts instructions.
"""

import os
import select
import socket
import struct
import subprocess
import sys
import time

from wgtest.loopback import JITTER, LATE
from wgtest.peer import BUCKET, BYTES_PER_SECOND, FACTOR, HEADERS, SO_RCVBUFFORCE

# What timers and the machine may add to the round trips of a stall, in seconds.
SLACK = 0.2
# The longest time without an arrival that is no stall: what passes through a link of 50 ms is not
# as regular as what was sent, but nothing has been lost or waited for.
NO_STALL = 0.05


def enter(name):
    with open(f"/run/netns/wgt-{name}") as file:
        os.setns(file.fileno(), os.CLONE_NEWNET)


def run(name, *words):
    subprocess.run(["ip", "netns", "exec", f"wgt-{name}", *words], check=True)


class Flow:
    """Numbered packets of `length` bytes from one end to the other, one every `interval` seconds,
    sent and received by processes of their own."""

    def __init__(self, source, target, length, interval, seconds):
        self.path = f"/tmp/flow-{source}-{target}"
        address = {"a": "10.8.0.1", "b": "10.8.0.2"}
        enter(target)
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        receiver.bind((address[target], 7))
        enter(source)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        end = time.monotonic() + seconds
        self.children = []
        for work in (self.send, self.receive):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    work(sender, receiver, (address[target], 7), length, interval, end)
                    status = 0
                finally:
                    os._exit(status)
            self.children.append(child)

    def send(self, sender, receiver, to, length, interval, end):
        number, due = 0, time.monotonic()
        while due < end:
            time.sleep(max(0, due - time.monotonic()))
            try:
                sender.sendto(struct.pack("<I", number) + bytes(length - 4), to)
            except OSError:
                pass  # no route for a moment
            number += 1
            due += interval
        with open(self.path + ".sent", "w") as file:
            file.write(str(number))

    def receive(self, sender, receiver, to, length, interval, end):
        receiver.settimeout(0.5)
        with open(self.path, "w") as file:
            while time.monotonic() < end + 1:
                try:
                    number, = struct.unpack("<I", receiver.recv(2000)[:4])
                except TimeoutError:
                    continue
                file.write(f"{time.monotonic()} {number}\n")

    def wait(self):
        """(packets sent, [(time, number)] of those that arrived)."""
        for child in self.children:
            assert os.waitpid(child, 0)[1] == 0, "a process of the flow has failed"
        with open(self.path) as file:
            rows = [line.split() for line in file]
        with open(self.path + ".sent") as file:
            return int(file.read()), [(float(time_), int(number)) for time_, number in rows]


def stall(rows, begun, end):
    """The longest time between two arrivals in this time."""
    times = [begun, *(time_ for time_, _ in rows if begun <= time_ < end), end]
    return max(after - before for before, after in zip(times, times[1:]))


def moves(device):
    """How b moves: (title, commands, whether to another port only). An address translator that
    forgets a mapping makes a new one, under which it takes what comes to the old port as well."""
    rule = "udp dport 51820 udp sport set 4443"
    back = "udp dport 4443 udp dport set 51820"
    return (
        ("to another port of a translator", f"nft add rule ip o o {rule}; "
         f"nft 'add table ip p; add chain ip p p {{ type filter hook prerouting priority -400; }}; "
         f"add rule ip p p {back}'", True),
        ("to another address", "ip addr add 10.9.0.112/24 dev eth0; "
         "ip addr del 10.9.0.2/24 dev eth0; ip addr replace 10.9.0.112/24 dev eth0", False),
        ("to another port", "nft flush table ip o; "
         f"wg set {device} listen-port 4444", False),
        ("to the other family", "ip addr del 10.9.0.112/24 dev eth0; "
         f"wg set {device} peer {os.environ['PUB_A']} endpoint [fd09::1]:51820", False),
    )


def roam(module, delay_ms, device="wg0"):
    delay = int(delay_ms) / 1000
    all_moves = moves(device)
    seconds = 4 * len(all_moves) + 3
    # A second to make the session in.
    down = Flow("a", "b", 1000, 0.004, seconds)
    up = Flow("b", "a", 100, 0.02, seconds)
    begun, at = time.monotonic(), []
    for number, (_, commands, _) in enumerate(all_moves):
        time.sleep(max(0, begun + 3 + 4 * number - time.monotonic()))
        at.append(time.monotonic())
        run("b", "sh", "-ec", commands)
    sent, rows = down.wait()
    up.wait()
    for (title, _, translated), moved in zip(all_moves, at):
        longest = stall(rows, moved - 0.5, moved + 3)
        print(f"NOTE: {title}: nothing arrived for {longest:.3f} s")
        limit = NO_STALL if translated else 2 * delay + SLACK
        assert module != "rust" or longest <= limit, "it stalled for too long"
    print(f"NOTE: {len(rows)} of {sent} packets arrived")


class Stream:
    """A TCP connection from b to a, in which both ends send `length` bytes every `interval`
    seconds. What each end gets is noted: when segments arrive, and when bytes do in their order."""

    HOSTS = {"a": "10.8.0.1", "b": "10.8.0.2"}

    def __init__(self, devices, lengths, interval, seconds):
        enter("a")
        listener = socket.create_server((self.HOSTS["a"], 7))
        enter("b")
        ends = {"b": socket.create_connection(listener.getsockname(), timeout=30)}
        ends["a"] = listener.accept()[0]
        taps = {}
        for name, device in devices.items():
            enter(name)
            tap = taps[name] = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                             socket.htons(0x0800))
            tap.bind((device, 0x0800))
            tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
            tap.setblocking(False)
        end = time.monotonic() + seconds
        self.children = []
        for name, sock in ends.items():
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    self.work(name, sock, taps[name], bytes(lengths[name]), interval, end)
                    status = 0
                finally:
                    os._exit(status)
            self.children.append(child)

    @staticmethod
    def work(name, sock, tap, message, interval, end):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        segments, in_order, got, left = [], [], 0, b""
        due = time.monotonic()
        while (now := time.monotonic()) < end:
            if now >= due:
                left += message
                due += interval
            if left:
                try:
                    left = left[sock.send(left):]
                except BlockingIOError:
                    pass
            wait = max(0, min(due, end) - time.monotonic())
            readable = select.select([sock, tap], [], [], wait)[0]
            now = time.monotonic()
            if tap in readable:
                packet, address = tap.recvfrom(70000)
                header = 4 * (packet[0] & 15)
                header += 4 * (packet[header + 12] >> 4) if packet[9] == 6 else 0
                # Those that carry something: acknowledgements alone are no data.
                if address[2] != socket.PACKET_OUTGOING and packet[9] == 6 and \
                        int.from_bytes(packet[2:4]) > header:
                    segments.append(now)
            if sock in readable:
                data = sock.recv(1 << 20)
                assert data, "the connection was closed"
                got += len(data)
                in_order.append(now)
        with open(f"/tmp/stream-{name}", "w") as file:
            for times in (segments, in_order):
                file.write(" ".join(map(str, times)) + "\n")
            file.write(str(got))

    def wait(self):
        """For each end: (times of segments, times of bytes in order, number of bytes)."""
        for child in self.children:
            assert os.waitpid(child, 0)[1] == 0, "a process of the connection has failed"
        found = {}
        for name in self.HOSTS:
            with open(f"/tmp/stream-{name}") as file:
                segments, in_order, got = file.read().split("\n")
            found[name] = ([(float(time_), 0) for time_ in segments.split()],
                           [(float(time_), 0) for time_ in in_order.split()], int(got))
        return found


def roam_tcp(module, delay_ms, device="wg0"):
    """What is lost while b moves, TCP has to send again, which takes it a round trip more. So two
    times are measured: how long no segment with data arrives, which is what the tunnel does, and
    how long no byte can be read, which is what TCP makes of it."""
    delay = int(delay_ms) / 1000
    all_moves = moves(device)
    seconds, interval, lengths = 4 * len(all_moves) + 3, 0.01, {"a": 1000, "b": 200}
    stream = Stream({"a": "wg0", "b": device}, lengths, interval, seconds)
    begun, at = time.monotonic(), []
    for number, (_, commands, _) in enumerate(all_moves):
        time.sleep(max(0, begun + 3 + 4 * number - time.monotonic()))
        at.append(time.monotonic())
        run("b", "sh", "-ec", commands)
    found = stream.wait()
    for (title, _, translated), moved in zip(all_moves, at):
        for name, way in (("b", "to the end that moves"), ("a", "from it")):
            segments, in_order, _ = found[name]
            longest = stall(segments, moved - 0.5, moved + 3)
            readable = stall(in_order, moved - 0.5, moved + 3)
            print(f"NOTE: {title}: {way}, no segment for {longest:.3f} s, nothing to read for "
                  f"{readable:.3f} s")
            if module == "rust":
                limit = NO_STALL if translated else 2 * delay + SLACK
                assert longest <= limit, "it stalled for too long"
                assert readable <= limit + (0 if translated else 2 * delay), "TCP stalled"
    for name, other in (("a", "b"), ("b", "a")):
        wanted = lengths[other] * seconds / interval
        print(f"NOTE: {name} got {found[name][2]} of {wanted:.0f} bytes")
        assert found[name][2] >= 0.9 * wanted


def clock_back(module, seconds):
    """a has begun the session, and the clock has been set back since. b moves, and takes none of
    its initiations. After three of them a sends nothing more to b, which then begins itself: a
    takes that, as b has begun nothing before."""
    seconds = int(seconds)
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) - 3600)
    down = Flow("a", "b", 1000, 0.02, seconds)
    up = Flow("b", "a", 100, 0.1, seconds)
    begun = time.monotonic()
    time.sleep(3)
    moved = time.monotonic()
    run("b", "nft", "add rule ip o o udp dport 51820 ip saddr set 10.9.0.112")
    run("b", "ip", "addr", "del", "10.9.0.2/24", "dev", "eth0")
    run("b", "ip", "addr", "replace", "10.9.0.112/24", "dev", "eth0")
    sent, rows = down.wait()
    up.wait()
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + 3600)
    end = begun + seconds
    print(f"NOTE: {len(rows)} of {sent} packets arrived; nothing arrived for "
          f"{stall(rows, moved - 0.5, end):.3f} s")
    late = [number for time_, number in rows if time_ >= end - 5]
    assert len(late) >= 0.95 * 5 / 0.02, "the address was not proven"
    if module == "rust":
        # Three probes, of 5 s each; then 15 s of silence, and a handshake.
        assert stall(rows, moved - 0.5, end) <= 15 + JITTER + LATE + 1


def counted(name, command="list"):
    """Bytes that eth0 of this end has seen for the address in the rule of moving.sh. With the
    command `reset`, they are counted anew."""
    text = subprocess.run(["ip", "netns", "exec", f"wgt-{name}", "nft", command, "counter", "ip",
                           "t", "c"], check=True, capture_output=True, text=True).stdout
    return int(text.split("bytes")[1].split()[0])


def copied(module, seconds):
    seconds = int(seconds)
    down = Flow("a", "b", 1300, 0.01, seconds)
    up = Flow("b", "a", 100, 0.05, seconds)
    sent, rows = down.wait()
    acks, _ = up.wait()
    # A packet of 100 bytes makes a datagram of 100 + 28 inside, padded to 128, + 32 + 28.
    came = acks * (128 + 32 + HEADERS)
    bound = FACTOR * came + BUCKET + BYTES_PER_SECOND * (seconds + 1)
    got = counted("b")
    print(f"NOTE: {seconds} s: {got} bytes went to the victim; the bound is {bound}. The peer got "
          f"{len(rows)} of {sent} packets")
    if module == "rust":
        assert got <= bound, "more than the bound"
        assert len(rows) * 1388 >= sent * 1388 - bound, "the peer lost more"
        # After three probes, nothing goes astray.
        late = [number for time_, number in rows if number >= sent // 2]
        assert len(late) >= (sent - sent // 2) * 0.99, "packets still went astray"


def in_turn(module, seconds):
    seconds = int(seconds)
    down = Flow("a", "b", 1000, 0.01, seconds)
    up = Flow("b", "a", 100, 0.02, seconds)
    begun = time.monotonic()
    sent, rows = down.wait()
    up.wait()
    print(f"NOTE: {len(rows)} of {sent} packets arrived; nothing arrived for "
          f"{stall(rows, begun + 1, begun + seconds):.3f} s")
    assert len({number for _, number in rows}) >= 0.99 * sent
    assert stall(rows, begun + 1, begun + seconds) < SLACK


def both(module, seconds):
    seconds = int(seconds)
    flows = [Flow(*ends, 1000, 0.02, seconds) for ends in (("a", "b"), ("b", "a"))]
    begun = time.monotonic()
    time.sleep(2)
    for name, host in (("a", "10.9.0.111"), ("b", "10.9.0.112")):
        run(name, "nft", f"add rule ip o o udp dport 51820 ip saddr set {host}")
    time.sleep(3)
    for name in ("a", "b"):
        counted(name, "reset")
    for flow in flows:
        sent, rows = flow.wait()
        longest = stall(rows, begun + 1, begun + seconds)
        print(f"NOTE: {len(rows)} of {sent} packets arrived; nothing arrived for {longest:.3f} s")
        assert len({number for _, number in rows}) >= 0.99 * sent
        assert longest < SLACK
    left = [counted(name) for name in ("a", "b")]
    assert left == [0, 0], f"{left} bytes still went to the old addresses"


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    {function.__name__: function for function in (
        roam, roam_tcp, clock_back, copied, in_turn, both)}[name](*words)
