"""Fitted networks in files."""

import io
import json
import os
import tracemalloc
import zipfile

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


def repacked(path, new, method, **changed):
    """A saved baseline whose parts are packed in another way, some of them others."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w", method) as archive:
        for name in old.namelist():
            archive.writestr(name, changed.get(name.removesuffix(".npy"), old.read(name)))
    return new


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path):
    fitted(None).save(tmp_path / "law.npz")
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(10_000_000))
    bomb = repacked(
        tmp_path / "law.npz", tmp_path / "bomb.npz", zipfile.ZIP_DEFLATED, **{"array weights": buffer.getvalue()}
    )
    lie = repacked(
        tmp_path / "law.npz", tmp_path / "lie.npz", zipfile.ZIP_STORED, **{"array weights": buffer.getvalue()[:500]}
    )
    assert bomb.stat().st_size < 1e6
    for path, message in (
        (bomb, "would take 8.* bytes of memory.* not compressed"),
        (lie, "cannot be read as a saved Generator"),
    ):
        tracemalloc.start()
        with pytest.raises(ValueError, match=message):
            b.Generator.load(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
        tracemalloc.stop()


def test_sizes_that_lie_are_refused(tmp_path):
    """The directory says that parts are stored and large, and the file is small."""
    fitted(None).save(tmp_path / "law.npz")
    data = bytearray((tmp_path / "law.npz").read_bytes())
    at = data.index(b"PK\x01\x02")  # of the first part, in the directory
    data[at + 20 : at + 28] = (4_000_000_000).to_bytes(4, "little") * 2
    (tmp_path / "lie.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"would take 4\d+ bytes"):
        b.Generator.load(tmp_path / "lie.npz")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "law.npz"
    fitted(LABELS["text"]).save(path)
    whole = path.read_bytes()
    r = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        data[r.integers(len(data))] ^= 1 << r.integers(8)
        path.write_bytes(data[: r.integers(len(data)) if r.random() < 0.3 else None])
        try:
            law = b.Generator.load(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert law == fitted(LABELS["text"])
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.npz to load a Generator from"):
        b.Generator.load(tmp_path / "gone.npz")
