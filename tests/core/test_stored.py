"""Fitted networks in files."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from tsattr.core import baselines as b

VALUES = np.random.default_rng(0).normal(size=(6, 2, 5))
LABELS = {
    "text": np.array(["a", "ö"]),
    "objects": np.array(["heart rate", 7], dtype=object),
    "numbers": np.array([0.1, 1e-300]),
    "dates": pd.date_range("2000-01-01", periods=2).values,
    "none": None,
}


def fitted(labels, kind=b.Generator):
    coords = {} if labels is None else {"feature": labels}
    settings = {"horizon": 2} if kind is b.Generator else {}
    return kind.fit(xr.DataArray(VALUES, coords, ("sample", "feature", "time")), epochs=1, hidden=2, **settings)


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("kind", [b.Generator, b.JointGenerator])
def test_what_is_read_is_what_was_written(name, kind, tmp_path):
    law = fitted(LABELS[name], kind)
    law.save(tmp_path / "law.npz")
    before = torch.get_rng_state()
    again = kind.load(tmp_path / "law.npz")
    assert torch.equal(before, torch.get_rng_state())
    assert again == law
    assert hash(again) == hash(law)
    assert repr(again) == repr(law)
    for part in ("weights", "losses", "shift"):
        assert again.fitted[part].tobytes() == law.fitted[part].tobytes()
    assert os.listdir(tmp_path) == ["law.npz"]


def test_the_file_is_plain(tmp_path):
    path = tmp_path / "law"  # the name is kept as it is
    fitted(LABELS["objects"]).save(path)
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
        header = json.loads(str(file["header"]))
    assert header["settings"] == {"horizon": 2, "hidden": 2, "dim": "time", "draw": True}
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "law.npz"
    law = fitted(None)
    law.save(path)
    kept = path.read_bytes()
    pairs = np.empty(2, dtype=object)
    pairs[:] = [(1, 2), (3, 4)]
    other = fitted(None)
    other.fitted.arrays["shift"].coords["feature"] = pairs
    with pytest.raises(TypeError, match=r"labels of dim 'feature' cannot be saved.*\(1, 2\)"):
        other.save(path)

    def broken(file, **parts):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OSError, match="no space"):
        law.save(path)
    assert path.read_bytes() == kept
    assert os.listdir(tmp_path) == ["law.npz"]


def test_a_file_of_another_kind(tmp_path):
    fitted(None).save(tmp_path / "law.npz")
    with pytest.raises(ValueError, match="holds 'Generator', not a JointGenerator"):
        b.JointGenerator.load(tmp_path / "law.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    with pytest.raises(ValueError, match="holds 'no baseline', not a Generator"):
        b.Generator.load(tmp_path / "other.npz")
