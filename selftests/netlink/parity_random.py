# SPDX-License-Identifier: GPL-2.0
"""Random requests for parity_netlink.py, the same ones each time: from a seeded generator.

random      whole requests, most of whose parts are right, to an interface that goes up and down
mutated     right requests of which some bytes are changed, left out or cut off
"""

import socket

from wgtest.record import NAME, Recorder, take_port
from wgtest.requests import Maker
from wgtest.wgnl import A_IFINDEX, A_IFNAME, attr, u32

RANDOM_REQUESTS = 1100
MUTATED_REQUESTS = 900


def up_or_down(maker, recorder, is_up):
    """Seldom makes the interface go up or down. Returns whether it is up afterwards."""
    if not maker.maybe(0.02):
        return is_up
    recorder.up(not is_up)
    with open("/sys/class/net/wg0/flags") as flags:
        return bool(int(flags.read(), 16) & 1)


def send_random(maker, recorder):
    index = attr(A_IFINDEX, u32(socket.if_nametoindex("wg0")))
    others = [
        b"",
        NAME + index,
        attr(A_IFNAME, "lo"),
        attr(A_IFNAME, "nosuch"),
        attr(A_IFNAME, b""),
        attr(A_IFINDEX, u32(0)),
    ]
    is_up = False
    for i in range(RANDOM_REQUESTS):
        is_up = up_or_down(maker, recorder, is_up)
        which = maker.chance.choice([NAME, index]) if maker.maybe(0.97) else \
            maker.chance.choice(others)
        if maker.maybe(0.95):
            recorder.set(f"random {i}", maker.device(), name=which)
        else:
            recorder.get(f"random {i}", which + (maker.device() if maker.maybe(0.3) else b""))


def send_mutated(maker, recorder):
    is_up = False
    for i in range(MUTATED_REQUESTS):
        is_up = up_or_down(maker, recorder, is_up)
        recorder.set(f"mutated {i}", maker.mutate(maker.sound()), name=b"")


PARTS = {"random": send_random, "mutated": send_mutated}


def main(which):
    maker, recorder = Maker(20240607), Recorder()
    recorder.reset()
    taken = take_port()
    PARTS[which](maker, recorder)
    taken.close()
