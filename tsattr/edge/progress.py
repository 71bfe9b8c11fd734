"""How far a call is: rows done of rows known of, as a bar or told to a function."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def reported(
    progress: bool | Callable[[int, int], None], total: int, what: str
) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Two callbacks: rows done, and rows to come. The total grows as a refining method learns what it needs."""
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress is True, False or a callable given (rows done, rows known of), got {progress!r}")
    known = done = 0

    def expect(rows: int) -> None:
        nonlocal known
        known += rows

    if progress is False or progress is None:
        yield (lambda rows: None), expect
        return
    bar = None
    if progress is True:
        from tqdm.auto import tqdm

        bar = tqdm(total=total, unit="row", unit_scale=True, desc=what)

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if bar is not None:
            bar.total = max(total, known)
            bar.update(rows)
        elif callable(progress):
            progress(done, max(total, known))

    try:
        yield advance, expect
    finally:
        if bar is not None:
            bar.total = max(done, 1)
            bar.close()
