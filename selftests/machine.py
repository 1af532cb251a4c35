# SPDX-License-Identifier: GPL-2.0
"""The machine that a test runs on: how long to wait for it, and keeping its workers from running."""

import os
import signal
import time

# A kernel that watches itself is a slow one.
SLOW = 5 if os.path.exists("/sys/kernel/debug/kmemleak") else 1
LIMIT = 120 * SLOW  # seconds to wait for what only takes long if something hangs


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"gave up waiting: {what}"
        time.sleep(0.02)


class NoWorkers:
    """While it lasts no worker of the kernel runs, because somebody more important does on each CPU."""

    def __enter__(self):
        with open("/proc/sys/kernel/sched_rt_runtime_us", "w") as file:
            file.write("-1")
        self.cpus, self.children = os.sched_getaffinity(0), []
        first, *others = sorted(self.cpus)
        ready, tell = os.pipe()
        for cpu in others:
            child = os.fork()
            if child == 0:
                self.occupy(cpu)
                os.write(tell, b"x")
                while True:
                    pass
            self.children.append(child)
            # Or it might wait for the CPU that is about to be occupied.
            os.read(ready, 1)
        os.close(ready)
        os.close(tell)
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
