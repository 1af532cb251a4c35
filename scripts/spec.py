#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Checks that the code and netlink/specs/wireguard_ext.yaml name and number the same things.

    scripts/spec.py     prints what differs
"""

import re
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
SPEC = TREE / "netlink/specs/wireguard_ext.yaml"


def of_spec():
    """The names of each enum, attribute set and list of the specification, with their numbers.

    It reads the layout that the file has, so that it needs no YAML library.
    """
    found, part, name, number, last = {}, None, None, 0, None
    for line in SPEC.read_text().splitlines():
        if match := re.fullmatch(r"(?:    | {2})name: ([\w-]+)", line):
            name, number = match[1], 0
        elif match := re.fullmatch(r"(definitions|attribute-sets|operations|mcast-groups):", line):
            part, name, number = match[1], match[1], 0
        elif match := re.fullmatch(r"(?: {8}| {6}(?=name)|    -  )name: ([\w-]+)", line):
            number, last = number + 1, match[1]
            found.setdefault(name, {})[last] = number
        elif line.startswith("    subset-of: "):
            # Its attributes have their numbers elsewhere.
            name = None
        elif match := re.fullmatch(r" {6,8}value: (\d+)", line):
            number = int(match[1])
            found[name][last] = number
    found.pop(None)
    return found


def camel(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def of_code():
    found = {}
    for file in ("src/events.rs", "src/extension.rs", "src/keypair.rs"):
        text = (TREE / file).read_text()
        for name, body in re.findall(r"^pub\(crate\) enum (\w+) \{\n(.*?)^\}", text, re.M | re.S):
            values = dict(re.findall(r"^    (\w+) = (\d+),", body, re.M))
            found[camel(name)] = {camel(key): int(value) for key, value in values.items()}
        for name, body in re.findall(r"^pub\(crate\) mod (\w+) \{\n(.*?)^\}", text, re.M | re.S):
            values = re.findall(r"^    pub\(crate\) const (\w+): \w+ = (\d+);", body, re.M)
            found[name.replace("_", "-")] = {key.lower().replace("_", "-"): int(value)
                                             for key, value in values}
    return found


def main():
    spec, code = of_spec(), of_code()
    # The counters have the names and numbers of the events that are counted.
    code["counts"] = {name: number for name, number in code["event"].items() if number < 64}
    code["operations"] = code.pop("cmd")
    code["mcast-groups"] = {name: number + 1 for name, number in code.pop("group").items()}
    bad = 0
    # Tracers see these names.
    text = (TREE / "src/events.rs").read_text()
    names = dict(re.findall(r'^ +Self::(\w+) => c"([\w-]+)",', text, re.M))
    for name in sorted(code["event"].keys() | names.values() | {camel(key) for key in names}):
        if names.get(next((key for key in names if camel(key) == name), None)) != name:
            bad += 1
            print(f"event {name}: Event::name() of src/events.rs has another name for it")
    for name in sorted(code.keys() | spec.keys() - {"key-len"}):
        for key in sorted(code.get(name, {}).keys() | spec.get(name, {}).keys()):
            here, there = code.get(name, {}).get(key), spec.get(name, {}).get(key)
            if here != there:
                bad += 1
                print(f"{name} {key}: {here} in src/, {there} in {SPEC.relative_to(TREE)}")
    return bad


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
