"""All of it in one command, and whether something became slower.

python -m tests.benchmarks all --out results            # some five minutes on one thread: JSON, Markdown, curves.png
python -m tests.benchmarks all --out results --quick    # fewer turns, three sizes a curve: within two minutes
python -m tests.benchmarks check                        # the table again, beside the stored one; exit status 1 where slower

Contenders run by turns in one process; what is compared is CPU time over that of the bare model, which is asked about as many rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import suite
from tests.benchmarks.harness import Ratio, as_json, machine, markdown, race

STORED = Path(__file__).with_name("table.json")
SLOWER = 1.25  # of the stored ratio, by which more is a regression


def table(turns: int, only: str = "") -> dict[str, dict[str, Ratio]]:
    """All rows, told as they come."""
    results = {}
    for name, contenders in suite.rows():
        if only in name:
            results[name] = race(contenders, turns)[0]
            print(name, *(f"{k} {r}" for k, r in results[name].items()), sep="; ", flush=True)
    return results


def curves(sizes: int) -> dict[str, list[dict[str, float]]]:
    """Time and memory along each axis, of so many sizes."""
    found: dict[str, list[dict[str, float]]] = {}
    for axis, (values, _) in suite.AXES.items():
        found[axis] = [suite.curve(axis, size, time.process_time) for size in values[:: 1 if sizes > 3 else 2]]
        print(
            axis, *(f"{p['size']}: {p['seconds']:.2f} s, {p['MiB']:.0f} MiB" for p in found[axis]), sep="; ", flush=True
        )
    return found


def draw(found: dict[str, list[dict[str, float]]], out: Path) -> None:
    """A panel each, time above memory, on axes that begin at 0: a straight line is a cost in proportion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(found), 5.2), layout="constrained")
    axes = figure.subplots(2, len(found), sharex="col")
    for column, (axis, points) in zip(axes.T, found.items()):
        for ax, key, unit in zip(column, ("seconds", "MiB"), ("CPU, s", "tensors, MiB")):
            ax.plot([p["size"] for p in points], [p[key] for p in points], "o-", color="tab:blue")
            ax.set_xlim(left=0)
            ax.set_ylim(0, 1.1 * max(p[key] for p in points))
            ax.set_ylabel(unit)
            ax.spines[["top", "right"]].set_visible(False)
        column[1].set_xlabel(axis)
    figure.suptitle("One call on a residual network: integrated gradients; along windows, occlusion")
    figure.savefig(out, dpi=120)


def slower(found: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """Rows whose ratio grew by more than a share, in every turn."""
    said = []
    for name in sorted(set(found) & set(stored)):
        now, before = found[name]["tsattr"], stored[name]["tsattr"]
        grown = now["ratio"] / before["ratio"]
        bad = grown > SLOWER and now["low"] > before["high"]
        print(f"{name}: {before['ratio']:.2f} -> {now['ratio']:.2f}{'  SLOWER' if bad else ''}", flush=True)
        if bad:
            said.append(name)
    return said


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("all", "check"))
    parser.add_argument("--out", type=Path, help="folder to write into; needed by all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--table", type=Path, default=STORED, help="the table that check compares with")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    turns = 2 if args.quick else 5
    if args.what == "check":
        stored = json.loads(args.table.read_text())
        found = as_json(table(turns, args.only))
        here = machine()
        if changed := {k: v for k, v in stored["machine"].items() if here.get(k) != v}:
            print(f"stored with {changed}: ratios may differ for that alone")
        sys.exit(1 if slower(found, stored["table"]) else 0)
    if args.out is None:
        parser.error("all needs --out DIR")
    args.out.mkdir(parents=True, exist_ok=True)
    results = table(turns, args.only)
    where = machine()
    (args.out / "table.json").write_text(json.dumps({"machine": where, "table": as_json(results)}, indent=1) + "\n")
    (args.out / "table.md").write_text(markdown(results, where))
    grown = curves(3 if args.quick else 5)
    (args.out / "curves.json").write_text(json.dumps({"machine": where, "curves": grown}, indent=1) + "\n")
    draw(grown, args.out / "curves.png")


if __name__ == "__main__":
    main()
