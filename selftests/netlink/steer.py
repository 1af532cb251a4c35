# SPDX-License-Identifier: GPL-2.0
"""Tests of `dev-set` and `peer-set` of the netlink family `wireguard_ext` that make requests.

steer.py NAME KEY    runs the function NAME below; KEY is the public key of the only peer of wg0,
                     which is in this namespace
"""

import base64
import errno
import json
import random
import subprocess
import sys

import yaml

from wgtest import wgnl
from wgtest.wgnl import attr, nest, u8, u16, u32

SPEC = "/netlink/specs/wireguard_ext.yaml"
SPECIFICATION = yaml.safe_load(open(SPEC))
GET, DEV_SET, PEER_SET = 1, 5, 6


def numbers(name):
    """The numbers of the attributes of a set."""
    found, number = {}, 0
    for each in next(s for s in SPECIFICATION["attribute-sets"] if s["name"] == name)["attributes"]:
        number = each.get("value", number + 1)
        found[each["name"]] = number
    return found


EXT, PEER = numbers("ext"), numbers("peer")
# What a request for a peer may have besides its key.
SETTABLE = [each["name"] for s in SPECIFICATION["attribute-sets"] if s["name"] == "peer-set-input"
            for each in s["attributes"] if each["name"] != "public-key"]
NAME = attr(EXT["ifname"], "wg0")


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def state():
    """Everything that a dump tells of wg0."""
    return b"".join(body for _, body in wgnl.Socket("wireguard_ext").dump(GET, NAME))


def policy(key):
    netlink = wgnl.Socket("wireguard_ext")
    public = attr(PEER["public-key"], base64.b64decode(key))
    named = {name: attr(PEER[name], u8(1)) for name in SETTABLE}
    before = state()

    def peer(*attrs):
        return NAME + nest(EXT["peer"], *attrs)

    def refused(title, command, payload, error):
        try:
            netlink.do(command, payload)
        except wgnl.Error as refusal:
            assert refusal.errno == error, (title, refusal)
            assert refusal.text, title
            print(f"{title}: {refusal}")
        else:
            raise AssertionError(f"{title}: this was carried out")
        assert state() == before, f"{title}: something has changed"

    for command in DEV_SET, PEER_SET:
        refused("no interface", command, b"", errno.EBADR)
        refused("no such interface", command, attr(EXT["ifname"], "wg7"), errno.ENODEV)
        refused("another kind of interface", command, attr(EXT["ifname"], "lo"), errno.EOPNOTSUPP)
        refused("an attribute of another message", command, NAME + attr(EXT["event"], u8(1)),
                errno.EINVAL)
        refused("an attribute that there is not", command, NAME + attr(99, u8(1)), errno.EINVAL)
        refused("trailing bytes", command, NAME + b"xyz", errno.EINVAL)
    refused("sealed by more than 1", DEV_SET, NAME + attr(EXT["sealed"], u8(2)), errno.ERANGE)
    refused("sealed by two bytes", DEV_SET, NAME + attr(EXT["sealed"], u16(1)), errno.EINVAL)
    refused("a peer in dev-set", DEV_SET, peer(public), errno.EINVAL)
    refused("sealed in peer-set", PEER_SET, peer(public) + attr(EXT["sealed"], u8(1)),
            errno.EINVAL)
    label = attr(PEER["label"], b"office")
    refused("no peer", PEER_SET, NAME, errno.EINVAL)
    refused("a peer without a key", PEER_SET, peer(label), errno.EINVAL)
    refused("a key of 31 bytes", PEER_SET, peer(attr(PEER["public-key"], bytes(31)), label),
            errno.ERANGE)
    refused("no such peer", PEER_SET, peer(attr(PEER["public-key"], bytes(32)), label),
            errno.ENOENT)
    refused("a peer without the flag of a nest", PEER_SET, NAME + attr(EXT["peer"], public),
            errno.EINVAL)
    refused("a counter in the peer", PEER_SET, peer(public, attr(PEER["rx-bytes"], bytes(8))),
            errno.EINVAL)
    refused("an unknown attribute in the peer", PEER_SET, peer(public, attr(99, u8(1))),
            errno.EINVAL)
    refused("trailing bytes in the peer", PEER_SET, peer(public, label, b"xyz"), errno.EINVAL)
    refused("a label of 65 bytes", PEER_SET, peer(public, attr(PEER["label"], b"x" * 65)),
            errno.EINVAL)
    refused("a label with a zero", PEER_SET, peer(public, attr(PEER["label"], b"x\0y")),
            errno.EINVAL)
    for name in ("disabled", "require-preshared-key", "sealed"):
        refused(f"{name} by 2", PEER_SET, peer(public, label, attr(PEER[name], u8(2))),
                errno.ERANGE)
        refused(f"{name} by four bytes", PEER_SET, peer(public, label, attr(PEER[name], u32(1))),
                errno.EINVAL)
        # What comes before a wrong attribute is not done either.
        refused(f"{name} before a wrong label", PEER_SET,
                peer(public, named[name], attr(PEER["label"], b"x\0y")), errno.EINVAL)


def hostile(key):
    rng, answers = random.Random(8), {}
    netlink = wgnl.Socket("wireguard_ext")
    public = base64.b64decode(key)

    def value():
        return rng.choice((b"wg0\0", u8(0), u8(1), u32(1), public, b"", rng.randbytes(16),
                           rng.randbytes(28), rng.randbytes(rng.randrange(80))))

    for _ in range(5000):
        inner = b"".join(
            attr(rng.choice((1, *PEER.values(), rng.randrange(64)))
                 | rng.choice((0, 0, 0, wgnl.NESTED, 0x4000)), value())
            for _ in range(rng.randrange(4)))
        payload = rng.choice((NAME, NAME, NAME, b"")) + b"".join(rng.choice((
            nest(EXT["peer"], attr(PEER["public-key"], public), inner),
            nest(EXT["peer"], inner),
            attr(rng.choice((*EXT.values(), rng.randrange(64))), value())))
            for _ in range(rng.randrange(3))) + rng.randbytes(rng.choice((0, 0, 0, 3)))
        try:
            netlink.do(rng.choice((DEV_SET, PEER_SET)), payload)
            answer = "done"
        except wgnl.Error as refusal:
            answer = errno.errorcode[refusal.errno]
        answers[answer] = answers.get(answer, 0) + 1
    print(answers)
    assert {"done", "EINVAL", "ERANGE"} <= set(answers), answers
    unknown = errno.errorcode[errno.EOPNOTSUPP]  # it has two names
    assert set(answers) <= {"done", "EINVAL", "EBADR", "ENODEV", "ENOENT", "EPERM", "ERANGE",
                            "EDESTADDRREQ", unknown}, answers


def ynl(key):
    client = ["python3", "-u", "/usr/src/linux/tools/net/ynl/pyynl/cli.py", "--output-json",
              "--spec", SPEC,
              "--schema", "/usr/src/linux/Documentation/netlink/genetlink-legacy.yaml"]
    public = base64.b64decode(key).hex()

    def answered():
        return json.loads(run(*client, "--dump", "get", "--json", '{"ifname": "wg0"}'))[0]

    device = {"sealed": 1}
    peer = {"label": b"office".hex(), "disabled": 1, "require-preshared-key": 1, "sealed": 1}
    assert not set(device) & set(answered()), answered()
    run(*client, "--do", "dev-set", "--json", json.dumps({"ifname": "wg0", **device}))
    run(*client, "--do", "peer-set", "--json",
        json.dumps({"ifname": "wg0", "peer": {"public-key": public, **peer}}))
    found = answered()
    about, = found["peer"]
    print(found)
    assert {name: found.get(name) for name in device} == device, found
    assert {name: about.get(name) for name in peer} == peer, about
    assert set(peer) == set(SETTABLE), "not everything was tried"


def main():
    globals()[sys.argv[1]](sys.argv[2])


main()
