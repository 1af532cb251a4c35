# SPDX-License-Identifier: GPL-2.0
"""Makes tables of the measurements of a guest.

    report.py collect CLASSES OUT MESSAGES COUNTS KERNEL
                                    joins the output of selftests/bench/bench.sh (MESSAGES) with the
                                    plugin's COUNTS, and writes the results to OUT, as JSON
    report.py join OUT FILE…        joins several files of results
    report.py table FILE [profile]  prints a file of results as tables
"""

import base64
import bisect
import json
import re
import statistics
import sys
import zlib

CLASSES = ["crypto", "module", "network", "scheduling", "memory", "other"]
VARIANTS = {"c": "C module", "rust": "this module", "go": "wireguard-go", "none": "no tunnel"}
TITLES = {
    "tcp1": "one TCP flow, MTU 1420",
    "tcp8": "eight TCP flows, MTU 1420",
    "tcp1_big": "one TCP flow, MTU 8920",
    "tcp8_big": "eight TCP flows, MTU 8920",
    "tcp1_plain": "one TCP flow, no segmentation outside",
    "tcp1_nic": "one TCP flow, as between network cards",
    "tcp8_nic": "eight TCP flows, as between network cards",
    "udp64": "UDP, 64 bytes",
    "udp1400": "UDP, 1,400 bytes",
    "udp1400_nic": "UDP, 1,400 bytes, as between network cards",
    "ping": "ping, one at a time",
    "ping_way": "ping, from sending to receiving, user mode included",
    "handshake_answered": "handshake that is answered, one side",
    "handshake_begun": "handshake that is begun, one side",
    "in_1000": "UDP, 64 bytes, in from 1,000 peers in turn",
    "in_1": "UDP, 64 bytes, in from one peer",
    "out_1000": "UDP, 64 bytes, out to 1,000 peers in turn",
    "out_1": "UDP, 64 bytes, out to one peer",
    "rate_tcp1": "one TCP flow",
    "rate_tcp8": "eight TCP flows",
    "rate_tunnels": "eight tunnels, one TCP flow each",
    "rate_udp64": "UDP, 64 bytes",
    "rate_udp1400": "UDP, 1,400 bytes",
    "rtt_median": "round trip when idle, median",
    "rtt_p99": "round trip when idle, 99 %",
    "rate_handshakes": "handshakes answered",
    "rate_in_1000": "burst from 1,000 peers in turn",
    "lost_in_1000": "  lost of 900",
    "rate_in_1": "burst from one peer",
    "lost_in_1": "  lost of 900",
    "memory_peer": "memory of a peer with 4 allowed IPs",
}
# The processors that rates and times are measured on, and how the tables call them.
PROCESSORS = {"avx2": "with AVX2", "plain": "without AVX2"}
TOP = 60  # functions that are kept


# ---- collecting ----

class Classes:
    def __init__(self, path):
        self.rules, self.known = [], {}
        with open(path) as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    name, expression = line.split(None, 1)
                    assert name in CLASSES, line
                    self.rules.append((name, re.compile(expression.strip())))

    def __getitem__(self, function):
        if function not in self.known:
            name, _, module = function.partition(" ")
            self.known[function] = next(
                (kind for kind, rule in self.rules
                 if rule.fullmatch(name) or module and rule.fullmatch(module)), "other")
        return self.known[function]


class Symbols:
    """Addresses of functions: those of the kernel, and those of the modules in a round."""

    def __init__(self):
        self.lists, self.sorted = {}, {}

    def add(self, name, data):
        lines = zlib.decompress(base64.b64decode(data)).decode().split("\n")
        self.lists[name] = [(int(at, 16), function)
                            for at, function in (line.split(" ", 1) for line in lines if line)]

    def lookup(self, name, address):
        if name not in self.sorted:
            kernel = [(at, function.strip())
                      for at, function in self.lists["all"] if not function.endswith("]")]
            entries = sorted(kernel + self.lists[name])
            self.sorted[name] = [at for at, _ in entries], [function for _, function in entries]
        places, functions = self.sorted[name]
        at = bisect.bisect_right(places, address) - 1
        return functions[at] if at >= 0 else "?"


def read_counts(path):
    intervals = {}
    with open(path) as file:
        for line in file:
            word, *rest = line.split()
            if word == "interval":
                current = {}
                number = int(rest[0])
            elif word == "end":
                intervals[number] = current
            else:
                current[word] = int(rest[0])
    return intervals


def by_function(counts, symbols, name):
    functions = {}
    for address, count in counts.items():
        if address not in ("user", "lost"):
            function = symbols.lookup(name, int(address, 16))
            functions[function] = functions.get(function, 0) + count
    return functions


def collect(classes, out, messages, counts, kernel):
    classes, symbols, records = Classes(classes), Symbols(), []
    with open(messages) as file:
        for line in file:
            if line.startswith("SYMBOLS "):
                symbols.add(*line.split()[1:])
            elif line.startswith("BENCH "):
                records.append(json.loads(line[6:]))
    intervals = read_counts(counts)
    for record in records:
        if "must_be" in record:
            found = intervals[record["interval"]]["user"]
            if not record["must_be"] <= found <= record["must_be"] * 1.01:
                sys.exit(f"the plugin has counted {found} instructions where there are "
                         f"{record['must_be']}")
        if "intervals" not in record:
            continue
        small, big = (intervals[number] for number in record.pop("intervals"))
        if small["lost"] or big["lost"]:
            sys.exit("the plugin ran out of counters")
        units = record["units"][1] - record["units"][0]
        before, after = (by_function(interval, symbols, record["symbols"])
                         for interval in (small, big))
        functions = {name: (after.get(name, 0) - before.get(name, 0)) / units
                     for name in before.keys() | after.keys()}
        record["kernel"] = sum(functions.values())
        record["user"] = (big["user"] - small["user"]) / units
        record["classes"] = {kind: sum(count for name, count in functions.items()
                                       if classes[name] == kind) for kind in CLASSES}
        record["functions"] = [[name, classes[name], count] for name, count in sorted(
            functions.items(), key=lambda item: -item[1])[:TOP]]
        others = sorted(((count, name) for name, count in functions.items()
                         if classes[name] == "other"), reverse=True)
        record["unmatched"] = [[name, count] for count, name in others[:20]]
        del record["symbols"]
    with open(out, "w") as file:
        json.dump({"kernel": kernel, "records": [record for record in records if "part" in record]},
                  file, indent=1)


def join(out, *names):
    files = []
    for name in names:
        with open(name) as file:
            files.append(json.load(file))
    if len({file["kernel"] for file in files}) != 1:
        sys.exit("these results are of different kernels")
    with open(out, "w") as file:
        json.dump({"kernel": files[0]["kernel"],
                   "records": [record for one in files for record in one["records"]]},
                  file, indent=1)


# ---- tables ----

def digits(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else \
        f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def spread(found):
    """Half the distance between the least and the greatest value, in percent of their mean."""
    mean = statistics.mean(found) if found else 0
    return f"±{100 * (max(found) - min(found)) / 2 / mean:.1f} %" if len(found) > 1 and mean else ""


class Table:
    """Rows of one value for each variant, and the ratio of both modules."""

    def __init__(self, records, width, head=""):
        self.records, self.width = records, width
        self.variants = [variant for variant in VARIANTS
                         if any(record["variant"] == variant for record in records)]
        self.line(head, [VARIANTS[variant] for variant in self.variants], "ratio")

    def line(self, title, cells, last=""):
        print(f"{title:{self.width}}" + "".join(f"{cell:>15}" for cell in cells) + f"{last:>8}")

    def row(self, title, get, average=statistics.mean, with_spread=False):
        values = [[value for value in map(get, self.of(variant)) if value is not None]
                  for variant in self.variants]
        mean = {variant: average(found) if found else None
                for variant, found in zip(self.variants, values)}
        ratio = mean["rust"] / mean["c"] if mean.get("rust") and mean.get("c") else None
        self.line(title, map(digits, mean.values()), digits(ratio))
        if with_spread and any(len(found) > 1 for found in values):
            self.line("  spread", map(spread, values))

    def of(self, variant):
        return [record for record in self.records if record["variant"] == variant]


def parts_of(records):
    """The parts of the records, in the order of TITLES."""
    order = list(TITLES)
    return sorted({record["part"] for record in records},
                  key=lambda part: (order.index(part) if part in order else len(order), part))


def title(part):
    return TITLES.get(part, part)


def counted_tables(records, profile):
    for part in parts_of(records):
        found = [record for record in records if record["part"] == part]
        unit = found[0]["unit"]
        print(f"\n{title(part)}: instructions of the kernel per {unit}")
        table = Table(found, 18)
        table.row("all", lambda record: record["kernel"], with_spread=True)
        for kind in CLASSES:
            table.row("  " + kind, lambda record: record["classes"][kind])
        if "go" in table.variants:
            table.row("and in user mode",
                      lambda record: record["user"] if record["variant"] == "go" else None)
        for variant in table.variants if profile else []:
            record = table.of(variant)[-1]
            print(f"\n{title(part)}, {VARIANTS[variant]}: instructions per {unit}, by function")
            for name, kind, count in record["functions"]:
                print(f"{count:12.4f} {100 * count / record['kernel']:5.1f} %  {kind:10}  {name}")


def measured_table(records, text):
    if records:
        print(f"\n{text}")
        table = Table(records, 58)
    for part in parts_of(records):
        unit = next(record["unit"] for record in records if record["part"] == part)
        table.row(f"{title(part)}, {unit}" if unit != "instructions" else title(part),
                  lambda record: record["value"] if record["part"] == part else None,
                  statistics.median, True)


def table(path, profile=""):
    with open(path) as file:
        results = json.load(file)
    print(f"kernel {results['kernel']}")
    counted_tables([record for record in results["records"] if "kernel" in record], profile)
    values = [record for record in results["records"] if "value" in record]
    measured_table([record for record in values if record["unit"] == "instructions"],
                   "instructions, one processor")
    for processor, words in PROCESSORS.items():
        measured_table([record for record in values if record.get("processor") == processor],
                       f"by the clock, two processors {words}, median of the rounds")


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    {"collect": collect, "join": join, "table": table}[command](*words)
