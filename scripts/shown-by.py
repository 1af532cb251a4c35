#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Keeps the names of tests in docs/*.md equal to those of the tests that there are.

    scripts/shown-by.py            rewrites the documents in place
    scripts/shown-by.py --check    changes nothing, and fails if a document is out of date

A table whose last column is called "shown by" names tests there, in plain words:

    netlink: family, permission; KUnit: wireguard_noise; `make lint`

that is the tests `family` and `permission` of the program netlink.sh in a folder of selftests/, a
KUnit suite, and a target of the Makefile. "netlink: all" names every test of a program. This script
makes links of the names of programs and of suites. A name that does not exist is an error.

Tests that no row names are listed in docs/testing.md, between the comments "other tests" and "end
of other tests". So a new test is always in the documents, and a document never names one that is
gone.

The tests of a program are those that it prints with --list, which needs no guest and no root.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
DOCS = TREE / "docs"
BEGIN, END = "<!-- other tests -->", "<!-- end of other tests -->"


class Wrong(Exception):
    """A sentence that names a mistake in the documents."""


def link(text, path):
    """A link to a file of the tree, as a file in docs/ has to write it."""
    return f"[{text}](../{path})"


class Tests:
    """The tests that there are."""

    def __init__(self):
        # Program -> its file, and its tests with their descriptions.
        self.files, self.programs, self.suites = {}, {}, {}
        for file in sorted((TREE / "selftests").rglob("*.sh")):
            if not os.access(file, os.X_OK) or not re.search(r'\b(run|with_partner .*) "\$@"',
                                                             file.read_text()):
                continue
            done = subprocess.run([file, "--list"], capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL)
            listed = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
            if done.returncode or not listed:
                raise Wrong(f"{file.relative_to(TREE)} --list prints no tests: {done.stderr}")
            self.files[file.stem] = file.relative_to(TREE)
            self.programs[file.stem] = listed
        for file in sorted((TREE / "src").rglob("*.rs")):
            for name in re.findall(r"^#\[.*\bkunit_tests\((\w+)\)\]", file.read_text(), re.M):
                self.suites[name] = file.relative_to(TREE)
        self.targets = set(re.findall(r"^([a-z-]+):", (TREE / "Makefile").read_text(), re.M))
        # The tests that rows name: (program, test), or ("KUnit", suite).
        self.named = set()

    def item(self, kind, name):
        """The name of a test in a row, or `all` for all tests of a program."""
        if kind == "KUnit":
            if name not in self.suites:
                raise Wrong(f"there is no KUnit suite {name}")
            text = link(name, self.suites[name])
        elif name == "all":
            self.named.update((kind, each) for each in self.programs[kind])
            return name
        else:
            if name not in self.programs[kind]:
                raise Wrong(f"{self.files[kind]} has no test {name}")
            text = name
        self.named.add((kind, name))
        return text

    def cell(self, text):
        """The cell of a table with the names as links."""
        groups = {}
        for part in re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).split(";"):
            part = part.strip()
            if command := re.fullmatch(r"`make ([a-z-]+)`", part):
                if command[1] not in self.targets:
                    raise Wrong(f"the Makefile has no target {command[1]}")
                groups[part] = []
                continue
            kind, colon, names = part.partition(": ")
            if not colon or kind != "KUnit" and kind not in self.programs:
                raise Wrong(f'"{part}" names no tests: see scripts/shown-by.py --help')
            names = [self.item(kind, name.strip()) for name in names.split(",")]
            groups.setdefault(kind, []).extend(names)
        return "; ".join(
            f"{link(kind, self.files[kind]) if kind in self.files else kind}: {', '.join(names)}"
            if names else kind
            for kind, names in groups.items())

    def others(self):
        """The tests that no row names, as a table."""
        rows = ["| test | what it looks at |", "| --- | --- |"]
        for program, tests in self.programs.items():
            for name, text in tests.items():
                if (program, name) not in self.named:
                    text = text.replace("|", "\\|")
                    rows.append(f"| {link(program, self.files[program])}: {name} | {text} |")
        for name, file in sorted(self.suites.items()):
            if ("KUnit", name) not in self.named:
                rows.append(f"| KUnit: {name} | {link(file, file)} |")
        return rows


def with_cells(path, tests):
    """The lines of a document with the cells of its "shown by" columns made anew."""
    lines, shown = [], False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("|"):
            shown = False
        elif re.search(r"\| shown by \|$", line):
            shown = True
        elif shown and not line.startswith("| ---"):
            head, cell = line.removesuffix(" |").rsplit(" | ", 1)
            try:
                line = f"{head} | {tests.cell(cell)} |"
            except Wrong as wrong:
                raise Wrong(f"{path.relative_to(TREE)}:{number}: {wrong}") from None
        lines.append(line)
    return lines


def with_others(lines, tests):
    """The lines of a document with the list of other tests made anew, if it has one."""
    if BEGIN not in lines:
        return lines
    begin, end = lines.index(BEGIN), lines.index(END)
    return lines[:begin + 1] + [""] + tests.others() + [""] + lines[end:]


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print(__doc__.strip())
        return sys.argv[1] not in ("-h", "--help")
    tests = Tests()
    documents = {path: with_cells(path, tests) for path in sorted(DOCS.glob("*.md"))}
    if not tests.named or not any(BEGIN in lines for lines in documents.values()):
        raise Wrong("no document names a test, or none lists the others")
    stale = []
    for path, lines in documents.items():
        new = "\n".join(with_others(lines, tests)) + "\n"
        if new != path.read_text():
            stale.append(str(path.relative_to(TREE)))
            if not check:
                path.write_text(new)
    if check and stale:
        raise Wrong(f"{', '.join(stale)}: not what the tests are now; run make docs")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Wrong as wrong:
        sys.exit(f"shown-by.py: {wrong}")
