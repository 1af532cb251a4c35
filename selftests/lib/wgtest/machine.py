# SPDX-License-Identifier: GPL-2.0
"""The machine that a test runs on: how long to wait for it, and how to keep its workers from
running."""

import glob
import os
import signal
import time

# lib.sh says how many times slower than the stock kernel this kernel is.
LIMIT = 120 * int(os.environ["SLOW"])  # seconds after which an event that should come soon is given up


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"gave up waiting: {what}"
        time.sleep(0.02)


class NoWorkers:
    """In its `with` no worker of the kernel runs, because a real-time process occupies each CPU, or
    each of `only`. The caller occupies one itself if it is each."""

    def __init__(self, only=None):
        self.only = only

    def __enter__(self):
        with open("/proc/sys/kernel/sched_rt_runtime_us", "w") as file:
            file.write("-1")
        # Each CPU has a server that gives other tasks 50 ms of each second: enough for workers
        # where the sender is slow. With a runtime of 0 it gives them nothing.
        self.servers = {}
        for name in glob.glob("/sys/kernel/debug/sched/fair_server/cpu*/runtime"):
            with open(name, "r+") as file:
                self.servers[name] = file.read()
                file.write("0")
        self.cpus, self.children = os.sched_getaffinity(0), []
        first, *others = sorted(self.cpus)
        if self.only:
            os.sched_setaffinity(0, self.cpus - self.only)
            others = self.only
        ready, tell = os.pipe()
        for cpu in others:
            child = os.fork()
            if child == 0:
                self.occupy(cpu)
                os.write(tell, b"x")
                while True:
                    pass
            self.children.append(child)
            # Wait for the child: before it is on its CPU it may need the one that is occupied next.
            os.read(ready, 1)
        os.close(ready)
        os.close(tell)
        if not self.only:
            self.occupy(first)

    @staticmethod
    def occupy(cpu):
        os.sched_setaffinity(0, [cpu])
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))

    def __exit__(self, *_):
        for child in self.children:
            os.kill(child, signal.SIGKILL)
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, self.cpus)
        for child in self.children:
            os.waitpid(child, 0)
        for name, runtime in self.servers.items():
            with open(name, "w") as file:
                file.write(runtime)
