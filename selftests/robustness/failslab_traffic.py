# SPDX-License-Identifier: GPL-2.0
"""Makes allocations fail while there is traffic, and checks what the tunnel carries meanwhile and
afterwards.

failslab_traffic.py NAME      runs the function NAME below, as root in the initial namespaces; the
                              tunnel is the one of pair() in lib.sh
"""

import hashlib
import socket
import struct
import subprocess
import sys
import threading
import time

from wgtest.failing import NO_MEMORY, Faults, each, symbol
from wgtest.machine import until
from wgtest.tunnel import INNER, OTHER, Flow, Stream, inside, ip, ns, works

RESPONSE, KEEPALIVE = 92, 32  # bytes


def lost():
    """The number of packets that the interface of `a` has dropped, or failed to send (tx_errors,
    tx_dropped)."""
    with inside("a"), open("/proc/thread-self/net/dev") as file:
        counts = next(line.split()[1:] for line in file if line.lstrip().startswith("wg0:"))
    return int(counts[10]) + int(counts[11])


def datagrams():
    """Each packet that the interface is given arrives, or its sender gets an error, or it is
    counted."""
    works()
    for segments in (0, 8):
        flow = Flow("a", size=400)
        if segments:
            # UDP_SEGMENT; smaller packets go as they are.
            flow.sender.setsockopt(socket.SOL_UDP, 103, 400)
        count = max(segments, 1)
        data = b"".join(struct.pack(">I", number) + flow.contents(number)
                        for number in range(count))

        def prepare():
            nonlocal before
            flow.got.clear()
            before = lost()

        def check(_):
            # A GSO packet that could not be segmented counts as one.
            until("all are accounted for", lambda: flow.arrived() + lost() - before == count or (
                segments and not flow.arrived() and lost() - before == 1))

        before = 0
        # Allocations fail from the device's transmit function on. Before it, the socket reports
        # them.
        with Faults():
            each("a packet" if not segments else "a packet of eight segments",
                 lambda: flow.sender.send(data), check, prepare,
                 NO_MEMORY, may_fail=False if not segments else True)
        assert lost(), "none was lost"
        flow.got.clear()
        flow.sent = 0
        flow.carries()
        flow.close()
    works()


def again(name):
    """Makes this side forget its session."""
    ip(name, "link", "set", "wg0", "down")
    ip(name, "link", "set", "wg0", "up")
    ip(name, "addr", "replace", INNER[name][1] + "/64", "dev", "wg0")


def received(name):
    """The number of bytes of authentic messages that this side has received."""
    return int(ns(name, "wg", "show", "wg0", "transfer").split()[1])


def retried():
    """A handshake that a packet waits for, and keepalives, are tried again after an allocation has
    failed."""
    works()
    with Faults() as faults:
        again("a")
        flow = Flow("a")
        faults.rate(100, times=1)
        flow.send(1)
        until("an allocation has failed", lambda: faults.count)
        begun = time.monotonic()
        faults.rate(0)
        flow.complete()
        print(f"NOTE: an initiation that there was no memory for: {time.monotonic() - begun:.1f} s")
        flow.close()
        # Any of the other allocations of a handshake fails, on either side. The packet itself may
        # be lost for want of memory; the session is made all the same, without another packet.
        for _ in range(2):
            again("a")
            flow = Flow("a")
            before = received("a")
            faults.rate(20)
            flow.send(1)
            time.sleep(0.3)
            faults.rate(0)
            until("it has arrived, or there is a session",
                  lambda: flow.arrived() or received("a") >= before + RESPONSE)
            flow.send(1)
            until("the next one arrives", lambda: flow.arrived() and flow.got[-1] == 1)
            flow.close()
        peer = ns("a", "wg", "show", "wg0", "peers").strip()
        ns("a", "wg", "set", "wg0", "peer", peer, "persistent-keepalive", "1")

        def comes(count):
            before = received("b")
            until("keepalives come", lambda: received("b") >= before + KEEPALIVE * count)

        comes(2)
        faults.rate(100, times=1)
        until("an allocation has failed", lambda: faults.count)
        faults.rate(0)
        comes(3)
        ns("a", "wg", "set", "wg0", "peer", peer, "persistent-keepalive", "off")
    works()


def rates():
    """Allocations of the module fail at random during traffic and configuration; afterwards all
    works."""
    spared = symbol("__vmalloc_node_range_noprof")  # its warning is right, but would fail the test
    keys = {name: ns(OTHER[name], "wg", "show", "wg0", "peers").strip() for name in "ab"}
    over = threading.Event()
    done, refused = {}, {}

    def loop(what, *commands):
        while not over.is_set():
            for command in commands:
                result = subprocess.run(command, capture_output=True, text=True)
                where = refused if result.returncode else done
                where[what] = where.get(what, 0) + 1

    def inner(name, *words):
        return ["ip", "netns", "exec", "wgt-" + name, *words]

    def outer(name, *words):
        return ["ip", "-n", "wgt-" + name, *words]

    with open("/tmp/many.conf", "w") as file:
        for number in range(2, 40):
            public = subprocess.run(["base64"], input=hashlib.sha256(b"%d" % number).digest(),
                                    capture_output=True).stdout.decode().strip()
            file.write(f"[Peer]\nPublicKey = {public}\nAllowedIPs = "
                       f"10.{number}.0.0/16,2001:db8:{number:x}::/48\nEndpoint = 127.0.0.1:9\n")

    for percent in (1, 10):
        over.clear()
        done.clear()
        refused.clear()
        works()
        with Faults(spared=spared) as faults:
            both = [Flow("a", 4), Flow("b", 6)]
            faults.rate(percent)
            if percent < 10:
                stream = Stream("a", 4)
                stream.goes_on()
                stream.end()
            threads = [threading.Thread(target=loop, args=arguments) for arguments in (
                ("configure", inner("b", "wg", "addconf", "wg0", "/tmp/many.conf"),
                 inner("b", "wg", "show", "wg0", "dump"),
                 inner("b", "bash", "-c", "wg show wg0 peers | grep -v " +
                       keys["a"] + " | sed 's/.*/peer & remove/' | xargs wg set wg0")),
                ("interface", outer("a", "link", "add", "wg9", "type", "wireguard"),
                 outer("a", "link", "set", "wg9", "up"),
                 outer("a", "link", "del", "wg9")),
                ("session", outer("a", "link", "set", "wg0", "down"),
                 outer("a", "link", "set", "wg0", "up"),
                 outer("a", "addr", "replace", INNER["a"][1] + "/64", "dev", "wg0"),
                 ["sleep", "2"]))]
            for thread in threads:
                thread.start()

            def send():
                for flow in both:
                    flow.send(20)
                    flow.arrived()
                time.sleep(0.2)

            for _ in range(15):
                send()
            until("packets arrive both ways",
                  lambda: send() or all(flow.arrived() > 40 for flow in both))
            # Making an interface takes so many allocations that it hardly ever succeeds when a
            # tenth of them fail.
            until("some of all requests are granted",
                  lambda: send() or percent == 10 or len(done) == 3)
            until("enough allocations have failed", lambda: send() or faults.count > 20)
            over.set()
            for thread in threads:
                thread.join()
            injected = faults.count
            faults.rate(0)
        # With memory, everything works immediately.
        for words in (("a", "link", "set", "wg0", "up"),
                      ("a", "addr", "replace", INNER["a"][1] + "/64", "dev", "wg0"),
                      ("b", "link", "set", "wg0", "up")):
            ip(*words)
        works()
        for flow in both:
            flow.carries()
        print(f"NOTE: {percent} %: {injected} allocations failed; arrived "
              f"{[flow.arrived() for flow in both]} of {[flow.sent for flow in both]} datagrams; "
              f"requests granted {done}, refused {refused}")
        for flow in both:
            flow.close()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
