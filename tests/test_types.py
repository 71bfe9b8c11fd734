"""What a type checker makes of a user's file: the installed package says its types, and finds what is written wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tsattr as ta

pytest.importorskip("mypy", reason="the type checker is not installed (extra: test)")

# torch, scikit-learn and matplotlib are taken as of any type: reading theirs takes longer than all else.
SETTINGS = """
[mypy]
strict = true
[mypy-torch.*,sklearn.*,scipy.*,matplotlib.*,wfdb.*]
follow_imports = skip
ignore_missing_imports = true
"""

RIGHT = '''
"""An ECG network explained by several methods, a table by shapes."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import tsattr as ta


def network(classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv1d(12, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, classes))


def power(x: Tensor) -> Tensor:
    return torch.square(x).mean((1, 2))[:, None]


def compared(record: Path, train: xr.DataArray) -> xr.Dataset:
    x: xr.DataArray = ta.read_wfdb(record, leads=["I", "II"], band=(0.5, 40.0))
    windows = ta.groups.Windows(time="100ms", step="50ms", lead=1)
    usual = ta.baselines.Samples.fit(train)
    methods = {
        "blur": ta.IntegratedGradients(ta.baselines.Blur(time="200ms"), tolerance=0.01),
        "training": ta.IntegratedGradients(usual, steps=1, draws=40),
        "occlusion": ta.Occlusion(windows, ta.baselines.Bridge()),
        "lags": ta.WinIT("100ms", ta.baselines.Marginal.fit(train), predictions="last"),
    }
    target = ta.targets.Margin(1)
    ds: xr.Dataset = ta.explain(network(3), x, methods["blur"], target=target, outputs={"class": ["a", "b", "c"]})
    scores: xr.Dataset = ta.evaluate(network(3), x, ds, fills={"mean": ta.baselines.Mean()})
    print(scores.attrs, ta.explain(power, x, ta.Saliency(), target=0, dry_run=True).attrs["rows"])
    ta.plot.ecg(x[0], ds.attribution[0]).savefig("ecg.png")
    ta.report.report(ds, x, out="report.html")
    ta.io.write_result(ds, "attribution.nc")
    return ta.compare(network(3), x, methods, target=[target, 2], blocks="patient", seed=1)


def shapes(x: np.ndarray, y: np.ndarray) -> float:
    additive = ta.AFEXRegressor(bags=4, random_state=0).fit(x, y)
    explainer = ta.AFEXExplainer(additive.predict, synthetic=100).fit(x)
    ta.plot.shape(explainer.explain_global(), 0)
    return float(additive.score(x, y)) + float(explainer.fidelity_)
'''

# Each line is refused with the code that stands behind it.
WRONG = """
import tsattr as ta
ta.explian  # attr-defined
ta.plot.egg  # attr-defined
ta.baselines.Blurred  # attr-defined
ta.explain(abs, [1.0])  # call-arg
ta.explain(abs, [1.0], ta.Saliency(), sead=1)  # call-arg
ta.explain(abs, [1.0], ta.Saliency(), batch_size=0.5)  # arg-type
ta.evaluate(abs, [1.0], None)  # arg-type
ta.compare(abs, [1.0], ta.Saliency())  # arg-type
ta.IntegratedGradients(stepz=3)  # call-arg
ta.IntegratedGradients(steps="many")  # arg-type
ta.Saliency().absolute = False  # misc
ta.AFEXRegressor(pears=2)  # call-arg
ta.read_wfdb()  # call-arg
"""

LAZY = [*ta._MODULES, *ta._NAMES]


@pytest.fixture(scope="module")
def findings(tmp_path_factory) -> dict[str, dict[int, str]]:
    """The code of what mypy finds, by file and line."""
    folder = tmp_path_factory.mktemp("user")
    files = {
        "right.py": RIGHT,
        "wrong.py": WRONG,
        "lazy.py": "import tsattr as ta\n" + "\n".join(f"ta.{name}" for name in LAZY),
        "settings.ini": SETTINGS,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", "settings.ini", "right.py", "wrong.py", "lazy.py"]
    run = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(ta.__file__).parents[1])},  # as an installed package is found
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found: dict[str, dict[int, str]] = {name: {} for name in files}
    for file, line, code in re.findall(r"^(\S+):(\d+): error: .*\[([\w-]+)\]$", run.stdout, re.MULTILINE):
        found[file][int(line)] = code
    return found


def test_a_users_file_is_right(findings):
    assert findings["right.py"] == {}


def test_what_is_loaded_when_first_used_is_known(findings):
    assert findings["lazy.py"] == {}


def test_what_is_wrong_is_found_by_its_line(findings):
    lines = enumerate(WRONG.splitlines(), 1)
    assert findings["wrong.py"] == {at: line.split("# ")[1] for at, line in lines if "# " in line}
