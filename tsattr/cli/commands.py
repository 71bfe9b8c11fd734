"""The commands and their options, declared: what help prints, which waits for no library."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

from . import names
from .datasets import KINDS

TRUST = "Importing --model runs its code, as does loading a TorchScript or pickle file: use only models you trust."
NAMES = "\n".join(
    textwrap.fill(f"{kind + ':':11}{', '.join(known)}", 100, subsequent_indent=" " * 11)
    for kind, known in (("Methods", names.METHODS), ("Baselines", names.BASELINES), ("Groups", names.GROUPS))
)


def demo(commands: Any, what: str) -> None:
    """Declare ``tsattr demo``, which does `what`."""
    parser = commands.add_parser("demo", help=what)
    parser.add_argument("kind", nargs="?", choices=["ecg", "climate", "tabular"], default="ecg")
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for attribution.nc and report.html (default: demo)"
    )
    parser.add_argument("--quick", action="store_true", help="less data and fewer draws")
    parser.add_argument("--seed", type=int, default=0)


def explain(commands: Any, what: str) -> None:
    """Declare ``tsattr explain``, which does `what`."""
    parser = commands.add_parser(
        "explain",
        help=what,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.dedent(
            """\
            Explain what a model says of a file.

            Methods, baselines and groups are written as in Python, with plain values only:
              --method "IntegratedGradients(tolerance=0.005)"
              --method Occlusion --groups "Windows(time='200ms', lead=1)"
              --baseline "Blur(time='100ms')"      --baseline Samples --reference train.nc
            """
        )
        + NAMES,
        epilog=TRUST,
    )
    parser.add_argument("record", nargs="?", help="the same as --input")
    _model(parser, required=False)
    _method(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("attribution.nc"),
        help="NetCDF file, or Zarr store, to write (default: attribution.nc)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        nargs="?",
        const=Path("report.html"),
        help="also write a self-contained HTML report; of an ECG with beats and waves marked (default: report.html)",
    )
    parser.add_argument("--plot", type=Path, help="also write the first sample's picture (.png, .pdf, .svg)")
    _data(parser)
    group = _computation(parser)
    group.add_argument("--dry-run", action="store_true", help="say what it would cost, by its first batches, and stop")


def compare(commands: Any, what: str) -> None:
    """Declare ``tsattr compare``, which does `what`."""
    parser = commands.add_parser(
        "compare",
        help=what,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.dedent(
            """\
            Explain a file by several methods, and test on the model which of them says what the model does.

            Methods, fills and groups are written as in Python, with plain values, baselines and groups only, and may be
            given a name:
              --method "IG zero=IntegratedGradients" --method "IG blurred=IntegratedGradients(Blur(time='100ms'))"
              --method "Occlusion(Windows(time='200ms', lead=1), Bridge())"
              --fill "mean=Mean()" --fill Samples --reference train.nc
            """
        )
        + NAMES,
        epilog=TRUST,
    )
    _model(parser)
    parser.add_argument("--method", action="append", required=True, metavar="[NAME=]METHOD", help="repeat for each")
    parser.add_argument(
        "--fill",
        action="append",
        metavar="[NAME=]BASELINE",
        help="what takes the place of what the test removes; repeat for each (default: the mean, the bridge, other samples)",
    )
    parser.add_argument(
        "--groups",
        help="what the test removes together (default: windows of a fiftieth of time); a method on groups that names none takes windows of a tenth of the last dim",
    )
    parser.add_argument("--reference", help="a file of training-like samples, for what is fitted and for fills")
    parser.add_argument("--truth", help="a file like the input, 1 where attribution is known to belong and 0 elsewhere")
    parser.add_argument("--truth-variable", metavar="NAME", help="which variable of a truth file that holds several")
    parser.add_argument("--blocks", metavar="NAME", help="a coordinate of the samples: those of one patient or year")
    parser.add_argument("--budget", type=int, metavar="ROWS", help="rows of the model a sample for each method")
    parser.add_argument("--samples", type=int, metavar="N", help="use N samples, spread evenly over the file")
    parser.add_argument(
        "--out", type=Path, default=Path("compare.nc"), help="NetCDF file to write (default: compare.nc)"
    )
    parser.add_argument("--report", type=Path, help="also write a self-contained HTML report")
    _data(parser)
    _computation(parser)


def similar(commands: Any, what: str) -> None:
    """Declare ``tsattr similar``, which does `what`."""
    parser = commands.add_parser(
        "similar",
        help=what,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=textwrap.dedent(
            """\
            Find the cases that a model holds to be most like each sample of a file, and why.

            Make a gallery of cases once, then ask it about records:
              tsattr similar --model nets:make --weights net.pt --cases train.nc --gallery gallery.nc
              tsattr similar --model nets:make --weights net.pt --gallery gallery.nc --input new.nc --report near.html

            The model is not in the gallery: a query by a model with other weights is refused. Coordinates of the cases' samples,
            such as label and patient, are kept and told. Why is explained by any method, written as in Python:
              --method Occlusion --groups "Windows(time='200ms', lead=1)"
            """
        )
        + NAMES,
        epilog=TRUST,
    )
    _input(parser, required=False)
    parser.add_argument("--gallery", type=Path, help="the gallery to ask, or, with --cases, to write: NetCDF or Zarr")
    parser.add_argument("--cases", help="a file of cases, to make a gallery of")
    parser.add_argument(
        "--layer",
        help="with --cases: the layer whose output is the embedding, or 'input of NAME'; default: what feeds the last linear layer",
    )
    parser.add_argument(
        "--metric", choices=["cosine", "euclidean"], help="with --cases: the distance of embeddings (default: cosine)"
    )
    parser.add_argument("-k", type=int, default=5, help="how many cases for each sample (default: 5)")
    parser.add_argument(
        "--apart", metavar="NAME", help="leave out cases with the sample's own value of this coordinate"
    )
    parser.add_argument("--by", metavar="NAME", help="the coordinate that the page counts (default: label)")
    _method(parser)
    parser.add_argument(
        "--out", type=Path, help="NetCDF file or Zarr store to write: neighbours, and why they are alike"
    )
    parser.add_argument("--report", type=Path, help="write a self-contained HTML page: the first sample and its cases")
    _data(parser)
    _computation(parser)


def report(commands: Any, what: str) -> None:
    """Declare ``tsattr report``, which does `what`."""
    parser = commands.add_parser("report", help=what)
    parser.add_argument("result", type=Path, help="a file that tsattr explain, compare or demo wrote")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    parser.add_argument("--title")


def datasets(commands: Any, what: str) -> None:
    """Declare ``tsattr datasets``, which does `what`."""
    parser = commands.add_parser("datasets", help=what)
    parser.add_argument("name", nargs="?", choices=list(KINDS))
    parser.add_argument("-n", type=int, default=200, help="number of samples, or of months")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="NetCDF file to write")


def _input(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Which model, on which file."""
    parser.add_argument("--input", required=required, help="WFDB record, .nc, .zarr, .npy, .npz or .csv file")
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODULE:FACTORY",
        help="a function without arguments that returns the model, looked for from the working directory; or a TorchScript (.pt, .ts) or pickle (.pkl, .joblib) file with --trust-model",
    )
    parser.add_argument(
        "--weights", type=Path, help="a state_dict (.pt, .pth) or .safetensors file to load into the module"
    )
    parser.add_argument("--trust-model", action="store_true", help="allow a model file that can run code when loaded")
    parser.set_defaults(parts=None)


def _model(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Which model, on which file, and which of its outputs."""
    _input(parser, required=required)
    parser.add_argument(
        "--parts",
        help=f"explain the parts of the signal, which sum to it, along the dim part: {', '.join(names.PARTS)}, such as 'bands([(0.5, 5), (5, 15)])' in Hz",
    )
    parser.add_argument(
        "--target",
        help="an output's index or label, or a target such as 'Region(lat=(-5, 5), lon=(190, 240), lead=0)'; default: the only output, or the predicted class",
    )
    parser.add_argument(
        "--outputs",
        help="names of the output axes, with labels if wanted: class=N,S,V or 'time;class=N,S,V'; an axis called as a dim of the input has its labels. Or a NetCDF file or Zarr store like the outputs, such as the truth, whose labels and units are taken: truth.nc, or truth.nc:name of one variable of several",
    )
    parser.add_argument(
        "--missing",
        choices=list(names.MISSING),
        help="a missing cell is a value like any other, for methods that remove, or invalid: no cell of its sample; default: value in a table under a method that removes, else invalid",
    )


def _method(parser: argparse.ArgumentParser) -> None:
    """Which method, and what it is made of."""
    parser.add_argument("--method", default="IntegratedGradients")
    parser.add_argument("--baseline", help="default: the method's own, Constant(0.0)")
    parser.add_argument("--groups", help="for methods on groups; default: Windows of a tenth of the last dim")
    parser.add_argument("--reference", help="a file of training-like samples, for baselines that are fitted")


def _data(parser: argparse.ArgumentParser) -> None:
    """How files are read."""
    data = parser.add_argument_group("input")
    data.add_argument("--leads", help="leads of a WFDB record, comma separated, in the order the model takes them")
    data.add_argument("--start", type=float, help="seconds")
    data.add_argument("--stop", type=float, help="seconds")
    data.add_argument("--resample", type=float, metavar="HZ")
    data.add_argument("--band", metavar="LOW,HIGH", help="zero-phase band-pass in Hz; either may be empty")
    data.add_argument("--units", help="unit of voltage of a WFDB record's leads, such as mV; others are converted")
    data.add_argument("--annotator", help="annotations of a WFDB record, such as atr; kept as a coordinate")
    data.add_argument("--split", metavar="LENGTH", help="cut time into samples of this length, such as 10s")
    data.add_argument(
        "--dims",
        help="names of the axes of a NumPy array: sample,lead,time. Of NetCDF and Zarr the order that the model takes, role=dim where a dim has another name: sample=time,lag,lat,lon",
    )
    data.add_argument("--variable", help="which variable of a file that holds several; or several, comma separated")
    data.add_argument("--sample-dim", help="the dim that holds the samples (default: sample)")


def _computation(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Where and how to compute; returns the group, for a command's own."""
    group = parser.add_argument_group("computation")
    group.add_argument("--batch-size", type=int)
    group.add_argument("--device")
    group.add_argument(
        "--dtype",
        default="float32",
        choices=["float32", "float64"],
        help="dtype of the input, whole numbers too (default: float32)",
    )
    group.add_argument("--seed", type=int, default=0)
    group.add_argument(
        "--no-check", action="store_false", dest="check", help="do not try the model on some rows before the work"
    )
    return group
