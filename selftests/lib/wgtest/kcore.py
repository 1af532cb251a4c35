# SPDX-License-Identifier: GPL-2.0
"""Searches the whole memory of this machine.

No program has what it searches for in its memory. A needle is split into overlapping words of eight
bytes, which are masked; Python keeps no two of them side by side. The memory is read into a buffer
that is cleared in the end.
"""

import json
import os
import struct

# What masks a byte, and a word of eight bytes.
MASK, WORD_MASK = 0x5A, 0x5A5A5A5A5A5A5A5A


class Memory:
    """All memory of this system, as it lies in /proc/kcore."""

    CHUNK = 64 * 4096

    def __init__(self):
        self.file = os.open("/proc/kcore", os.O_RDONLY)
        self.flags = os.open("/proc/kpageflags", os.O_RDONLY)
        head = os.pread(self.file, 64, 0)
        start, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
        self.parts = []
        for i in range(count):
            kind, _, offset, virtual, physical, size = struct.unpack(
                "<IIQQQQ", os.pread(self.file, 40, start + i * 56))
            # Only the direct map of all memory: not the kernel's text, nor other mappings of the
            # same pages.
            if kind == 1 and physical != 2**64 - 1 and virtual < 0xFFFFFFFF80000000:
                self.parts.append((physical, size, offset))
        self.size = sum(size for _, size, _ in self.parts)
        self.buffer = bytearray(self.CHUNK)
        self.zeros = bytes(self.CHUNK)
        self.views = memoryview(self.buffer), memoryview(self.buffer).cast("Q")

    def read(self, offset, size):
        """Reads to the beginning of the buffer; returns the number of bytes."""
        return os.preadv(self.file, [self.views[0][:size]], offset)

    def clear(self):
        """Clears the buffer, and overwrites the kernel's own buffer of one page by another read."""
        self.read(self.parts[0][2], 4096)
        self.buffer[:] = self.zeros

    def chunks(self, which, of):
        """Reads every `of`th chunk into the buffer, from number `which` on: yields (file offset,
        page flags, size)."""
        number = 0
        for physical, size, offset in self.parts:
            for at in range(0, size, self.CHUNK):
                number += 1
                if number % of != which:
                    continue
                length = self.read(offset + at, min(self.CHUNK, size - at))
                flags = os.pread(self.flags, length // 4096 * 8, (physical + at) // 4096 * 8)
                yield offset + at, struct.unpack(f"={len(flags) // 8}Q", flags), length

    @staticmethod
    def is_file(flags):
        """Whether a page is part of a file."""
        return flags & (1 << 5 | 1 << 18) and not flags & (1 << 12 | 1 << 7)

    def search(self, words, which, of):
        """Searches for any of these words: yields (word, file offset)."""
        for offset, flags, length in self.chunks(which, of):
            if length == self.CHUNK and self.buffer == self.zeros:
                continue
            for page, flag in enumerate(flags):
                if self.is_file(flag):
                    continue
                view = self.views[1][page * 512 : page * 512 + 512]
                for word in words.intersection(view):
                    for at in range(512):
                        if view[at] == word:
                            yield word, offset + page * 4096 + at * 8


def find(needles):
    """Searches all memory for needles: {name: [(file offset, number of bytes that agree), …]}."""
    at_word = {}
    for needle in needles:
        for at, word in enumerate(needle.words):
            at_word.setdefault(word ^ WORD_MASK, []).append((needle, at))
    words, processes = set(at_word), os.cpu_count()
    pipes = []
    for which in range(processes):
        there, here = os.pipe()
        if os.fork() == 0:
            memory, near_by = Memory(), Memory()
            found = {}
            for word, offset in memory.search(words, which, processes):
                for needle, at in at_word[word]:
                    begin = offset - at
                    size = len(needle.words) + 7
                    near_by.read(begin, size)
                    there = [struct.unpack_from("<Q", near_by.buffer, i)[0] ^ WORD_MASK
                             for i in range(size - 7)]
                    # The longest piece that agrees counts.
                    same = "".join("x" if a == b else " " for a, b in zip(there, needle.words))
                    found.setdefault(needle.name, {})[begin] = max(map(len, same.split(" "))) + 7
            memory.clear()
            near_by.clear()
            with os.fdopen(here, "w") as out:
                json.dump(found, out)
            os._exit(0)
        os.close(here)
        pipes.append(there)
    found = {}
    for pipe in pipes:
        with os.fdopen(pipe) as into:
            for name, places in json.load(into).items():
                found.setdefault(name, []).extend(
                    (int(place), size) for place, size in places.items())
        os.wait()
    return found
