"""How far a call is: rows done of rows known of, as a bar or told to a function, and what is left by what was seen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Part:
    """Rows that were announced together, and what those of them took that were asked about: (rows, what a clock said)."""

    expected: int
    batches: list[tuple[int, float]] = field(default_factory=list)

    @property
    def price(self) -> float:
        """Of a row; the first batch of several also loads, tries and prepares."""
        steady = self.batches[1:] or self.batches
        return sum(spent for _, spent in steady) / max(1, sum(rows for rows, _ in steady))


@dataclass
class Parts:
    """What a call asks about, part by part: the intact samples first, then whatever the method needs, at prices of its own."""

    clock: Callable[[], float] = time.perf_counter
    parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = self.clock()

    def expect(self, rows: int) -> None:
        """Rows of a new part."""
        self.parts.append(Part(rows))

    def advance(self, rows: int) -> None:
        """A batch of the newest part is done."""
        if not self.parts:
            self.expect(rows)
        now = self.clock()
        self.parts[-1].batches.append((rows, now - self.last))
        self.last = now

    @property
    def prices(self) -> tuple[float, float]:
        """Of an intact row, and of a row of what follows: each part's price, by how many rows were announced."""
        first, *rest = self.parts
        begun = [part for part in rest if part.batches]
        rows = sum(part.expected for part in begun)
        return first.price, sum(part.expected * part.price for part in begun) / rows if rows else first.price


@dataclass
class Progress:
    """Rows done and known of, and how many there are likely to be.

    Parameters
    ----------
    told
        Called after each batch, and with 0 rows where more is known of those to come.
    total
        The fewest rows.
    """

    told: Callable[[Progress, int], None]
    total: int

    def __post_init__(self) -> None:
        self.parts, self.known, self.done, self.times = Parts(), 0, 0, 1.0

    def expect(self, rows: int) -> None:
        """Rows are about to be asked about."""
        self.known += rows
        self.parts.expect(rows)
        self.told(self, 0)

    def foresee(self, times: float) -> None:
        """A method is likely to ask for so many times its fewest rows."""
        self.times = max(1.0, times)
        self.told(self, 0)

    def advance(self, rows: int) -> None:
        """A batch is done."""
        self.done += rows
        self.parts.advance(rows)
        self.told(self, rows)

    @property
    def sure(self) -> int:
        """Rows that there are at least."""
        return max(self.total, self.known)

    @property
    def likely(self) -> int:
        """Rows that there are likely to be."""
        return max(self.known, round(self.total * self.times))

    @property
    def seconds_left(self) -> float:
        """The rest of what was announced at its own price, and of all others at what those like them have taken."""
        newest, usual = self.parts.parts[-1], self.parts.prices[1]
        waiting = max(0, newest.expected - sum(rows for rows, _ in newest.batches))
        price = newest.price if newest.batches else usual
        return waiting * price + max(0, self.likely - self.done - waiting) * usual


@contextlib.contextmanager
def reported(progress: bool | Callable[[int, int], None], total: int, what: str) -> Iterator[Progress]:
    """What is told of rows done and rows to come, and shows it. The total grows as a refining method learns what it needs."""
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress is True, False or a callable given (rows done, rows known of), got {progress!r}")
    if callable(progress):
        yield Progress(lambda now, rows: progress(now.done, now.sure) if rows else None, total)
    elif not progress:
        yield Progress(lambda now, rows: None, total)
    else:
        with _bar(total, what) as told:
            yield Progress(told, total)


@contextlib.contextmanager
def _bar(total: int, what: str) -> Iterator[Callable[[Progress, int], None]]:
    """A bar, and what moves it."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        """A bar whose remaining time is ours: the rows to come may cost other than those done."""

        rate: float | None = None

        @property
        def format_dict(self) -> dict[str, Any]:
            return {**super().format_dict, **({} if self.rate is None else {"rate": self.rate})}

    bar = Bar(total=total, unit="row", unit_scale=True, desc=what)

    def told(now: Progress, rows: int) -> None:
        bar.total = now.likely
        left = now.seconds_left if now.done else 0
        bar.rate = (now.likely - now.done) / left if left > 0 else None
        bar.update(rows)

    try:
        yield told
    finally:
        bar.total = max(bar.n, 1)
        bar.rate = None
        bar.close()
