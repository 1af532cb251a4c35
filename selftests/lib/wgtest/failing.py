# SPDX-License-Identifier: GPL-2.0
"""Makes allocations of memory fail: those of the module or of another part of the kernel, at a
random rate, or each one in its turn.

Needs root in the initial namespaces of a kernel with FAILSLAB and FAIL_PAGE_ALLOC.
"""

import errno
import glob
import os
import time

from wgtest import wgnl

DEBUG = "/sys/kernel/debug/"
EVERYTHING = (0, 2**64 - 1)
# The caches of the kernel's own detectors: these do without memory, or stop watching.
WATCHERS = {"kmemleak_object", "kmemleak_scan_area", "debug_objects_cache"}
# The errors for a lack of memory: sockets have errors of their own for it, and so has a netlink
# socket that had no room for the answer.
NO_MEMORY = {errno.ENOMEM, errno.ENOBUFS, errno.ENFILE}


def symbol(name):
    """The first address of a function of the kernel, and the one behind it."""
    with open("/proc/kallsyms") as file:
        symbols = sorted((int(line.split()[0], 16), line.split()[2]) for line in file)
    begin = next(address for address, other in symbols if other == name)
    return begin, next(address for address, _ in symbols if address > begin)


def module():
    with open("/proc/modules") as file:
        _, size, *_, base, _ = next(
            line for line in file if line.startswith("wireguard ")).split()[:7]
    return int(base, 16), int(base, 16) + int(size)


class Faults:
    """Chooses the allocations that may fail: those with a function in the address range `where`
    among their callers, and none in `spared`."""

    KINDS = ("failslab", "fail_page_alloc")

    def __init__(self, where=None, spared=(0, 0), pages=True):
        self.where, self.spared, self.pages = where or module(), spared, pages

    @classmethod
    def set(cls, kind, **settings):
        for name, value in settings.items():
            with open(f"{DEBUG}{kind}/{name.replace('_', '-')}", "w") as file:
                file.write(str(value))

    def __enter__(self):
        for kind in self.KINDS:
            self.set(kind, probability=0, interval=1, times=-1,
                     space=0, verbose=0, task_filter="N", ignore_gfp_wait="N",
                     require_start=hex(self.where[0]), require_end=hex(self.where[1]),
                     reject_start=hex(self.spared[0]), reject_end=hex(self.spared[1]))
        for path in glob.glob("/sys/kernel/slab/*/failslab"):
            with open(path, "w") as file:
                file.write("0" if path.split("/")[-2] in WATCHERS else "1")
        self.set("failslab", cache_filter="Y")
        self.set("fail_page_alloc", ignore_gfp_highmem="N", min_order=0 if self.pages else 99)
        return self

    def __exit__(self, *_):
        for kind in self.KINDS:
            self.set(kind, probability=0)

    def rate(self, percent, times=10**9):
        for kind in self.KINDS:
            self.set(kind, probability=0, times=times)
            self.set(kind, probability=percent)
        self.times = times

    @property
    def count(self):
        """The number of allocations that have failed since rate()."""
        total = 0
        for kind in self.KINDS:
            with open(f"{DEBUG}{kind}/times") as file:
                total += self.times - int(file.read())
        return total


class Nth:
    """Runs an action in which the n-th allocation of this thread fails."""

    def __init__(self):
        self.file = os.open("/proc/thread-self/fail-nth", os.O_RDWR)

    def __call__(self, number, action):
        """Returns the error of the action (0: none), and whether there was an n-th allocation."""
        error = 0
        number = b"%d" % number
        os.pwrite(self.file, number, 0)
        try:
            action()
        except (OSError, wgnl.Error) as failure:
            assert failure.errno, f"no answer: {failure}"
            error = failure.errno
        left = os.pread(self.file, 16, 0)
        os.pwrite(self.file, b"0", 0)
        return error, int(left) == 0


def each(what, action, check, prepare=None,
         errors=(errno.ENOMEM,), may_fail=True, stride=1, limit=3000):
    """Runs `action` again and again, with each of its allocations failing in turn.

    `prepare` runs before it, and `check` after it, with its error. The action may fail only with
    one of `errors`, only if an allocation did, and never unless `may_fail`. With `stride`, only
    every stride-th allocation is tried.
    """
    nth, failed, begun = Nth(), {}, time.monotonic()
    for number in range(1, limit, stride):
        if prepare:
            prepare()
        error, hit = nth(number, action)
        if error:
            assert hit, f"{what}: {os.strerror(error)}, with no allocation having failed"
            assert may_fail and error in errors, \
                f"{what}: {os.strerror(error)} when allocation {number} fails"
            failed[error] = failed.get(error, 0) + 1
        try:
            check(error)
        except AssertionError:
            print(f"{what}: after allocation {number} failed (error: {os.strerror(error)}):")
            raise
        if not hit:
            break
    else:
        raise AssertionError(f"{what}: no end to the allocations")
    names = ", ".join(f"{count} {errno.errorcode[error]}"
                      for error, count in sorted(failed.items()))
    print(f"NOTE: {what}: {(number - 1) // stride} of {number - 1} allocations failed, one at a "
          f"time: {names or 'no error'}, {time.monotonic() - begun:.0f} s")
    assert number > 1, f"{what}: nothing was allocated"
    assert not may_fail or failed, f"{what}: no failed allocation made it fail"
