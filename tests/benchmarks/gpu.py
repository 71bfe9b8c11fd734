"""One prepared script for a machine with CUDA, of at most ten minutes: the tests marked gpu, and what the methods take there.

python -m tests.benchmarks.gpu                           # prints JSON; says so and stops where there is no CUDA device
python -m tests.benchmarks.gpu --device cpu --quick      # that it runs, anywhere

Goals: integrated gradients at 0.90 of the bare forward-backward loop's speed, incremental occlusion 3 times dense.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

import tsattr as ta
from tests.benchmarks import run
from tests.benchmarks.harness import Run, as_json, machine, race
from tests.benchmarks.suite import Steps
from tsattr.core.evaluation import removals

TESTS = 150  # seconds that the tests may take
BENCHMARKS = 390  # seconds after which no other benchmark is begun


@dataclass(frozen=True)
class Bench:
    """Where the models run, and how much is asked."""

    device: torch.device
    quick: bool

    def size(self, few: int, many: int) -> int:
        return few if self.quick else many

    def clock(self) -> float:
        """Wall time once the device has done all that it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def problem(self, name: str, n: int) -> tuple[nn.Module, Tensor]:
        model, x = run.problem(name, n)
        return model.to(self.device), x

    def rows(self, model: nn.Module, x: Tensor, method: Any, given: dict[str, Any]) -> tuple[int, Tensor]:
        """How many rows a call asks about, and one batch of as many as it takes."""
        said = ta.explain(model, x, method, dry_run="rows", **given)
        return int(said.model_evaluations.sum()), run.batch_rows(x, said.attrs["batch_size"]).to(self.device)

    # ---- what is measured

    def rows_of_table(self) -> Iterator[tuple[str, Callable[[], dict[str, Run]]]]:
        yield "integrated gradients, resnet", lambda: self.path("resnet")
        yield "integrated gradients, gru", lambda: self.path("gru")
        yield "occlusion, resnet", self.occlusion
        yield "WinIT, GRU", self.winit
        yield "Shapley values, resnet", self.shapley

    def path(self, name: str) -> dict[str, Run]:
        n, steps = self.size(4, 256), self.size(4, 50)
        model, x = self.problem(name, n)
        method, given = (
            ta.IntegratedGradients(steps=steps, rule="gauss-legendre"),
            {"target": 0, "dims": run.DIMS[name]},
        )
        _, batch = self.rows(model, x, method, given)
        there = x.to(self.device)

        def bare() -> None:
            run.forward_loop(model, batch, 2 * n)
            with torch.backends.cudnn.flags(enabled=name != "gru"):  # it refuses a backward pass in eval mode
                run.gradient_loop(model, batch, n * steps)

        def ours(**more: Any) -> Any:
            return ta.explain(model, x, method, **given, **more)

        runs = {"bare": bare, "tsattr": ours, "tsattr, bfloat16": lambda: ours(autocast="bfloat16")}
        if name == "resnet" and self.device.type == "cuda":
            quick = torch.compile(model)
            runs["tsattr, compiled"] = lambda: ta.explain(quick, x, method, **given, check=False)
        if name == "resnet" and find_spec("captum"):
            from captum.attr import IntegratedGradients

            peer, each = IntegratedGradients(model), len(batch)
            runs["captum"] = lambda: peer.attribute(
                there, target=0, n_steps=steps, internal_batch_size=max(n, each)
            ).cpu()
        return runs

    def occlusion(self) -> dict[str, Run]:
        n, windows = self.size(4, 64), self.size(38, 78)
        model, x = self.problem("resnet", n)
        step = -(-1000 // (windows + 1))
        method, given = (
            ta.Occlusion(ta.groups.Windows(time=2 * step, step=step)),
            {"target": 0, "dims": run.DIMS["resnet"]},
        )
        asked, batch = self.rows(model, x, method, given)
        there = x.to(self.device)

        def dense() -> Any:
            with mock.patch.object(removals, "EVALUATIONS", ()):
                return ta.explain(model, x, method, **given)

        runs = {
            "bare": lambda: run.forward_loop(model, batch, asked),
            "tsattr": lambda: ta.explain(model, x, method, **given),
            "tsattr, dense": dense,
        }
        if find_spec("captum"):
            from captum.attr import Occlusion

            peer, each = Occlusion(model), max(1, len(batch) // n)
            shapes = (12, 2 * step), (12, step)
            runs["captum"] = lambda: peer.attribute(there, *shapes, target=0, perturbations_per_eval=each).cpu()
        return runs

    def winit(self) -> dict[str, Run]:
        torch.manual_seed(0)
        n, times = self.size(2, 64), self.size(30, 200)
        model = Steps(200).requires_grad_(False).to(self.device)
        x, method = torch.randn(n, times, 3), ta.WinIT(10, ta.baselines.Hold(dim="time"))
        given = {"dims": ("sample", "time", "vital"), "outputs": ("time",)}
        asked = int(ta.explain(model, x, method, **given).model_evaluations.sum())
        window = run.batch_rows(x[:, :10], 4096 if self.device.type == "cuda" else 512).to(
            self.device
        )  # a row's stretch
        return {
            "bare": lambda: run.forward_loop(model, window, asked),
            "tsattr": lambda: ta.explain(model, x, method, **given),
        }

    def shapley(self) -> dict[str, Run]:
        n = self.size(2, 32)
        model, x = self.problem("resnet", n)
        method = ta.ShapleySampling(ta.groups.Windows(time=100), draws=self.size(4, 40))
        given = {"target": 0, "dims": run.DIMS["resnet"]}
        asked, batch = self.rows(model, x, method, given)
        return {
            "bare": lambda: run.forward_loop(model, batch, asked),
            "tsattr": lambda: ta.explain(model, x, method, **given),
        }


def values(found: Any) -> Tensor | None:
    """The map that a contender gave."""
    if isinstance(found, Tensor):
        return found
    return None if found is None else torch.as_tensor(found["attribution"].values)


def errors(found: dict[str, Any]) -> dict[str, float]:
    """The largest difference of each map to tsattr's, over its largest value."""
    ours = values(found["tsattr"])
    assert ours is not None
    maps = {name: values(v) for name, v in found.items() if name not in ("bare", "tsattr")}
    return {
        name: float((m.to(ours.dtype) - ours).abs().max() / ours.abs().max())
        for name, m in maps.items()
        if m is not None
    }


def measured(bench: Bench, turns: int) -> dict[str, Any]:
    """Every row of the table that there is time for; one that fails says why, and the others go on."""
    found: dict[str, Any] = {}
    began = time.perf_counter()
    for name, make in bench.rows_of_table():
        if time.perf_counter() - began > BENCHMARKS:
            found[name] = {"skipped": "no time left"}
            continue
        try:
            ratios, gave = race(make(), turns, clock=bench.clock)
        except Exception as error:
            found[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
        else:
            found[name] = {**as_json({name: ratios})[name], "difference to tsattr": errors(gave)}
            if (said := gave["tsattr"].attrs.get("evaluation")) is not None:
                found[name]["evaluation"] = said
        print(name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return found


def goals(found: dict[str, Any]) -> dict[str, Any]:
    """What was to be reached, and was."""
    said: dict[str, Any] = {}
    for name in ("integrated gradients, resnet", "integrated gradients, gru"):
        if "tsattr" in found[name]:
            said[f"{name}: share of the bare loop's speed (goal 0.90)"] = round(1 / found[name]["tsattr"]["ratio"], 3)
    if "tsattr" in (row := found["occlusion, resnet"]):
        said["occlusion: times faster than dense (goal 3)"] = round(
            row["tsattr, dense"]["ratio"] / row["tsattr"]["ratio"], 2
        )
    return said


def tests() -> dict[str, Any]:
    """How the tests marked gpu went."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "gpu",
        "tests/methods",
        "tests/core",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TESTS)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {TESTS} s"}
    return {"status": done.returncode, "said": done.stdout.strip().splitlines()[-8:]}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(json.dumps({"skipped": "no CUDA device here; --device cpu --quick tries that the script runs"}))
        return
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    bench = Bench(device, args.quick)
    report: dict[str, Any] = {"machine": machine() | {"device": str(device)}}
    if device.type == "cuda":
        report["tests"] = tests()
    report["table"] = measured(bench, 1 if args.quick else 3)
    report |= {"goals": goals(report["table"]), "seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
