# SPDX-License-Identifier: GPL-2.0
"""What the specification says of the netlink family `wireguard_ext`."""

import yaml

SPEC = "/netlink/specs/wireguard_ext.yaml"
SPECIFICATION = yaml.safe_load(open(SPEC))


def numbers(name):
    """The numbers of the attributes of a set."""
    found, number = {}, 0
    for each in next(s for s in SPECIFICATION["attribute-sets"] if s["name"] == name)["attributes"]:
        number = each.get("value", number + 1)
        found[each["name"]] = number
    return found


EXT, PEER = numbers("ext"), numbers("peer")
