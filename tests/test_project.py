"""What the files beside the package say of it is what pyproject.toml says."""

import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import tsattr

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] == tsattr.__version__
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert (citation["abstract"], citation["keywords"]) == (PROJECT["description"], PROJECT["keywords"])
    (author,) = citation["authors"]
    assert f"Copyright (c) 2026, {author['name']}\n" in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", [".pre-commit-config.yaml", "CONTRIBUTING.md", ".ci/run"])
def test_the_checks_are_the_same_for_people_commits_and_ci(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert all(command in text for command in ("ruff check", "ruff format --check", "mypy"))


def test_the_least_pytest_is_the_one_that_is_tried():
    (needed,) = [w for w in map(Requirement, PROJECT["optional-dependencies"]["test"]) if w.name == "pytest"]
    assert str(needed.specifier) == f">={SETTINGS['tool']['pytest']['ini_options']['minversion']}"
