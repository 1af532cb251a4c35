# SPDX-License-Identifier: GPL-2.0
"""Sends requests to the module that is loaded, and compares the results of two modules.

parity_netlink.py record FOLDER FAMILY…         sends the requests of each family, in a network
                                                namespace of its own, and writes the results to a
                                                file: one line of JSON for each
parity_netlink.py compare C RUST RESULT FAMILY… compares two such folders line by line, of the C
                                                module and of ours, and writes the differences to a
                                                file for each family, which ends with `same` if
                                                there is none

The text beside an errno is compared if the C module's refusal has one: it is then the netlink
core's. If the C module's refusal has none, the module itself has refused, and ours must have one.
"""

import collections
import difflib
import errno
import json
import os
import subprocess
import sys
import time

import parity_links
import parity_random
import parity_requests
import parity_sequences
import parity_system
from wgtest.record import in_child, ip

SHOWN = 10  # differences of a family that are shown


def describe(entry):
    """The result of a request, as a list of lines."""
    number = entry["errno"]
    lines = [f"answer: {errno.errorcode.get(number, number)}"]
    for part in ("answers", "state"):
        value = entry.get(part, [])
        lines += [f"{part}: {value}"] if isinstance(value, str) else \
            [f"{part}: {line}" for line in value]
    return lines


def difference(c, rust):
    """The differences, as a list of lines; empty if there are none."""
    if (c["title"], c["request"]) != (rust["title"], rust["request"]):
        return ["the requests themselves are different: " + rust["title"]]
    lines = list(difflib.unified_diff(describe(c), describe(rust), "C", "Rust", n=2, lineterm=""))
    if c["text"] and c["text"] != rust["text"]:
        lines.append(f"the text of C is {c['text']!r}, ours {rust['text']!r}")
    if c["errno"] and not c["text"] and not rust["text"] and not c.get("core"):
        lines.append("ours is without a text")
    return lines


def compare_family(c_file, rust_file, result):
    with open(c_file) as file:
        c = [json.loads(line) for line in file]
    with open(rust_file) as file:
        rust = [json.loads(line) for line in file]
    different = 0
    for a, b in zip(c, rust):
        lines = difference(a, b)
        if not lines:
            continue
        different += 1
        if different <= SHOWN:
            print(f"DIFFERENT: {a['title']}", file=result)
            print("\n".join("    " + line for line in (f"request: {a['request']}", *lines)),
                  file=result)
    errors = collections.Counter(entry["errno"] for entry in c)
    print(
        f"NOTE: {len(c)} compared, {different} different; "
        + ", ".join(f"{errno.errorcode.get(number, 'accepted')}: {count}"
                    for number, count in errors.most_common()),
        file=result,
    )
    if len(c) != len(rust) or not c:
        print(f"there are {len(c)} results of C and {len(rust)} of ours", file=result)
    elif not different:
        print("same", file=result)


def compare(c, rust, results, *families):
    os.makedirs(results)
    for family in families:
        with open(os.path.join(results, family), "w") as result:
            try:
                compare_family(os.path.join(c, family), os.path.join(rust, family), result)
            except OSError as error:
                print(f"a result is missing: {error}", file=result)


def send(family, path):
    """Sends a family's requests from a new network namespace."""
    os.unshare(os.CLONE_NEWNET | os.CLONE_NEWNS)
    # /sys shows the network namespace in which it was mounted.
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    ip("link", "set", "lo", "up")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.dup2(file, sys.stdout.fileno())
    for module in (parity_requests, parity_sequences, parity_random, parity_links, parity_system):
        if family in module.PARTS:
            return module.main(family)
    raise ValueError(f"there is no family {family}")


def record(folder, *families):
    """Records each family. One that fails leaves no file; its error is on stderr."""
    os.makedirs(folder)
    for family in families:
        begun = time.monotonic()
        path = os.path.join(folder, family)
        try:
            in_child(lambda: send(family, path + ".part"))
            os.rename(path + ".part", path)
        except RuntimeError:
            print(f"{family} has failed", file=sys.stderr)
        print(f"{family}: {time.monotonic() - begun:.1f} s", file=sys.stderr)


def main(command, *args):
    {"record": record, "compare": compare}[command](*args)


main(*sys.argv[1:])
