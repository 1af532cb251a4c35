#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Checks that the files of src/ keep to the layers, and prints what does not.

    scripts/layers.py            checks
    scripts/layers.py --counts   checks, and prints the imports, files, functions and unsafe blocks
                                 that were counted

Each file may use the files of its own layer and of those below. Above protocol/, no files use one
another in a circle, except in state/. Methods of Peer and of Device are in state/ and in the files
of actions.
Outside linux/ no file has more than 600 lines, and no function more than 60.
"""

import re
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"

# The layers, the lowest first: files and folders of src/.
LAYERS = {
    "helpers of tests": "testing.rs",
    "linux": "linux/",
    "protocol": "protocol/",
    "mechanisms": "allowedips.rs allowedips/ class.rs debug.rs events.rs extension.rs keypair.rs "
                  "machine.rs memory.rs pace.rs packet.rs parameters.rs peerlookup.rs peerlookup/ "
                  "queueing/ ratelimiter.rs ratelimiter/ socket/ trace.rs tuning.rs",
    "state": "state/",
    "actions": "lifecycle.rs noise.rs notify.rs prefixes.rs send/ steer.rs",
    "reactions": "expiry.rs receive/",
    "interface": "interface/ netlink.rs netlink/",
    "root": "wireguard_main.rs",
}
# Layers whose files may use one another in a circle. In linux/ and protocol/ they follow the C
# headers and the paper, whose parts refer to one another.
CIRCLES = ("linux", "protocol", "state")
# Layers with methods of Peer and of Device. Those below state/ may have others of these names.
METHODS = ("helpers of tests", "linux", "protocol", "state", "actions")
# What module!() puts into the crate root.
OF_THE_MACRO = ("LocalModule", "THIS_MODULE")
MAX_FILE, MAX_FUNCTION = 600, 60


def layer_of(file):
    for number, (name, places) in enumerate(LAYERS.items()):
        for place in places.split():
            if file == place or place.endswith("/") and file.startswith(place):
                return number, name
    return None, None


def code_of(text):
    """The text without comments and the contents of strings, in as many lines."""
    pattern = r'//[^\n]*|/\*.*?\*/|b?c?"(?:\\.|[^"\\])*"'
    return re.sub(pattern, lambda m: '""' * m[0].endswith('"') + "\n" * m[0].count("\n"),
                  text, flags=re.S)


def tree(text):
    """The paths of a use declaration: lists of names, the last after `as` left out."""
    text = text.strip()
    head, brace, rest = text.partition("{")
    prefix = [part.strip() for part in head.split("::") if part.strip()]
    if not brace:
        return [[part.split()[0] for part in prefix]] if prefix else []
    paths, depth, item = [], 0, ""
    for char in rest[:rest.rindex("}")] + ",":
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            paths += [prefix + path for path in tree(item)]
            item = ""
        else:
            item += char
    return paths


class Source:
    """A file: its name, its module's path, and what it uses."""

    def __init__(self, path):
        self.name = path.relative_to(SRC).as_posix()
        self.text = path.read_text()
        self.code = code_of(self.text)
        self.module = self.name.removesuffix(".rs").removesuffix("/mod").split("/")
        if self.name == "wireguard_main.rs":
            self.module = []
        self.exports, self.uses = {}, []
        uses = re.compile(r"^( *)(pub(?:\([^)]*\))? )?use ([^;]+);", re.M)
        for indent, public, names in uses.findall(self.code):
            for path in tree(names):
                # In a module within the file, `super` is the file.
                if indent and path[0] == "super":
                    path = ["self", *path[1:]]
                path = self.absolute(path)
                if path and public and not indent and path[-1] != "*":
                    self.exports[path[-1]] = path
                elif path:
                    self.uses.append(path)
        self.rest = re.sub(r"\(in crate[\w:]*\)", "", uses.sub("", self.code))
        for names in re.findall(r"(?<![\w:])(?:\$?crate|super)(?:::\w+)+", self.rest):
            path = names.replace("$", "").split("::")
            if path[0] == "crate":
                self.uses.append(path[1:])
        for name, path in self.exports.items():
            if re.search(rf"\b{name}\b", self.rest):
                self.uses.append(path)
        for name in re.findall(r"^ *(?:#\[[^\]]*\]\n *)*(?:pub(?:\([^)]*\))? )?mod (\w+);",
                               self.code, re.M):
            if re.search(rf"(?<![\w:]){name}::\w", self.rest):
                self.uses.append([*self.module, name])

    def absolute(self, path):
        if path[0] == "crate":
            return path[1:]
        if path[0] == "self":
            return self.module + path[1:]
        ups = 0
        while ups < len(path) and path[ups] == "super":
            ups += 1
        if ups:
            return self.module[:len(self.module) - ups] + path[ups:]
        # A child, or another crate.
        return self.module + path if self.has_child(path[0]) else None

    def has_child(self, name):
        return re.search(rf"\bmod {name};", self.code)


def resolve(path, modules, seen=()):
    """The file that defines what a path names."""
    for end in range(len(path), -1, -1):
        source = modules.get(tuple(path[:end]))
        if source:
            name = path[end] if end < len(path) else None
            again = source.exports.get(name)
            if again and again not in seen:
                return resolve(again, modules, (*seen, again))
            return source
    return None


def circle(edges):
    """The files of a circle, if there is one."""
    state = {}

    def visit(file, way):
        state[file] = "on the way"
        for other in sorted(edges.get(file, ())):
            if state.get(other) == "on the way":
                return way[way.index(other):] + [other]
            if other not in state:
                found = visit(other, way + [other])
                if found:
                    return found
        state[file] = "done"
        return None

    for file in sorted(edges):
        if file not in state:
            found = visit(file, [file])
            if found:
                return found
    return None


def functions(source):
    """The name and length of each function."""
    lines = source.code.split("\n")
    for number, line in enumerate(lines):
        head = re.match(r'( *)(?:pub(?:\([^)]*\))? )?(?:const )?(?:unsafe )?(?:extern "" )?fn (\w+)',
                        line)
        if head:
            for end in range(number, len(lines)):
                if lines[end].startswith(head[1] + "}") or lines[end].endswith((";", "}")) and \
                        end == number:
                    yield head[2], end - number + 1
                    break


def main():
    if sys.argv[1:] not in ([], ["--counts"]):
        print(__doc__.strip())
        return sys.argv[1] not in ("-h", "--help")
    sources = [Source(path) for path in sorted(SRC.rglob("*.rs"))
               if not path.name.endswith("_generated.rs")]
    modules = {tuple(source.module): source for source in sources}
    wrong, edges, imports, against, longest = [], {}, 0, 0, (0, "")
    for source in sources:
        number, layer = layer_of(source.name)
        is_test = "tests" in source.module
        if layer is None:
            wrong.append(f"{source.name} is in no layer: see scripts/layers.py")
            continue
        for path in source.uses:
            other = resolve(path, modules)
            if other is None or other is source or path and path[-1] in OF_THE_MACRO:
                continue
            imports += 1
            above, name = layer_of(other.name)
            if above is not None and above > number:
                against += 1
                wrong.append(f"{source.name} ({layer}) uses {'::'.join(path)}, which is in "
                             f"{other.name} ({name})")
            if layer not in CIRCLES and not is_test:
                edges.setdefault(source.name, set()).add(other.name)
        if layer not in METHODS:
            for found in re.findall(r"^ *impl (?:Peer|Device) \{", source.code, re.M):
                wrong.append(f"{source.name} ({layer}) has a block `{found.strip()}`")
        if layer == "linux" or is_test:
            continue
        count = source.text.count("\n")
        if count > MAX_FILE:
            wrong.append(f"{source.name} has {count} lines")
        for function, count in functions(source):
            longest = max(longest, (count, f"{source.name}: {function}()"))
            if count > MAX_FUNCTION:
                wrong.append(f"{source.name}: {function}() has {count} lines")
    found = circle(edges)
    if found:
        wrong.append("a circle: " + " -> ".join(found))
    if sys.argv[1:]:
        unsafe = sum(len(re.findall(r"\bunsafe \{", source.code)) for source in sources)
        print(f"imports: {imports}, of which against the layers: {against}")
        print(f"files: {len(sources)}, the longest outside linux/: "
              f"{max((s.text.count(chr(10)), s.name) for s in sources if layer_of(s.name)[1] != 'linux')}")
        print(f"the longest function outside linux/: {longest}")
        print(f"unsafe blocks: {unsafe}")
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
