# SPDX-License-Identifier: GPL-2.0
"""The machine that a test runs on: how long to wait for it, and how to keep its workers from
running."""

import os
import signal
import time

# A kernel with debugging options is slow: tests wait five times as long for it.
SLOW = 5 if os.path.exists("/sys/kernel/debug/kmemleak") else 1
LIMIT = 120 * SLOW  # seconds after which an event that should come soon is given up


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"gave up waiting: {what}"
        time.sleep(0.02)


class NoWorkers:
    """In its `with` no worker of the kernel runs, because a real-time process occupies each CPU."""

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
            # Wait for the child: before it is on its CPU it may need the one that is occupied next.
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
