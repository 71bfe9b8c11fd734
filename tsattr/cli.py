"""The command line: the main job without writing Python, on embedded data or on the user's own model and files."""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from . import __version__
from .explain import explain
from .labels import plain
from .notation import BASELINES, GROUPS, METHODS, UsageError, object_of


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except (ValueError, TypeError, KeyError, IndexError, OSError, ImportError, MemoryError, RuntimeError) as error:
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        text = ". ".join([text, *getattr(error, "__notes__", [])])
        print(textwrap.fill(f"tsattr: {text}", 100, break_on_hyphens=False, break_long_words=False), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tsattr: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tsattr", description="Explain models of time series and tables over labelled data."
    )
    parser.add_argument("--version", action="version", version=f"tsattr {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="the main job on embedded data: simulate, train, explain, score, report")
    demo.add_argument("kind", nargs="?", choices=["ecg"], default="ecg")
    demo.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for attribution.nc and report.html (default: demo)"
    )
    demo.add_argument("--quick", action="store_true", help="fewer records and draws")
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)

    ex = commands.add_parser(
        "explain",
        help="explain your own model on your own file",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.dedent(
            """\
            Explain what a model says of a file.

            Methods, baselines and groups are written as in Python, with plain values only:
              --method "IntegratedGradients(tolerance=0.005)"
              --method Occlusion --groups "Windows(time='200ms', lead=1)"
              --baseline "Blur(time='100ms')"      --baseline Samples --reference train.nc
            Methods:   """
            + ", ".join(METHODS)
            + "\nBaselines: "
            + ", ".join(BASELINES)
            + "\nGroups:    "
            + ", ".join(GROUPS)
        ),
        epilog="Importing --model runs its code, as does loading a TorchScript or pickle file: use only models you trust.",
    )
    ex.add_argument("--input", required=True, help="WFDB record, .nc, .zarr, .npy, .npz or .csv file")
    ex.add_argument(
        "--model",
        required=True,
        metavar="MODULE:FACTORY",
        help="a function without arguments that returns the model, looked for from the working directory; or a TorchScript (.pt, .ts) or pickle (.pkl, .joblib) file with --trust-model",
    )
    ex.add_argument(
        "--weights", type=Path, help="a state_dict (.pt, .pth) or .safetensors file to load into the module"
    )
    ex.add_argument("--trust-model", action="store_true", help="allow a model file that can run code when loaded")
    ex.add_argument("--method", default="IntegratedGradients")
    ex.add_argument("--baseline", help="default: the method's own, Constant(0.0)")
    ex.add_argument("--groups", help="for methods on groups; default: Windows of a tenth of the last dim")
    ex.add_argument("--reference", help="a file of training-like samples, for baselines that are fitted")
    ex.add_argument("--target", help="an output's index or label; default: the only output, or the predicted class")
    ex.add_argument("--outputs", help="name and labels of the output axis: class=N,S,V")
    ex.add_argument(
        "--out", type=Path, default=Path("attribution.nc"), help="NetCDF file to write (default: attribution.nc)"
    )
    ex.add_argument("--report", type=Path, help="also write a self-contained HTML report")
    ex.add_argument("--plot", type=Path, help="also write the first sample's picture (.png, .pdf, .svg)")
    data = ex.add_argument_group("input")
    data.add_argument("--leads", help="leads of a WFDB record, comma separated, in the order the model takes them")
    data.add_argument("--start", type=float, help="seconds")
    data.add_argument("--stop", type=float, help="seconds")
    data.add_argument("--resample", type=float, metavar="HZ")
    data.add_argument("--band", metavar="LOW,HIGH", help="zero-phase band-pass in Hz; either may be empty")
    data.add_argument("--annotator", help="annotations of a WFDB record, such as atr; kept as a coordinate")
    data.add_argument("--split", metavar="LENGTH", help="cut time into samples of this length, such as 10s")
    data.add_argument("--dims", help="names of the axes of a NumPy array: sample,lead,time")
    data.add_argument("--variable", help="which variable of a file that holds several")
    data.add_argument("--sample-dim", help="the dim that holds the samples (default: sample)")
    run = ex.add_argument_group("computation")
    run.add_argument("--batch-size", type=int)
    run.add_argument("--device")
    run.add_argument(
        "--dtype", default="float32", choices=["float32", "float64"], help="dtype of the input (default: float32)"
    )
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--dry-run", action="store_true", help="say what it would cost and stop")
    run.set_defaults(run=_explain)

    rep = commands.add_parser("report", help="write the HTML report of a saved result")
    rep.add_argument("result", type=Path, help="a file that tsattr explain or demo wrote")
    rep.add_argument("--out", type=Path, default=Path("report.html"))
    rep.add_argument("--title", default="What the model looked at")
    rep.set_defaults(run=_report)

    sets = commands.add_parser("datasets", help="list the embedded data sets, or write one to a file")
    sets.add_argument("name", nargs="?", choices=["ecg"])
    sets.add_argument("-n", type=int, default=200, help="number of samples")
    sets.add_argument("--seed", type=int, default=0)
    sets.add_argument("--out", type=Path, help="NetCDF file to write")
    sets.set_defaults(run=_datasets)
    return parser


def _demo(args: argparse.Namespace) -> None:
    from . import demo
    from .io import CannotWrite

    try:
        demo.ecg(args.out, lambda line: print(line, flush=True), quick=args.quick, seed=args.seed)
    except (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError) as error:
        if isinstance(error, CannotWrite):
            raise
        raise UsageError(f"cannot write into the folder {args.out}: {error.strerror}") from error


def _explain(args: argparse.Namespace) -> None:
    from .io import check_writable, write_netcdf

    x = _input(args.input, args)
    if args.plot is not None and not isinstance(x, xr.DataArray):
        raise UsageError("--plot draws an array; for a table use --report")
    method = _method(args, x)
    model = _model(args)
    outputs = _outputs(args.outputs)
    target = int(args.target) if args.target is not None and args.target.lstrip("-").isdigit() else args.target
    for path in (args.out, args.report, args.plot):
        if path is not None:
            check_writable(path)
    settings: dict[str, Any] = {
        "target": target,
        "outputs": outputs,
        "sample_dim": args.sample_dim,
        "batch_size": "auto" if args.batch_size is None else args.batch_size,
        "device": args.device,
        "seed": args.seed,
    }
    if args.dry_run:
        print(explain(model, x, method, **settings, dry_run=True))
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ds = explain(model, x, method, **settings, progress=sys.stderr.isatty())
    for w in caught:
        print(textwrap.fill(f"note: {w.message}", 100, break_on_hyphens=False), file=sys.stderr)
    name = args.sample_dim or "sample"
    saved = ds
    if isinstance(x, xr.DataArray):  # with its units, which a later report needs
        saved = ds.assign(input=x.reset_coords(drop=True).assign_attrs(plain(x.attrs)))
    write_netcdf(saved, args.out)
    print(_summary(ds, name))
    print(f"wrote {args.out}")
    if args.report is not None:
        from .report import report

        report(ds, x, title=f"What {ds.attrs['model']} looked at in {Path(args.input).name}", out=args.report)
        print(f"wrote {args.report}")
    if args.plot is not None:
        _plot(ds, x, args.plot)
        print(f"wrote {args.plot}")


def _summary(ds: xr.Dataset, sample: str, most: int = 10) -> str:
    """One line a sample: the prediction, the check, and where the attribution is largest."""
    rows = []
    for i in range(min(ds.sizes[sample], most)):
        one = ds.isel({sample: i})
        error = f", completeness error {float(one.completeness_error.max()):.2g}" if "completeness_error" in one else ""
        label = ds[sample].values[i] if sample in ds.coords else i
        value = ", ".join(f"{v:.4g}" for v in np.atleast_1d(one.prediction.values))
        places = []
        for name in [str(v) for v in ds if str(v).startswith("attribution") and "draw" not in str(v)]:
            a = abs(one[name]) if "target" not in one[name].dims else abs(one[name].isel(target=0))
            if a.notnull().any():
                at = {str(d): int(k) for d, k in a.argmax(...).items()}
                places.append(", ".join(f"{d} {_label(a, d, k)}" for d, k in at.items()))
        where = f"; largest at {'; '.join(places)}" if places else ""
        said = f"{one.predicted.item()}, " if "predicted" in one else ""
        rows.append(f"{sample} {label}: {said}prediction {value}, {one.status.item()}{error}{where}")
    if ds.sizes[sample] > most:
        rows.append(f"... {ds.sizes[sample] - most} more")
    return "\n".join([f"target {ds.attrs['target']}, {ds.attrs['method']}", *rows])


def _label(a: xr.DataArray, dim: str, k: int) -> str:
    if dim not in a.coords:
        return str(k)
    v = a[dim].values[k]
    return f"{v:.6g} {a[dim].attrs.get('units', '')}".strip() if isinstance(v, np.floating) else str(v)


def _plot(ds: xr.Dataset, x: Any, path: Path) -> None:
    from .report.sections import one_picture

    first = {ds.prediction.dims[0]: 0} | ({"target": 0} if "target" in ds.dims else {})
    figure, _ = one_picture(ds.attribution.isel(first), x.isel({ds.prediction.dims[0]: 0}), None)
    figure.savefig(path)


def _input(path: str, args: argparse.Namespace) -> Any:
    from .io import read_input, split

    band = None
    if args.band is not None:
        try:
            low, high = (float(v) if v.strip() else None for v in args.band.split(","))
        except ValueError:
            raise UsageError(f"--band is LOW,HIGH in Hz, such as 0.5,40 or ,40; got {args.band!r}") from None
        band = (low, high)
    x = read_input(
        path,
        leads=args.leads.split(",") if args.leads else None,
        dims=args.dims.split(",") if args.dims else None,
        variable=args.variable,
        start=args.start,
        stop=args.stop,
        annotator=args.annotator,
        resample=args.resample,
        band=band,
    )
    if not isinstance(x, xr.DataArray | xr.Dataset):
        return x
    if args.split is not None:
        x = split(x, args.split)
    if (args.sample_dim or "sample") not in x.dims:
        x = x.expand_dims(args.sample_dim or "sample")
    floats = isinstance(x, xr.DataArray) and x.dtype.kind == "f"
    return x.astype(args.dtype) if floats else x


def _method(args: argparse.Namespace, x: Any) -> Any:
    reference = None if args.reference is None else _input(args.reference, args)
    settings: dict[str, Any] = {}
    if args.baseline is not None:
        settings["baseline"] = object_of(args.baseline, BASELINES, "--baseline", reference)
    name = args.method.split("(")[0].strip()
    on_groups = "groups" in getattr(METHODS.get(name), "__dataclass_fields__", {})
    if args.groups is not None and not on_groups:
        raise UsageError(f"--groups says what a method such as Occlusion removes; --method is {args.method}")
    if on_groups:
        settings["groups"] = object_of(args.groups or _default_windows(x), GROUPS, "--groups")
    return object_of(args.method, METHODS, "--method", **settings)


def _default_windows(x: Any) -> str:
    if not isinstance(x, xr.DataArray):
        return "Cells()"
    last = str(x.dims[-1])
    return f"Windows({last}={max(1, x.sizes[last] // 10)})"


def _outputs(text: str | None) -> Any:
    if text is None:
        return None
    name, _, names = text.partition("=")
    return {name: names.split(",")} if names else (name,)


def _model(args: argparse.Namespace) -> Any:
    path = Path(args.model)
    if path.suffix in (".pt", ".ts", ".pkl", ".joblib", ".pickle"):
        if not args.trust_model:
            raise UsageError(
                f"loading {path.name} can run code hidden in the file; if you trust its source, add --trust-model"
            )
        if not path.exists():
            raise UsageError(f"no model file {path}")
        if path.suffix in (".pt", ".ts"):
            import torch

            try:
                return torch.jit.load(str(path), map_location="cpu")
            except RuntimeError as error:
                raise UsageError(
                    f"{path} is no TorchScript file; give weights with --model MODULE:FACTORY --weights {path}"
                ) from error
        import joblib

        return joblib.load(path)
    module, _, factory = args.model.partition(":")
    if not factory:
        raise UsageError(
            f"--model is MODULE:FACTORY, such as mypackage.models:make, or a model file; got {args.model!r}"
        )
    sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"no module {error.name!r} to import for --model {args.model}; it is looked for from the working directory and in the environment"
        ) from error
    finally:
        sys.path.remove("")
    make = getattr(found, factory, None)
    if not callable(make):
        raise UsageError(f"module {module!r} has no function {factory!r} that makes the model")
    try:
        model = make()
    except Exception as error:
        raise UsageError(f"{args.model}() gave no model: {type(error).__name__}: {error}") from error
    if args.weights is not None:
        model.load_state_dict(_weights(args.weights))
    return model


def _weights(path: Path) -> Any:
    if not path.exists():
        raise UsageError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise UsageError("reading .safetensors needs the package safetensors: pip install safetensors") from None
        return load_file(path)
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UsageError(
            f"{path} is not a plain state_dict (torch.save(model.state_dict(), ...)); other pickles are not loaded"
        ) from error


def _report(args: argparse.Namespace) -> None:
    from .report import report

    if not args.result.exists():
        raise UsageError(f"no file {args.result}")
    with xr.open_dataset(args.result) as opened:
        ds = opened.load()
    if "attribution" not in ds or "input" not in ds:
        raise UsageError(
            f"{args.result} lacks the variables attribution and input; give a file that tsattr explain or demo wrote"
        )
    truth = ds.get("truth")
    scores = ds[[v for v in ds if str(v).startswith("score_")]].rename(
        {v: str(v)[6:] for v in ds if str(v).startswith("score_")}
    )
    report(
        ds.drop_vars([v for v in ("input", "truth", *map("score_{}".format, scores)) if v in ds]),
        ds["input"],
        title=args.title,
        truth=None if truth is None else truth.astype(bool),
        scores=scores if len(scores) else None,
        out=args.out,
    )
    print(f"wrote {args.out}")


def _datasets(args: argparse.Namespace) -> None:
    from .datasets import simulate_ecg

    if args.name is None:
        print("ecg    12-lead electrocardiograms with planted lesions and their truth masks (simulated)")
        return
    ds = simulate_ecg(args.n, seed=args.seed)
    if args.out is None:
        print(ds)
        return
    from .io import write_netcdf

    write_netcdf(ds, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    sys.exit(main())
