"""Warnings name the line of who asked, and are said once where several calls would repeat them."""

import importlib.util
import sys
import warnings

import numpy as np
import pytest

import tsattr as ta
from tsattr.edge.warning import ExplanationWarning, said_once, tell


def test_the_line_is_the_users_however_deep_the_warning_arises():
    x = np.random.default_rng(0).normal(size=(30, 3))
    far = ta.IntegratedGradients(ta.baselines.Constant(9.0))
    with pytest.warns(ExplanationWarning, match="outside the observed range") as caught:
        ta.explain(lambda x: x.sum(1), x, far)
    with pytest.warns(ExplanationWarning, match="far: the constant baseline") as nested:
        ta.compare(lambda x: x.sum(1), x, {"far": far}, steps=2, subsets=3, resamples=10, metrics=["gap"])
    assert {w.filename for w in (*caught, *nested)} == {__file__}


def test_a_package_whose_name_begins_alike_is_a_users(tmp_path, monkeypatch):
    place = tmp_path / "tsattr_mine.py"
    place.write_text("from tsattr.edge.warning import tell\n\n\ndef f():\n    tell('so it is')\n")
    monkeypatch.setattr(sys.modules["tsattr.edge.warning"], "_PACKAGE", f"{tmp_path}/tsattr/")
    spec = importlib.util.spec_from_file_location("tsattr_mine", place)
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    with pytest.warns(ExplanationWarning, match="so it is") as caught:
        mine.f()
    assert caught[0].filename == str(place)


def test_the_same_words_are_said_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with said_once():
            for text in ("one", "two", "one"):
                tell(text)
        tell("one")
    assert [str(w.message) for w in caught] == ["one", "two", "one"]
