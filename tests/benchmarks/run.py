"""Time and memory of integrated gradients and occlusion beside the bare loop and captum; see README.md here."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tsattr as ta

BATCH = 64
Run = Callable[[], Any]


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int = 1, kernel: int = 7) -> None:
        super().__init__()
        self.first = nn.Conv1d(inner, outer, kernel, stride, kernel // 2, bias=False)
        self.second = nn.Conv1d(outer, outer, kernel, 1, kernel // 2, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm1d(outer), nn.BatchNorm1d(outer)])
        self.skip = nn.Identity() if inner == outer and stride == 1 else nn.Conv1d(inner, outer, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(y)) + self.skip(x))


class ResNet(nn.Module):
    """A residual network of 11 convolutions over (lead, time)."""

    def __init__(self, leads: int = 12, classes: int = 5, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(leads, width, 15, 2, 7, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        sizes = [(1, 1, 1), (1, 2, 2), (2, 2, 1), (2, 4, 2), (4, 4, 1)]
        self.body = nn.Sequential(*(Block(i * width, o * width, s) for i, o, s in sizes))
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean(-1))


class Recurrent(nn.Module):
    """A GRU over (time, lead), read at its last step."""

    def __init__(self, leads: int = 12, classes: int = 5, hidden: int = 64) -> None:
        super().__init__()
        self.cell = nn.GRU(leads, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Table(nn.Module):
    """A perceptron over the columns of a table."""

    def __init__(self, columns: int = 20, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


class Emulator(nn.Module):
    """A convolutional encoder and decoder of 36 months of a 2-degree field, read as the mean over a box."""

    def __init__(self, months: int = 36, width: int = 32) -> None:
        super().__init__()
        sizes = [(months, width, 2), (width, 2 * width, 2), (2 * width, 2 * width, 1)]
        self.down = nn.Sequential(*(layer for i, o, s in sizes for layer in (nn.Conv2d(i, o, 3, s, 1), nn.ReLU())))
        self.up = nn.Sequential(nn.Conv2d(2 * width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, 1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(F.interpolate(self.down(x), x.shape[2:], mode="bilinear"))
        return y[:, :, 40:50, 95:120].mean((2, 3))


MODELS = {"resnet": ResNet, "gru": Recurrent, "table": Table, "emulator": Emulator}
DIMS = {
    "resnet": ("sample", "lead", "time"),
    "gru": ("sample", "time", "lead"),
    "table": ("sample", "feature"),
    "emulator": ("sample", "lag", "lat", "lon"),
}
SHAPES = {"resnet": (12, 1000), "gru": (1000, 12), "table": (20,), "emulator": (36, 89, 180)}
BOX = {"lag": 3, "lat": 5, "lon": 5}  # 3 months by 10 degrees


def problem(name: str, n: int) -> tuple[nn.Module, Tensor]:
    """A network with random weights and trained-looking statistics, and `n` samples for it."""
    torch.manual_seed(0)
    model, x = MODELS[name](), torch.randn(n, *SHAPES[name])
    model(x[:8])  # in training mode, so that the running statistics are not those of the start
    return model.eval().requires_grad_(False), x


def forward_loop(model: nn.Module, rows: Tensor, total: int) -> None:
    """The model on `total` rows, in batches of those in `rows`."""
    with torch.no_grad():
        for start in range(0, total, len(rows)):
            model(rows[: total - start])


def gradient_loop(model: nn.Module, rows: Tensor, total: int) -> None:
    """The same, with the gradient with respect to the rows."""
    for start in range(0, total, len(rows)):
        batch = rows[: total - start].detach().requires_grad_(True)
        torch.autograd.grad(model(batch)[:, 0].sum(), batch)


def batch_rows(x: Tensor, rows: int) -> Tensor:
    """One batch of `rows` rows."""
    return x.repeat(-(-rows // len(x)), *[1] * (x.ndim - 1))[:rows]


def gradients(name: str, n: int, steps: int, batch: int) -> dict[str, Run]:
    """Integrated gradients by each contender, from zero; the bare loop asks for the same rows."""
    model, x = problem(name, n)
    rows = batch_rows(x, batch)
    method = ta.IntegratedGradients(steps=steps, rule="gauss-legendre")

    def bare() -> None:
        forward_loop(model, rows, n)  # the prediction
        forward_loop(model, rows, n)  # the reference
        gradient_loop(model, rows, n * steps)

    def ours() -> Tensor:
        ds = ta.explain(model, x, method, target=0, dims=DIMS[name], batch_size=batch)
        return torch.from_numpy(ds["attribution"].values)

    def captum(limit: int | None) -> Tensor:
        from captum.attr import IntegratedGradients

        return IntegratedGradients(model).attribute(x, target=0, n_steps=steps, internal_batch_size=limit)

    return {"bare": bare, "tsattr": ours, "captum": lambda: captum(None), "captum, batched": lambda: captum(batch)}


def occlusion(name: str, n: int, windows: int, batch: int) -> dict[str, Run]:
    """Occlusion of half-overlapping windows of all leads, or of boxes, by each contender; the bare loop asks for the same rows."""
    model, x = problem(name, n)
    rows = batch_rows(x, batch)
    if name == "emulator":
        window = stride = tuple(BOX.values())
        method = ta.Occlusion(ta.groups.Windows(**BOX))
    else:
        step = -(-1000 // (windows + 1))
        method = ta.Occlusion(ta.groups.Windows(time=2 * step, step=step))
        window = tuple(2 * step if d == "time" else 12 for d in DIMS[name][1:])
        stride = tuple(step if d == "time" else 12 for d in DIMS[name][1:])
    asked = int(ta.explain(model, x, method, dims=DIMS[name], dry_run="rows")["model_evaluations"][0])

    def bare() -> None:
        forward_loop(model, rows, n)  # the prediction
        forward_loop(model, rows, n * (asked - 1))

    def ours() -> Tensor:
        ds = ta.explain(model, x, method, target=0, dims=DIMS[name], batch_size=batch)
        return torch.from_numpy(ds["attribution"].values)

    def captum(each: int) -> Tensor:
        from captum.attr import Occlusion

        return Occlusion(model).attribute(x, window, stride, target=0, perturbations_per_eval=each)

    return {"bare": bare, "tsattr": ours, "captum": lambda: captum(max(1, batch // n))}


METHODS = {"integrated gradients": gradients, "occlusion": occlusion}


def times(methods: Iterable[str], names: Iterable[str], n: int, count: int, repeats: int) -> None:
    """Seconds and ratio to the bare loop, in alternating order, and the largest difference to captum."""
    lines = []
    for method in methods:
        for name in names:
            runs = METHODS[method](name, n, count, BATCH)
            if "captum, batched" in runs:
                del runs["captum"]  # all rows at once: gigabytes
            seconds: dict[str, list[tuple[float, float]]] = {k: [] for k in runs}
            found = {}
            for repeat in range(repeats + 1):
                for k in list(runs) if repeat % 2 else reversed(runs):
                    start = time.perf_counter(), time.process_time()
                    found[k] = runs[k]()
                    if repeat:  # the first one warms up
                        seconds[k].append((time.perf_counter() - start[0], time.process_time() - start[1]))
            peer = found[next(k for k in found if k.startswith("captum"))]
            gap = float((found["tsattr"] - peer).abs().max() / peer.abs().max())
            for k, spent in seconds.items():
                wall = statistics.median(w for w, _ in spent)
                ratios = [[a[c] / b[c] for a, b in zip(spent, seconds["bare"])] for c in (0, 1)]
                middle = [f"{statistics.median(r):.3f}" for r in ratios]
                spread = f"{min(ratios[1]):.3f}-{max(ratios[1]):.3f}"
                lines.append((method, name, k, f"{wall:.2f}", *middle, spread, f"{gap:.1e}" if k == "tsattr" else ""))
                print(*lines[-1], flush=True)
    print(f"\n{n} samples, {count} steps or windows, batches of {BATCH} rows, {repeats} repeats\n")
    table(
        "method, model, contender, seconds, wall / bare, CPU / bare, its spread, difference to captum / largest value",
        lines,
    )


def memory(names: Iterable[str], n: int, steps: Iterable[int], windows: Iterable[int]) -> None:
    """Peak memory above that before the call, each in a process of its own, over steps and windows."""
    for method, counts in zip(METHODS, (list(steps), list(windows))):
        lines = []
        for name in names:
            for k in METHODS[method](name, 1, 2, BATCH):
                peaks = [child(method, name, k, n, count, BATCH) for count in counts]
                lines.append((method, name, k, *(f"{p:.0f}" for p in peaks)))
                print(*lines[-1], flush=True)
        print(f"\nMiB above the start, {n} samples, batches of {BATCH} rows\n")
        table("method, model, contender, " + ", ".join(map(str, counts)), lines)
    if "resnet" not in names:
        return
    lines = []
    sizes = (8, 64, 256)
    for k in ("bare", "tsattr", "captum, batched"):
        lines.append((k, *(f"{child('integrated gradients', 'resnet', k, size, 3, 32):.0f}" for size in sizes)))
        print(*lines[-1], flush=True)
    print("\nMiB above the start, integrated gradients of the resnet, 3 steps, batches of 32 rows, by samples\n")
    table("contender, " + ", ".join(map(str, sizes)), lines)


def child(method: str, name: str, contender: str, n: int, count: int, batch: int) -> float:
    """Peak memory in MiB of one call in a fresh process."""
    task = json.dumps([method, name, contender, n, count, batch])
    out = subprocess.run(
        [sys.executable, __file__, "child", "--task", task], capture_output=True, text=True, check=True
    )
    return float(out.stdout)


def peak(method: str, name: str, contender: str, n: int, count: int, batch: int) -> float:
    """Peak memory in MiB of one call above that before it."""
    METHODS[method](name, 1, 2, 1)[contender]()  # libraries and kernels are loaded
    run = METHODS[method](name, n, count, batch)[contender]
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    run()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def throughput(repeats: int) -> None:
    """Rows per second by rows per batch, and the size that "auto" takes."""
    lines = []
    for name, total, sizes in (
        ("resnet", 512, (8, 16, 32, 64, 128, 256)),
        ("gru", 512, (8, 16, 32, 64, 128, 256, 512)),
        ("table", 2**16, (64, 256, 1024, 4096, 16384, 65536)),
    ):
        model, x = problem(name, 64)
        auto = ta.explain(model, x, ta.Saliency(), dims=DIMS[name], dry_run="rows").attrs["batch_size"]
        for what, loop in (("forward", forward_loop), ("forward and gradient", gradient_loop)):
            spent: dict[int, list[float]] = {rows: [] for rows in sizes}
            for _ in range(repeats):
                for rows in sizes:
                    batch = batch_rows(x, rows)
                    loop(model, batch, rows)
                    start = time.process_time()
                    loop(model, batch, total)
                    spent[rows].append(time.process_time() - start)
            for rows in sizes:
                rate = total / statistics.median(spent[rows])
                lines.append((name, what, rows, f"{rate:.0f}", "auto" if rows == auto else ""))
                print(*lines[-1], flush=True)
    print()
    table("model, loop, rows of a batch, rows per second, auto", lines)


def profile(n: int, count: int) -> None:
    """Where the time of each method goes: the share outside the model, and torch's operations."""
    for method, contenders in METHODS.items():
        for name in ("resnet", "gru"):
            model, _ = problem(name, n)
            run = contenders(name, n, count, BATCH)["tsattr"]
            run()
            inside, total = timed(run, type(model))
            print(
                f"{method}, {name}: {total:.2f} s, outside the model {(total - inside) / inside:.2%} of the time inside"
            )
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
                run()
            print(record.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40))


def timed(run: Run, kind: type[nn.Module]) -> tuple[float, float]:
    """Seconds of the process inside the forward pass of `kind` and the backward pass, and in all."""
    inside = 0.0

    def clocked(f: Callable[..., Any]) -> Callable[..., Any]:
        def g(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            start = time.process_time()
            y = f(*args, **kwargs)
            inside += time.process_time() - start
            return y

        return g

    with (
        mock.patch.object(kind, "forward", clocked(kind.forward)),
        mock.patch("torch.autograd.grad", clocked(torch.autograd.grad)),
    ):
        start = time.process_time()
        run()
        return inside, time.process_time() - start


def table(head: str, lines: list[tuple[Any, ...]]) -> None:
    """Print a table in Markdown."""
    columns = head.split(", ")
    print("|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))
    for line in lines:
        print("|", " | ".join(map(str, line)), "|")
    print(flush=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("time", "memory", "rows", "profile", "child"))
    parser.add_argument("--models", nargs="*", choices=[k for k in MODELS if k != "table"], default=["resnet", "gru"])
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS), help="of time")
    parser.add_argument("--samples", type=int, help="64; of memory 8")
    parser.add_argument("--count", type=int, default=20, help="steps of the path, and about as many windows")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="8 samples, 8 steps or windows, 3 repeats")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    if args.quick:
        args.samples, args.count, args.repeats = 8, 8, 3
    if args.what == "child":
        print(peak(*args.task))
        return
    print(
        f"torch {torch.__version__}, {args.threads} thread, {platform.machine()}, Python {platform.python_version()}\n"
    )
    if args.what == "time":
        times(args.methods, args.models, args.samples or 64, args.count, args.repeats)
    elif args.what == "memory":
        counts = ((10, 50), (10, 40)) if args.quick else ((10, 50, 200), (10, 40, 160))
        memory(args.models, args.samples or 8, *counts)
    elif args.what == "rows":
        throughput(args.repeats)
    else:
        profile(args.samples or 64, args.count)


if __name__ == "__main__":
    main()
