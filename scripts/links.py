#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Checks that the links of each *.md file of this tree lead somewhere.

A relative link has to name a file or folder of the tree, and a fragment a heading of a document.
Addresses outside the tree are not looked up.
"""

import re
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent


def text_of(path):
    """A document without its code, in which nothing is a link."""
    code = r"^ {4}[^\n]*$|^```.*?^```$|`[^`\n]*`"
    return re.sub(code, "", path.read_text(), flags=re.M | re.S)


def anchors(path):
    """The fragments that the headings of a document can be reached by."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.M):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.replace(" ", "-"))
    return found


def main():
    bad = count = 0
    for path in sorted(TREE.rglob("*.md")):
        if any(part in (".git", "target") for part in path.relative_to(TREE).parts):
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
            if re.match(r"[a-z]+:", target):
                continue
            count += 1
            name, _, fragment = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if not file.exists() or TREE not in (file, *file.parents):
                wrong = "there is no such file"
            elif fragment and fragment not in anchors(file):
                wrong = "there is no such heading"
            else:
                continue
            print(f"{path.relative_to(TREE)}: {target}: {wrong}")
            bad += 1
    if not count:
        print("no document has a link")
    return bad != 0 or count == 0


if __name__ == "__main__":
    sys.exit(main())
