"""What is tried as the lowest versions is what pyproject.toml allows."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TOOLS = {"ruff", "mypy", "pytest-xdist"}  # no test needs them


def versions(lines, operator):
    """Version by name, of the lines that have one of this operator."""
    parts = [(wanted.name, bound) for wanted in map(Requirement, lines) for bound in wanted.specifier]
    return {name: Version(bound.version) for name, bound in parts if bound.operator == operator}


def test_the_lowest_versions_are_the_floors():
    lines = (line.partition("#")[0].strip() for line in (ROOT / ".ci/lowest.txt").read_text().splitlines())
    tried = versions(filter(None, lines), "==")
    needed = [*PROJECT["dependencies"], *EXTRAS["dask"], *EXTRAS["zarr"], *EXTRAS["parts"], *EXTRAS["test"]]
    floors = {name: floor for name, floor in versions(needed, ">=").items() if name not in TOOLS}
    assert floors == tried
    for name, floor in versions(EXTRAS["bench"], ">=").items():
        assert floor == tried.get(name, floor)
