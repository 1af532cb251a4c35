# SPDX-License-Identifier: GPL-2.0
"""Makes tables of the measurements of a guest.

    report.py collect CLASSES OUT KERNEL [MESSAGES COUNTS]…
                                    joins the output of selftests/bench/bench.sh (MESSAGES) with the
                                    plugin's COUNTS, and writes the results to OUT, as JSON; a pair
                                    of files for each guest
    report.py join OUT FILE…        joins several files of results
    report.py table FILE [profile]  prints a file of results as tables
"""

import base64
import bisect
import json
import re
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "selftests/bench"))
from bench_tables import VARIANTS, Table, measured_table, parts_of, title

CLASSES = ["crypto", "module", "network", "scheduling", "memory", "other"]
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
                current[word] = list(map(int, rest))
    return intervals


def by_function(counts, symbols, name):
    """For each processor, from the busiest to the idlest: functions, and their instructions."""
    kernel = {at: count for at, count in counts.items() if at not in ("user", "lost")}
    processors = [{} for _ in counts["lost"]]
    for address, each in kernel.items():
        function = symbols.lookup(name, int(address, 16))
        for functions, count in zip(processors, each):
            if count:
                functions[function] = functions.get(function, 0) + count
    return sorted(processors, key=lambda functions: -sum(functions.values()))


def together(processors):
    """The functions of all processors, and their instructions."""
    functions = {}
    for one in processors:
        for function, count in one.items():
            functions[function] = functions.get(function, 0) + count
    return functions


def collect(classes, out, kernel, *files):
    classes, records = Classes(classes), []
    for messages, counts in zip(files[::2], files[1::2]):
        records += of_guest(classes, messages, counts)
    with open(out, "w") as file:
        json.dump({"kernel": kernel, "records": records}, file, indent=1)


def of_guest(classes, messages, counts):
    """The records of the measurements in one guest."""
    symbols, records = Symbols(), []
    with open(messages) as file:
        for line in file:
            if line.startswith("SYMBOLS "):
                symbols.add(*line.split()[1:])
            elif line.startswith("BENCH "):
                records.append(json.loads(line[6:]))
    intervals = read_counts(counts)
    for record in records:
        if "must_be" in record:
            found = sum(intervals[record["interval"]]["user"])
            if not record["must_be"] <= found <= record["must_be"] * 1.01:
                sys.exit(f"the plugin has counted {found} instructions where there are "
                         f"{record['must_be']}")
        if "intervals" not in record:
            continue
        small, big = (intervals[number] for number in record.pop("intervals"))
        if any(small["lost"] + big["lost"]):
            sys.exit("the plugin ran out of counters")
        units = record["units"][1] - record["units"][0]
        before, after = (by_function(interval, symbols, record["symbols"])
                         for interval in (small, big))

        def difference(less, more):
            return {name: (more.get(name, 0) - less.get(name, 0)) / units
                    for name in less.keys() | more.keys()}

        def by_class(functions):
            return {kind: sum(count for name, count in functions.items() if classes[name] == kind)
                    for kind in CLASSES}

        functions = difference(together(before), together(after))
        record["kernel"] = sum(functions.values())
        record["user"] = (sum(big["user"]) - sum(small["user"])) / units
        record["classes"] = by_class(functions)
        record["functions"] = top(functions, classes)
        others = sorted(((count, name) for name, count in functions.items()
                         if classes[name] == "other"), reverse=True)
        record["unmatched"] = [[name, count] for count, name in others[:20]]
        if len(after) > 1:
            # Programs may run elsewhere in each interval: the busiest processors of both are
            # compared, then the next ones.
            each = [difference(less, more) for less, more in zip(before, after)]
            record["processors"] = [sum(functions.values()) for functions in each]
            record["busiest"] = {"classes": by_class(each[0]),
                                 "functions": top(each[0], classes)}
        del record["symbols"]
    return [record for record in records if "part" in record]


def top(functions, classes):
    """The functions that executed most instructions, with their classes."""
    return [[name, classes[name], count] for name, count in sorted(
        functions.items(), key=lambda item: -item[1])[:TOP]]


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
        if "processors" in found[0]:
            spread_rows(table)
        for variant in table.variants if profile else []:
            record = table.of(variant)[-1]
            print(f"\n{title(part)}, {VARIANTS[variant]}: instructions per {unit}, by function")
            functions(record["functions"], record["kernel"])
            if "busiest" in record:
                print("of them on the busiest processor")
                functions(record["busiest"]["functions"], record["processors"][0])


def functions(entries, whole):
    for name, kind, count in entries:
        print(f"{count:12.4f} {100 * count / whole:5.1f} %  {kind:10}  {name}")


def spread_rows(table):
    """How the work is shared out, and the order in which segments arrived."""
    table.row("busiest processor", lambda record: record["processors"][0], with_spread=True)
    for kind in CLASSES:
        table.row("  " + kind, lambda record: record["busiest"]["classes"][kind])
    for rank in range(1, len(table.records[0]["processors"])):
        table.row(f"processor {rank + 1}", lambda record: record["processors"][rank])
    table.row("out of order", lambda record: sum(more[1] for more in record["more"]), max)
    table.row("sent again", lambda record: sum(more[2] for more in record["more"]), max)


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
