"""Claims about a model and its maps, judged together: figures with intervals, and what the evidence supports, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from ..metrics import pairs

SUPPORTED, NOT_SUPPORTED, UNKNOWN, NOT_RUN = "supported", "not supported", "cannot be told", "not run"
FEWEST = 6
"""Patients below which nothing is said: all of five on one side come about by chance in 2 x 0.5^5 = 6 % of cases."""


@dataclass(frozen=True)
class Claim:
    """One claim, and the evidence for it.

    Parameters
    ----------
    part, label, claim, method
        Which part of the check, the claim in a word or two and as a sentence, and of whose map ("" of the model alone).
    what
        What the estimate is a number of.
    estimate
        The number.
    interval
        Of a coverage, the ends of its interval; None where there is none.
    n, of
        How many of what the interval is over, such as 12 "patients".
    against
        The number that the interval must not hold: a level of chance, or what counts as nothing.
    side
        On which side of it: "above", "below", or "beyond" it and its negative.
    decided
        The verdict, where another rule than the interval has it.
    reason
        Why nothing can be said; `ran` is False where the part could not be run at all.
    """

    part: str
    label: str
    claim: str
    method: str = ""
    what: str = ""
    estimate: float = np.nan
    interval: Callable[[float], tuple[float, float]] | None = None
    n: int = 0
    of: str = "patients"
    against: float = 0.0
    side: str = "above"
    decided: str = ""
    reason: str = ""
    ran: bool = True

    def ends(self, level: float) -> tuple[float, float]:
        """The interval of this coverage."""
        return (np.nan, np.nan) if self.interval is None else self.interval(level)

    def verdict(self, level: float) -> str:
        """What the evidence supports, where the claim's own interval covers so much."""
        if not self.ran:
            return NOT_RUN
        low, high = self.ends(level)
        if self.reason or self.n < FEWEST or not np.isfinite([low, high, self.estimate]).all():
            return UNKNOWN
        a = self.against
        holds = {"above": low > a, "below": high < a, "beyond": low > a or high < -a}[self.side]
        return self.decided or (SUPPORTED if holds else NOT_SUPPORTED)

    def sentence(self, level: float, verdict: str) -> str:
        """The verdict with its figures, and never more than they say."""
        text = f"{verdict}: {self.claim}" if not self.method else f"{verdict}: {self.claim} (map: {self.method})"
        if np.isfinite(self.estimate):
            low, high = self.ends(level)
            known = np.isfinite([low, high]).all()
            text += f"; {self.what} {self.estimate:.3g}" + (f" [{low:.3g}, {high:.3g}]" if known else ", no interval")
            against = f"{_AGAINST[self.side]} {self.against:.3g}, " if self.against else ""
            text += f", {against}n = {self.n} {self.of if self.n != 1 else self.of.removesuffix('s')}"
        reason = self.reason
        if verdict == UNKNOWN and not reason:
            few = f"fewer than {FEWEST} {self.of} could all be on one side by chance"
            reason = few if self.n < FEWEST else "there is no interval"
        return f"{text}. {reason[:1].upper()}{reason[1:]}." if reason else f"{text}."


_AGAINST = {"above": "chance", "below": "at most", "beyond": "what counts beyond"}


def mean_over(values: ArrayLike, blocks: np.ndarray) -> tuple[float, Callable[[float], tuple[float, float]], int]:
    """The mean over samples, its interval by Student's t over whole blocks, and how many blocks have a value."""
    v = np.asarray(values, float)
    n = len(np.unique(blocks[~np.isnan(v)]))

    def interval(level: float) -> tuple[float, float]:
        _, low, high = pairs.intervals(v, blocks, level=level)
        return float(low), float(high)

    return (float(np.nanmean(v)) if n else np.nan), interval, n


def rate_over(values: ArrayLike, blocks: np.ndarray) -> tuple[float, Callable[[float], tuple[float, float]], int]:
    """A rate, the mean of the blocks' own rates (0 to 1), with the interval of Clopper and Pearson.

    Blocks whose samples differ have a rate in between, and so less scatter than 0 or 1: the interval is then wider than it need be.
    """
    from scipy import stats

    v = np.asarray(values, float)
    known = ~np.isnan(v)
    rates = [float(v[known & (blocks == b)].mean()) for b in np.unique(blocks[known])]
    n, k = len(rates), sum(rates)

    def interval(level: float) -> tuple[float, float]:
        if not n:
            return np.nan, np.nan
        tail = (1 - level) / 2
        low = stats.beta.ppf(tail, k, n - k + 1) if k > 0 else 0.0
        high = stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
        return float(low), float(high)

    return (k / n if n else np.nan), interval, n


def judged(claims: Sequence[Claim], level: float) -> xr.Dataset:
    """The claims as a table, each judged by an interval so wide that all of those that can be judged hold together (Bonferroni)."""
    number = sum(c.ran and c.interval is not None for c in claims)
    together = 1 - (1 - level) / max(1, number)
    verdicts = [c.verdict(together) for c in claims]
    ends = np.array([c.ends(level) for c in claims])
    several = len({c.method for c in claims} - {""}) > 1
    names = [f"{c.method}: {c.label}" if c.method and several else c.label for c in claims]
    return xr.Dataset(
        {
            "verdict": ("claim", verdicts),
            "estimate": ("claim", [c.estimate for c in claims]),
            "low": ("claim", ends[:, 0]),
            "high": ("claim", ends[:, 1]),
            "against": ("claim", [c.against for c in claims]),
            "n": ("claim", [c.n for c in claims]),
            "sentence": ("claim", [c.sentence(level, v) for c, v in zip(claims, verdicts)]),
        },
        {
            "claim": names,
            "part": ("claim", [c.part for c in claims]),
            "method": ("claim", [c.method for c in claims]),
            "what": ("claim", [c.what for c in claims]),
            "of": ("claim", [c.of for c in claims]),
        },
        {"level": level, "judged_together": number, "level_of_each": together},
    )
