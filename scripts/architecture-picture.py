#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Draws docs/architecture.txt as docs/architecture.svg.

    scripts/architecture-picture.py            writes the picture
    scripts/architecture-picture.py --check    changes nothing, and fails if the picture is not that
                                               of the text
"""

import sys
from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
# Pixels.
WIDTH, EDGE, ARROW, HEIGHT = 920, 20, 22, 46
FILL, INK, SOFT = "#ffffff", "#24292f", "#57606a"
# Stations that run inline, stations that wait for their turn, layers.
INLINE, WAITS, LAYER = "#0969da", "#bf5b00", "#57606a"


class Picture:
    def __init__(self):
        self.items, self.y = [], EDGE

    def text(self, x, words, down, size=12, color=INK, weight="normal", anchor="middle"):
        self.items.append(
            f'<text x="{x:.0f}" y="{self.y + down}" font-size="{size}" fill="{color}" '
            f'font-weight="{weight}" text-anchor="{anchor}">{escape(words)}</text>')

    def box(self, x, width, color):
        self.items.append(
            f'<rect x="{x:.0f}" y="{self.y}" width="{width:.0f}" height="{HEIGHT}" rx="6" '
            f'fill="{FILL}" stroke="{color}" stroke-width="1.5"/>')

    def arrow(self, x):
        self.items.append(
            f'<path d="M{x + 2:.0f} {self.y + HEIGHT // 2} h{ARROW - 6}" stroke="{SOFT}" '
            'stroke-width="1.5" marker-end="url(#head)"/>')

    def title(self, words):
        self.text(EDGE, words, 14, 14, weight="bold", anchor="start")
        self.y += 24

    def walk(self, stations):
        width = (WIDTH - 2 * EDGE - (len(stations) - 1) * ARROW) / len(stations)
        for number, (name, files) in enumerate(stations):
            x = EDGE + number * (width + ARROW)
            self.box(x, width, WAITS if name.startswith("*") else INLINE)
            self.text(x + width / 2, name.lstrip("* "), 20, weight="bold")
            self.text(x + width / 2, files, 37, 10, SOFT)
            if number:
                self.arrow(x - ARROW)
        self.y += HEIGHT + 18

    def layers(self, rows):
        for name, files, words in rows:
            self.box(EDGE, WIDTH - 2 * EDGE, LAYER)
            self.text(EDGE + 14, name, 28, 13, weight="bold", anchor="start")
            self.text(EDGE + 140, files, 20, anchor="start")
            self.text(EDGE + 140, words, 37, 11, SOFT, anchor="start")
            self.y += HEIGHT + 6

    def legend(self):
        waits = "may wait for its turn, on a worker or a NAPI"
        for x, color, words in ((EDGE, INLINE, "runs inline"), (EDGE + 130, WAITS, waits)):
            self.items.append(f'<rect x="{x}" y="{self.y}" width="14" height="14" rx="3" '
                              f'fill="{FILL}" stroke="{color}" stroke-width="1.5"/>')
            self.text(x + 22, words, 11, 11, SOFT, anchor="start")
        self.y += 32

    def __str__(self):
        height = self.y + EDGE - 6
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
            "<!-- SPDX-License-Identifier: GPL-2.0; made by scripts/architecture-picture.py -->",
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="5" refY="3" '
            f'orient="auto"><path d="M0 0 L6 3 L0 6 z" fill="{SOFT}"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#f6f8fa"/>',
            *self.items, "</svg>", ""])


def sections(text):
    """The (kind, title, rows) of the description."""
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            kind, title = lines[0].split(" ", 1)
            yield kind, title, [[part.strip() for part in line.split("|")] for line in lines[1:]]


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print(__doc__.strip())
        return sys.argv[1] not in ("-h", "--help")
    picture, walks = Picture(), True
    for kind, title, rows in sections((DOCS / "architecture.txt").read_text()):
        if kind == "layers" and walks:
            walks = False
            picture.legend()
        picture.title(title)
        getattr(picture, kind)(rows)
    file = DOCS / "architecture.svg"
    if not check:
        file.write_text(str(picture))
    elif not file.exists() or file.read_text() != str(picture):
        print("docs/architecture.svg is stale: run make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
