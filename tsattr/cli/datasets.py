"""``tsattr datasets``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def _drawn(name: str) -> Callable[..., Any]:
    """A function of tsattr.datasets that takes a number of samples and a seed, by name: the module is loaded when it is used."""
    return lambda made, n, seed: getattr(made, name)(n, seed=seed)


KINDS: dict[str, tuple[Callable[..., Any], str]] = {
    "ecg": (
        _drawn("simulate_ecg"),
        "12-lead electrocardiograms with planted lesions and their truth masks",
    ),
    "risk": (
        _drawn("simulate_risk"),
        "a table of patients whose risk is a known sum of shapes, with one interaction",
    ),
    "spike": (
        _drawn("spike"),
        "series whose label stays on from the first spike of one feature (Spike; FIT, WinIT)",
    ),
    "state": (
        _drawn("state"),
        "a hidden state decides which feature matters; two truths (State; FIT, Dynamask, WinIT)",
    ),
    "switch-feature": (
        _drawn("switch_feature"),
        "three states, three features; two truths (Switch-Feature; FIT, ContraLSP)",
    ),
    "sphere": (
        lambda made, n, seed: made.additive_sphere(seed=seed).sample(n, seed=seed),
        "fields whose target is a known sum over the cells (after Mamalakis et al. 2022)",
    ),
    "history": (
        lambda made, n, seed: made.additive_history(seed=seed).sample(n, seed=seed),
        "36 months of fields; the reach in space and in time is planted for each lead",
    ),
    "ocean": (
        lambda made, n, seed: made.linear_inverse_model().record(n, seed=seed).to_dataset(),
        "consecutive months of a linear inverse model, whose forecasts are known exactly",
    ),
}
"""What makes each of them, and what it is; all are simulated."""


def run(args: argparse.Namespace) -> None:
    """List the data sets, or make one."""
    from .. import datasets
    from . import given

    if args.name is None:
        for name, (_, text) in KINDS.items():
            print(f"{name:16} {text}")
        return
    if args.out is not None:
        given.check_outputs(out=args.out)
    ds = KINDS[args.name][0](datasets, args.n, args.seed)
    if args.out is None:
        print(ds)
        return
    from ..io import write_result

    write_result(ds, args.out)
    print(f"wrote {args.out}")
