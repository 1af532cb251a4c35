# SPDX-License-Identifier: GPL-2.0
"""The Python parts of selftests/bench.sh.

    bench.py markers            for each line `begin` or `end` on standard input, executes the
                                marker that makes the emulator begin or end counting instructions
                                (scripts/bench/instructions.c), and answers with a line; `check`
                                executes both, and 2 * CHECK instructions between them
    bench.py symbols NAME all|modules
                                prints the addresses of the functions of the kernel with its
                                modules, or of its modules alone, for scripts/bench/report.py
    bench.py iperf FILE         prints the result of `iperf3 -J` in FILE: for TCP, bytes received
                                and segments sent again; for UDP, datagrams received and sent
    bench.py rate FILE          prints the rate of that result: the unit, and the number a second
    bench.py cores FILE BUSY    prints how many processors a Gbit/s of payload took, where BUSY were
                                at work while iperf3 ran
    bench.py block FILE         prints a table of the results in FILE, lines `BENCH {JSON}`
"""

import base64
import ctypes
import json
import mmap
import os
import struct
import sys
import zlib

from bench_tables import measured_table

CHECK = 10**7


def markers():
    # xchg %rcx,%rcx; xchg %rdx,%rdx; ret
    begin, end, ret = b"\x48\x87\xc9", b"\x48\x87\xd2", b"\xc3"
    # mov $CHECK,%ecx; 1: dec %ecx; jnz 1b
    loop = b"\xb9" + struct.pack("<I", CHECK) + b"\xff\xc9\x75\xfc"
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    functions = {}
    for name, code in ((b"begin\n", begin + ret), (b"end\n", end + ret),
                       (b"check\n", begin + loop + end + ret)):
        functions[name] = ctypes.CFUNCTYPE(None)(
            ctypes.addressof(ctypes.c_char.from_buffer(page)) + page.tell())
        page.write(code)
    while line := os.read(0, 16):
        functions[line]()
        os.write(1, b"\n")


def symbols(name, which):
    with open("/proc/kallsyms") as file:
        lines = [f"{at} {function} {module}"
                 for at, kind, function, *module in map(str.split, file) if kind in "tTwW"
                 for module in ["".join(module)] if which == "all" or module]
    data = base64.b64encode(zlib.compress("\n".join(lines).encode()))
    print("SYMBOLS", name, data.decode())


def iperf(name):
    with open(name) as file:
        end = json.load(file)["end"]
    received = end["sum_received"]
    if "packets" in received:
        print(received["packets"] - received["lost_packets"], received["packets"])
    else:
        print(received["bytes"], end["sum_sent"]["retransmits"])


def rate(name):
    with open(name) as file:
        received = json.load(file)["end"]["sum_received"]
    if "packets" in received:
        print("datagrams/s",
              round((received["packets"] - received["lost_packets"]) / received["seconds"]))
    else:
        print("Mbit/s", round(received["bits_per_second"] / 1e6, 1))


def cores(name, busy):
    with open(name) as file:
        result = json.load(file)
    received = result["end"]["sum_received"]
    bits = received["bits_per_second"]
    if "packets" in received:
        payload = 8 * result["start"]["test_start"]["blksize"]
        bits = (received["packets"] - received["lost_packets"]) * payload / received["seconds"]
    print(round(float(busy) / bits * 1e9, 4))


def block(name):
    with open(name) as file:
        records = [json.loads(line.removeprefix("BENCH ")) for line in file]
    measured_table(records, "median of the rounds")


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    {"markers": markers, "symbols": symbols, "iperf": iperf, "rate": rate, "cores": cores,
     "block": block}[command](*words)
