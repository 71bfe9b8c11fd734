"""What the benchmarks share: races by turns, and what counts as slower."""

import json

import pytest

from .benchmarks.__main__ import STORED, slower
from .benchmarks.harness import Ratio, as_json, markdown, race


def test_contenders_run_by_turns_and_the_first_turn_is_not_counted():
    now, ran = [0.0], []

    def takes(name, seconds):
        def run():
            ran.append(name)
            now[0] += 100 if len(ran) <= 2 else seconds[(len(ran) - 3) // 2]
            return name

        return run

    ratios, found = race(
        {"bare": takes("bare", [1, 2, 4]), "tsattr": takes("tsattr", [2, 2, 12])}, 3, clock=lambda: now[0]
    )
    assert ran == ["tsattr", "bare", "bare", "tsattr", "tsattr", "bare", "bare", "tsattr"]
    assert ratios["tsattr"] == Ratio(seconds=2, ratio=2, low=1, high=3)
    assert ratios["bare"] == Ratio(seconds=2, ratio=1, low=1, high=1)
    assert found == {"bare": "bare", "tsattr": "tsattr"}


def table(**ratios):
    return as_json({name: {"tsattr": Ratio(1.0, r, 0.99 * r, 1.01 * r)} for name, r in ratios.items()})


@pytest.mark.parametrize(("now", "expected"), [(1.02, []), (1.2, []), (1.3, ["a"]), (0.5, [])])
def test_slower_is_a_ratio_that_grew(now, expected):
    assert slower(table(a=now, b=1.0), table(a=1.0, b=1.0, c=1.0)) == expected


def test_a_ratio_that_varies_as_much_is_no_regression():
    noisy = as_json({"a": {"tsattr": Ratio(1.0, 1.4, 0.9, 1.6)}})
    assert slower(noisy, table(a=1.0)) == []


def test_the_stored_table_says_where_it_was_measured():
    stored = json.loads(STORED.read_text())
    assert {"python", "processor", "torch", "tsattr", "threads"} <= set(stored["machine"])
    assert all({"bare", "tsattr"} <= set(row) for row in stored["table"].values())


def test_the_table_reads_as_one():
    text = markdown({"a row": {"bare": Ratio(0.5, 1, 1, 1), "tsattr": Ratio(0.6, 1.2, 1.1, 1.3)}}, {"torch": "2.6"})
    assert "| a row | tsattr | 0.6 | 1.20 (1.10-1.30) |" in text
    assert text.endswith("torch 2.6\n")
