"""What benchmarks share: contenders raced by turns in one process, ratios to the bare model, and where it all ran."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

BARE = "bare"
Run = Callable[[], Any]


@dataclass(frozen=True)
class Ratio:
    """Seconds of one contender, and its ratio to the bare model's of the same turn: medians and spread."""

    seconds: float
    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, spent: Sequence[float], bare: Sequence[float]) -> Ratio:
        ratios = [a / b for a, b in zip(spent, bare)]
        return cls(statistics.median(spent), statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.low:.2f}-{self.high:.2f})"


def race(
    contenders: Mapping[str, Run], repeats: int, *, clock: Callable[[], float] = time.process_time
) -> tuple[dict[str, Ratio], dict[str, Any]]:
    """Run each by turns, in an order that is turned round each time, and what each gave; the first turn warms up."""
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    found = {}
    for turn in range(repeats + 1):
        for name in list(contenders) if turn % 2 else reversed(contenders):
            start = clock()
            found[name] = contenders[name]()
            if turn:
                spent[name].append(clock() - start)
    return {name: Ratio.of(seconds, spent[BARE]) for name, seconds in spent.items()}, found


def machine() -> dict[str, str]:
    """Versions, processor, accelerator and threads."""
    found = {"python": platform.python_version(), "processor": _processor(), "threads": str(torch.get_num_threads())}
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
    for name in ("tsattr", "torch", "numpy", "xarray", "captum", "shap"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{model or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def as_json(results: Mapping[str, Mapping[str, Ratio]]) -> dict[str, Any]:
    """Rows of a table by name, of each contender its numbers."""
    return {row: {name: _rounded(asdict(r)) for name, r in ratios.items()} for row, ratios in results.items()}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {k: float(f"{v:.4g}") for k, v in values.items()}


def markdown(results: Mapping[str, Mapping[str, Ratio]], where: Mapping[str, str]) -> str:
    """The table, and where it was measured."""
    lines = ["| what | contender | seconds | over the bare model's (spread) |", "|---|---|---|---|"]
    for row, ratios in results.items():
        lines += [f"| {row} | {name} | {r.seconds:.3g} | {r} |" for name, r in ratios.items()]
    return "\n".join([*lines, "", ", ".join(f"{k} {v}" for k, v in where.items())]) + "\n"
