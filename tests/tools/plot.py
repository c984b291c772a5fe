"""Bars of a benchmark: wall seconds and peak memory side by side.

    plot.py RESULTS.json PICTURE.png

RESULTS.json: {"title": ..., "bars": [{"name": ..., "seconds": ..., "bytes": ...}, ...]}
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OURS, OTHERS = "#1b6ca8", "#9aa5b1"


def main(results, picture):
    told = json.loads(pathlib.Path(results).read_text())
    bars = told["bars"]
    names = [bar["name"] for bar in bars]
    colours = [OURS if name.startswith("wasmpipe") else OTHERS for name in names]
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(11, 0.55 * len(bars) + 1.5), layout="constrained")
    figure.suptitle(told["title"])
    draw(panels[0], names, [bar["seconds"] for bar in bars], colours, "wall seconds", "{:.1f} s")
    draw(panels[1], names, [bar["bytes"] / 2**30 for bar in bars], colours, "peak memory, GiB, shared pages counted once", "{:.2f} GiB")
    figure.savefig(picture, dpi=110, metadata={"Software": None})


def draw(panel, names, values, colours, title, form):
    drawn = panel.barh(names, values, color=colours)
    panel.bar_label(drawn, [form.format(value) for value in values], padding=4)
    panel.set_title(title, fontsize=10)
    # Room for the label of the longest bar; the first contender on top.
    panel.set_xlim(0, max(values) * 1.22)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(*sys.argv[1:])
