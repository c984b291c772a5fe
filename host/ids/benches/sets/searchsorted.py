"""Sorts the ids of a file, asks for those of two others in blocks of 64 K, and prints what it cost, a figure a line.

searchsorted.py FOLDER BYTES FOUND_INPUT FOUND_RANDOM: BYTES of a string, 0 for numbers; how many ids there are in the set.
"""

import re
import sys
import time

import numpy


def anonymous_mib():
    with open("/proc/self/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1)) / 1024


folder, width, *found = sys.argv[1:]
dtype = numpy.dtype(f"S{width}" if width != "0" else "<u8")
base_mib = anonymous_mib()
ids = numpy.fromfile(f"{folder}/ids", dtype)
start = time.perf_counter()
ids.sort()
print("build_s", time.perf_counter() - start)
print("bytes", ids.nbytes)
# Sorting numbers and strings in place takes nothing beside them.
print("peak_mib", anonymous_mib() - base_mib)

for order, expected in zip(("input", "random"), found):
    asked = numpy.fromfile(f"{folder}/{order}", dtype)
    seconds, present = 0.0, 0
    for at in range(0, len(asked), 1 << 16):
        block = asked[at : at + (1 << 16)]
        start = time.perf_counter()
        places = numpy.searchsorted(ids, block)
        places[places == len(ids)] = 0
        answers = ids[places] == block
        seconds += time.perf_counter() - start
        present += int(answers.sum())
    assert present == int(expected), (order, present, expected)
    print(f"{order}_ns", seconds * 1e9 / len(asked))
