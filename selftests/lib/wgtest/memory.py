# SPDX-License-Identifier: GPL-2.0
"""Measures the use of the kernel's memory. It is run with `python3 -m wgtest.memory`.

memory.py used                  prints the kilobytes in use in all, and those for objects, stacks
                                and per-CPU variables together
memory.py save FILE             writes the use to FILE
memory.py compare FILE COUNT    waits until no kind of object has grown by more than COUNT objects
                                since then, and no kind of memory by more than KILOBYTES says (4 MiB
                                in all); fails after 60 s. Prints the kinds that have grown most

Caches are given back before each measurement. So are the free objects that SLUB keeps for each
processor: each of them can hold a page that is empty otherwise.
"""

import json
import os
import sys
import time

SLAB = "/sys/kernel/slab/"
# Kinds of objects that grow with files and processes, and shrink when memory is needed: not
# counted.
OF_FILES = ("dentry", "inode", "radix_tree", "kernfs", "vma",
            "vm_area", "anon_vma", "maple", "filp", "lsm_", "task", "pid", "cred",
            "signal", "sighand", "mm_struct", "shmem", "page->ptl",
            "fs_cache", "files_cache", "bio", "buffer_head")
# The kilobytes that compare() lets memory grow by: all memory, per-CPU variables, stacks, and big
# tables.
KILOBYTES = {"in use": 4096, "Percpu": 128, "KernelStack": 256, "VmallocUsed": 1024}


def shrink():
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")
    for name in os.listdir(SLAB):
        if not os.path.islink(SLAB + name):
            try:
                with open(SLAB + name + "/shrink", "w") as file:
                    file.write("1")
            except OSError:
                pass


def objects():
    """Objects in use, by kind."""
    found = {}
    with open("/proc/slabinfo") as file:
        for line in file.read().splitlines()[2:]:
            name, active, *_ = line.split()
            if not name.startswith(OF_FILES) and "inode_cache" not in name:
                found[name] = found.get(name, 0) + int(active)
    return found


def kilobytes(names=KILOBYTES):
    with open("/proc/meminfo") as file:
        info = {line.split(":")[0]: int(line.split()[1]) for line in file}
    with open("/proc/zoneinfo") as file:
        at_hand = sum(4 * int(line.split()[1]) for line in file if line.split()[0] == "count:")
    # Each processor keeps some free pages, which MemAvailable does not count.
    return {"in use": info["MemTotal"] - info["MemAvailable"] - at_hand,
            **{name: info[name] for name in names if name in info}}


def now():
    shrink()
    return {"objects": objects(), "kilobytes": kilobytes()}


def used():
    time.sleep(2)  # until objects that are freed after a grace period are
    shrink()
    of_all, *small = kilobytes(("Slab", "Percpu", "KernelStack")).values()
    print(of_all, sum(small))


def save(name):
    time.sleep(2)
    with open(name, "w") as file:
        json.dump(now(), file)


def compare(name, count):
    with open(name) as file:
        before = json.load(file)
    end = time.monotonic() + 60
    while True:
        after = now()
        more = {name: number - before["objects"].get(name, 0)
                for name, number in after["objects"].items()}
        pages = {name: number - before["kilobytes"][name]
                 for name, number in after["kilobytes"].items()}
        good = max(more.values()) <= int(count) and \
            all(pages[name] <= most for name, most in KILOBYTES.items())
        if good or time.monotonic() > end:
            break
        time.sleep(1)
    print(*(f"{name}: {more[name]:+}," for name in sorted(more, key=more.get)[:-6:-1]),
          *(f"{name}: {number:+} kB" for name, number in pages.items()))
    return 0 if good else 1


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    sys.exit({"used": used, "save": save, "compare": compare}[command](*words))
