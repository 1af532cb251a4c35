# SPDX-License-Identifier: GPL-2.0
"""What the specification says of the netlink family `wireguard_ext`, and a listener to it."""

import contextlib
import struct

import yaml

from wgtest import wgnl

SPEC = "/netlink/specs/wireguard_ext.yaml"
# The loader of libyaml: the other one takes longer than most tests.
SPECIFICATION = yaml.load(open(SPEC), yaml.CSafeLoader)


def numbers(name):
    """The numbers of the attributes of a set."""
    found, number = {}, 0
    for each in next(s for s in SPECIFICATION["attribute-sets"] if s["name"] == name)["attributes"]:
        number = each.get("value", number + 1)
        found[each["name"]] = number
    return found


EXT, PEER = numbers("ext"), numbers("peer")
EVENTS = {entry["value"]: entry["name"] for each in SPECIFICATION["definitions"]
          if each["name"] == "event" for entry in each["entries"]}
CHANGES = {entry["value"]: entry["name"] for each in SPECIFICATION["definitions"]
           if each["name"] == "change" for entry in each["entries"]}
GET, CONFIG, SESSION, UNAUTH, DEV_SET, PEER_SET = range(1, 7)


class Listener:
    """A socket that listens to groups of the family."""

    def __init__(self, *groups):
        self.netlink = wgnl.Socket("wireguard_ext")
        answer = dict(wgnl.parse(wgnl_family()))
        ids = {}
        for _, group in wgnl.parse(answer[7]):
            attrs = dict(wgnl.parse(group))
            ids[attrs[1].rstrip(b"\0").decode()] = struct.unpack("=I", attrs[2])[0]
        for group in groups:
            self.netlink.sock.setsockopt(wgnl.SOL_NETLINK, 1, ids[group])
        self.netlink.sock.setblocking(False)

    def read(self):
        """The events that have come, as (command, attributes)."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                for _, _, body in self.netlink.messages():
                    found.append((body[0], dict(wgnl.parse(body[4:]))))
        return found


def wgnl_family():
    """What the control family says of wireguard_ext."""
    control = wgnl.Netlink(wgnl.NETLINK_GENERIC)
    control.send_message(16, wgnl.NLM_F_REQUEST | wgnl.NLM_F_ACK,
                         struct.pack("=BBH", 3, 1, 0) + wgnl.attr(2, "wireguard_ext"))
    return control.acknowledged()[0][4:]


def named(event):
    """An event as (name, public key of the peer or None)."""
    command, attrs = event
    number = attrs[EXT["change" if command == CONFIG else "event"]][0]
    about = dict(wgnl.parse(attrs.get(EXT["peer"], b"")))
    return (CHANGES if command == CONFIG else EVENTS)[number], about.get(PEER["public-key"])
