# SPDX-License-Identifier: GPL-2.0
"""Draws the results of scripts/bench.sh, as SVG on standard output: picture.py FILE.json

The upper half shows counted instructions, a pair of bars for each part: the C module's and ours.
The length of a bar is the cost, where the C module's is 100; its colours are the classes of the
instructions. The lower half shows the results by the clock, with each of the processors: ours,
where the C module's is 100.
"""

import json
import statistics
import sys
from html import escape

from report import CLASSES, PROCESSORS
from bench_tables import parts_of, title

COLORS = {"crypto": "#4477aa", "module": "#ee6677", "network": "#228833",
          "scheduling": "#ccbb44", "memory": "#66ccee", "other": "#bbbbbb"}
OURS = "#aa3377"
WIDTH, LEFT, TOP, BAR = 920, 350, 70, 13  # pixels
# Pixels of one hundredth of the C module's figure: SCALE in the upper half, where no bar is
# expected to be longer than 100, and WIDE in the lower half, where some are. MOST is the longest
# bar of the lower half, in hundredths.
SCALE, WIDE, MOST = 3.9, 2.1, 240
# Parts whose lower values are better.
LESS = ("rtt_", "memory_", "lost_")
LEFT_OUT = ("lost_", "ping_way")


class Picture:
    def __init__(self):
        self.items, self.y = [], TOP

    def text(self, x, y, words, size=12, anchor="start", weight="normal"):
        self.items.append(f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" '
                          f'font-weight="{weight}">{escape(words)}</text>')

    def box(self, x, y, width, height, color):
        self.items.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
                          f'height="{height}" fill="{color}"/>')

    def hundred(self, scale, top, bottom):
        x = LEFT + 100 * scale
        self.items.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" stroke="#888" '
                          'stroke-dasharray="3,3"/>')

    def __str__(self):
        height = self.y + 20
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" fill="#222">',
            "<!-- SPDX-License-Identifier: GPL-2.0; made by scripts/bench.sh -->",
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *self.items, "</svg>", ""])


def mean(records, get):
    found = [get(record) for record in records]
    return statistics.mean(found) if found else None


def bars(picture, words, both):
    """A pair of bars: `both` has, for each of the modules, the cost of each class."""
    whole = sum(both["c"].values())
    picture.text(LEFT - 60, picture.y + BAR + 3, words, anchor="end")
    for name, label in ("c", "C"), ("rust", "Rust"):
        x = LEFT
        for kind in CLASSES:
            length = SCALE * 100 * both[name][kind] / whole
            picture.box(x, picture.y, length, BAR - 1, COLORS[kind])
            x += length
        picture.text(LEFT - 8, picture.y + BAR - 3, label, 11, "end")
        if name == "rust":
            picture.text(x + 6, picture.y + BAR - 3,
                         f"{100 * sum(both[name].values()) / whole:.0f}", 11)
        picture.y += BAR
    picture.y += 9


def counted(picture, records):
    top = picture.y
    for part in parts_of(records):
        both = {name: [record for record in records if record["part"] == part and
                       record["variant"] == name] for name in ("c", "rust")}
        if not all(both.values()):
            continue
        bars(picture, title(part), {
            name: {kind: mean(found, lambda record: record["classes"][kind]) for kind in CLASSES}
            for name, found in both.items()})
        if "busiest" in both["c"][0]:
            bars(picture, "the busiest of them", {
                name: {kind: mean(found, lambda record: record["busiest"]["classes"][kind])
                       for kind in CLASSES} for name, found in both.items()})
    picture.hundred(SCALE, top - 4, picture.y - 5)


def measured(picture, records):
    top = picture.y
    for part in parts_of(records):
        both = [statistics.median(found) if found else None for name in ("c", "rust")
                for found in [[record["value"] for record in records if record["part"] == part and
                               record["variant"] == name]]]
        if part.startswith(LEFT_OUT) or not all(both):
            continue
        percent = 100 * both[1] / both[0]
        picture.text(LEFT - 8, picture.y + BAR - 2, title(part) + (
            " (less is better)" if part.startswith(LESS) else ""), anchor="end")
        length = min(percent, MOST) * WIDE
        picture.box(LEFT, picture.y, length, BAR, OURS)
        picture.text(LEFT + length + 6, picture.y + BAR - 2, f"{percent:.0f}", 11)
        picture.y += BAR + 7
    picture.hundred(WIDE, top - 4, picture.y - 2)


def main(path):
    with open(path) as file:
        results = json.load(file)
    picture = Picture()
    picture.text(16, 26, f"WireGuard in Rust beside the C module, kernel {results['kernel']}",
                 16, weight="bold")
    first = [record for record in results["records"] if "kernel" in record]
    if first:
        picture.text(16, 48,
                     "Instructions of the kernel; the C module's are 100 (less is better):", 13)
        x = 450
        for kind in CLASSES:
            picture.box(x, 38, 11, 11, COLORS[kind])
            picture.text(x + 15, 48, kind, 12)
            x += 30 + 6.6 * len(kind)
        counted(picture, first)
        picture.y += 34
    for processor, words in PROCESSORS.items():
        second = [record for record in results["records"] if record.get("processor") == processor]
        if not second:
            continue
        picture.text(16, picture.y - 12, f"By the clock, two processors {words}; the C module's is "
                     "100 (more is better, unless it says so):", 13)
        picture.y += 4
        measured(picture, second)
        picture.y += 34
    print(picture, end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
