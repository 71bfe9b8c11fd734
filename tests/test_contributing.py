"""CONTRIBUTING.md says what is so: its examples run, its picture shows the rooms that there are, its paths exist."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from tsattr.core.evaluation import removals
from tsattr.core.samples import SampleChunk

from .test_layers import FILES, LAYERS, room_of

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# Each block of Python by the heading above it.
EXAMPLES = {
    section.partition("\n")[0]: block
    for section in re.split(r"^#+ ", TEXT, flags=re.MULTILINE)
    for block in re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
}
ROOMS = {room_of(name) for name in FILES if name != "tsattr"}


def test_there_is_an_example_of_each():
    assert list(EXAMPLES) == ["A method", "A baseline", "Groups", "A target", "A metric", "An evaluation"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_stands(name, tmp_path, monkeypatch):
    monkeypatch.setattr(removals, "EVALUATIONS", ())  # and put back afterwards
    monkeypatch.syspath_prepend(tmp_path)
    module = "example_of_" + name.lower().replace(" ", "_")
    (tmp_path / f"{module}.py").write_text(EXAMPLES[name], encoding="utf-8")
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0
    assert found.attempted or "\nassert " in EXAMPLES[name]


def test_the_picture_shows_the_rooms_by_layer():
    picture = re.search(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]
    drawn = [set(line.split("│")[1].split()) for line in picture.splitlines() if line.startswith("│")]
    assert drawn[::-1] == [rooms & ROOMS for rooms in LAYERS]
    assert len({len(line) for line in picture.splitlines()[:-1]}) == 1


def test_each_room_has_its_sentence():
    house = TEXT.partition("## How the house is built")[2].partition("###")[0]
    heads = re.findall(r"^- (`.*?`): ", house, re.MULTILINE)
    assert sorted(re.findall(r"`(.*?)`", " ".join(heads))) == sorted(ROOMS)


def test_the_paths_that_it_names_exist():
    named = set(re.findall(r"`((?:[\w.]+/)*[\w.]+\.(?:py|md|txt))`", TEXT)) | set(
        re.findall(r"`((?:tests|tsattr)/\S+?)`", TEXT)
    )
    assert len(named) > 20
    assert [path for path in named if not any((ROOT / top / path).exists() for top in ("", "tsattr"))] == []


def test_the_verbs_of_samples_that_it_names_exist():
    named = set(re.findall(r"`(?:samples|SampleChunk)\.(\w+)", TEXT))
    assert {"without", "record_state", "engine"} <= named <= {*dir(SampleChunk), *SampleChunk.__annotations__}
