#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Checks what the Python files in selftests/ import, and how.

    scripts/imports.py      prints each wrong import, and fails if there is one

A file may import Python's own modules, cryptography, yaml, the package wgtest in selftests/lib, and
files beside it that are parts of a program. It may not import a program, which is a file that reads
sys.argv, and never with a star.
"""

import ast
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
SHARED = {"wgtest", "cryptography", "yaml", *sys.stdlib_module_names}


def imported(node):
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module]
    return []


def wrong_ones(file):
    """The wrong imports of a file, as lines of text."""
    for node in ast.walk(ast.parse(file.read_text())):
        for module in imported(node):
            beside = file.with_name(module + ".py")
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                reason = "all names of"
            elif module.split(".")[0] in SHARED:
                continue
            elif beside.exists() and "sys.argv" not in beside.read_text():
                continue
            else:
                reason = "the program" if beside.exists() else "the unknown module"
            yield f"{file.relative_to(TREE)}:{node.lineno} imports {reason} {module}"


def main():
    if sys.argv[1:]:
        print(__doc__.strip())
        return sys.argv[1] not in ("-h", "--help")
    files = sorted((TREE / "selftests").rglob("*.py"))
    found = [line for file in files for line in wrong_ones(file)]
    print(*found, f"{len(files)} files", sep="\n")
    return bool(found) or not files


if __name__ == "__main__":
    sys.exit(main())
