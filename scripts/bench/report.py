# SPDX-License-Identifier: GPL-2.0
"""Makes tables of what a guest has measured.

    report.py collect CLASSES OUT MESSAGES COUNTS KERNEL   joins what selftests/bench.sh has printed and what the plugin has counted,
                                                    and writes it to OUT, as JSON
    report.py table FILE [profile]                  prints OUT as tables
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
    "tcp1": "one TCP flow",
    "tcp8": "eight TCP flows",
}
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
            self.known[function] = next((kind for kind, rule in self.rules if rule.fullmatch(name) or module and rule.fullmatch(module)), "other")
        return self.known[function]


class Symbols:
    """Where functions are: those of the kernel, and those of the modules in a round."""

    def __init__(self):
        self.lists, self.sorted = {}, {}

    def add(self, name, data):
        lines = zlib.decompress(base64.b64decode(data)).decode().split("\n")
        self.lists[name] = [(int(at, 16), function) for at, function in (line.split(" ", 1) for line in lines if line)]

    def lookup(self, name, address):
        if name not in self.sorted:
            kernel = [(at, function.strip()) for at, function in self.lists["all"] if not function.endswith("]")]
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
        if "intervals" not in record:
            continue
        small, big = (intervals[number] for number in record.pop("intervals"))
        if small["lost"] or big["lost"]:
            sys.exit("the plugin ran out of counters")
        units = record["units"][1] - record["units"][0]
        before, after = (by_function(interval, symbols, record["symbols"]) for interval in (small, big))
        functions = {name: (after.get(name, 0) - before.get(name, 0)) / units for name in before.keys() | after.keys()}
        record["kernel"] = sum(functions.values())
        record["user"] = (big["user"] - small["user"]) / units
        record["classes"] = {kind: sum(count for name, count in functions.items() if classes[name] == kind) for kind in CLASSES}
        record["functions"] = [[name, classes[name], count] for name, count in sorted(functions.items(), key=lambda item: -item[1])[:TOP]]
        others = sorted(((count, name) for name, count in functions.items() if classes[name] == "other"), reverse=True)
        record["unmatched"] = [[name, count] for count, name in others[:20]]
        del record["symbols"]
    with open(out, "w") as file:
        json.dump({"kernel": kernel, "records": records}, file, indent=1)


# ---- tables ----

def pick(records, part, variant, get):
    return [get(record) for record in records if record["part"] == part and record["variant"] == variant]


def digits(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def table(path, profile=False):
    with open(path) as file:
        results = json.load(file)
    records = results["records"]
    print(f"kernel {results['kernel']}")
    variants = [variant for variant in VARIANTS if any(record["variant"] == variant for record in records)]
    for part in dict.fromkeys(record["part"] for record in records):
        unit = next(record["unit"] for record in records if record["part"] == part)
        print(f"\n{TITLES.get(part, part)}: instructions of the kernel per {unit}")
        print(f"{'':24}" + "".join(f"{VARIANTS[variant]:>14}" for variant in variants) + f"{'ratio':>10}")

        def row(title, get):
            values = {variant: pick(records, part, variant, get) for variant in variants}
            values = {variant: [value for value in found if value is not None] for variant, found in values.items()}
            mean = {variant: statistics.mean(found) if found else None for variant, found in values.items()}
            ratio = mean["rust"] / mean["c"] if mean.get("rust") and mean.get("c") else None
            print(f"{title:24}" + "".join(f"{digits(mean[variant]):>14}" for variant in variants) + f"{digits(ratio):>10}")
            return values

        values = row("all", lambda record: record["kernel"])
        print(f"{'  spread':24}" + "".join(
            f"{'±' + format(100 * (max(found) - min(found)) / 2 / statistics.mean(found), '.1f') + ' %' if len(found) > 1 else '':>14}"
            for found in values.values()))
        for kind in CLASSES:
            row("  " + kind, lambda record: record["classes"][kind])
        if "go" in variants:
            row("and in user mode", lambda record: record["user"] if record["variant"] == "go" else None)
        if profile:
            for variant in variants:
                last = [record for record in records if record["part"] == part and record["variant"] == variant][-1:]
                for record in last:
                    print(f"\n{TITLES.get(part, part)}, {VARIANTS[variant]}: instructions per {unit}, by function")
                    for name, kind, count in record["functions"]:
                        print(f"{count:12.4f} {100 * count / record['kernel']:5.1f} %  {kind:10}  {name}")


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    {"collect": collect, "table": table}[command](*words)
