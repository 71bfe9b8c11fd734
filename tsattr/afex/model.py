"""Fitting the additive model: mains, steps, pairs, nets, then one solve for everything."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import attention, nets, pairs
from .atoms import Bins, step_beside, step_gains
from .basis import FIXED, INNER, RANK, Feature, Nets
from .chance import State, needed
from .design import CELLS, All, Design, with_ones
from .families import Family
from .refit import loosened, replicates
from .rows import spread
from .screen import FOLDS, screened
from .solve import Problem, Solution
from .surfaces import Surface
from .terms import POOLED, Additive, groups, joint_columns, main_groups

FEWEST = 60
"""Distinct rows below which no nets are trained: there is nothing to choose the step by."""
MANY = 50
"""Rows a feature from which each straight part has a penalty of its own, which can put it out."""
SCALED = 20
"""Most times that a loss is given another scale in one solve."""
SCREENED = 5
"""Rows a feature below which only those features have terms that forward selection takes, or that act in a pair."""
HINT = 0.05
"""Chance of what a pair's surface leaves below which more nets are tried; the rows held out decide."""
BENT = 0.4
"""The same for a surface of two features at once, which is found sooner."""
MOST_NETS, BETTER = 8, 0.99
"""Most nets of a feature, and the share of the loss that four times as many, or a surface, must come to, on the rows held out, to be kept."""
MOST_STEPS = 24
"""Most steps of one feature."""
LOOSENED = 5000
"""Rows up to which classifiers choose the share of their penalties by cross-validation."""
ROUNDING = 8 * np.finfo(float).eps
"""Outcomes that differ by no more than this share of their size are one value."""
LEAST = 1e-4
"""Share of the loss of the constant that a step or a pair must take off, however little noise there is."""


@dataclass(frozen=True)
class Settings:
    """What the estimators' parameters of the same names say."""

    n_nets: int = 2
    hidden: int = 16
    max_epochs: int = 150
    attention: str = "least_squares"
    interactions: Any = "auto"
    heredity: bool = False
    purify: str = "marginals"
    bags: int = 25
    validation_fraction: float = 0.15
    atoms: bool = True


class Fitter:
    """The state of a fit: what the terms are made of so far, and the solution for them."""

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        w: np.ndarray,
        family: Family,
        levels: Sequence[int],
        directions: Sequence[int],
        settings: Settings,
        rng: np.random.Generator,
    ):
        self.x, self.y, self.w, self.family, self.settings, self.rng = x, y, w, family, settings, rng
        self.atoms = settings.atoms and settings.attention == "least_squares"
        self.features = [
            Feature.fit(x[:, j], w, levels=levels[j], direction=directions[j], atoms=self.atoms)
            for j in range(x.shape[1])
        ]
        self.kept: dict[int, np.ndarray] | None = {} if x.size * (1 + RANK) <= CELLS else None
        self.varied = np.array([self.own(j).any() for j in range(x.shape[1])], bool)
        self.hidden: dict[int, Feature] = {}
        if len(y) >= 2 * FOLDS and w.sum() < SCREENED * self.varied.sum():
            self.screen()
        self.pooled = (
            POOLED
            if w.sum() < MANY * sum(self.varied[j] for j, f in enumerate(self.features) if f.used)
            else ("missing",)
        )
        self.pairs: list[tuple[int, int]] = []
        self.dropped: list[tuple[int, int]] = []
        self.surfaces: dict[tuple[int, int], Surface] = {}
        self.penalties: dict[Hashable, float] = {}
        self.solution: Solution | None = None

    def fit(self) -> Additive:
        """All stages."""
        if self.constant():
            self.solution = self.problem().level()
            return self.finished()
        self.solve()
        if self.atoms:
            self.add_steps()
        else:
            self.train()
        self.add_pairs()
        if self.atoms and self.pairs:
            self.add_steps()  # those that the pairs' part hid
            self.add_edges()
        if self.pairs:
            self.train()
        self.solve(final=True)
        if self.settings.attention == "least_squares":
            if self.settings.interactions == "auto" and self.drop():
                self.solve(final=True)
            if not self.family.dispersion and len(self.x) <= LOOSENED:
                assert self.solution is not None
                self.solution = loosened(self.problem(), self.solution)
        return self.finished()

    def constant(self) -> bool:
        """Whether all outcomes are the same but for rounding: then nothing is to be explained."""
        return bool((np.ptp(self.y, axis=0) <= ROUNDING * np.abs(self.y).max(0)).all())

    # Which features have terms.

    def screen(self) -> None:
        """Hide the features of which neither the straight part and levels, nor the leading bends predict."""
        blocks, of = [], []
        for j in np.flatnonzero(self.varied).tolist():
            bends = self.features[j].kinds == "spline"
            parts = (self.own(j)[:, ~bends & (self.features[j].kinds != "ramp")], self.own(j)[:, bends][:, :INNER])
            blocks += [part for part in parts if part.shape[1]]
            of += [j for part in parts if part.shape[1]]
        constant = np.tile(self.family.start(self.y, self.w), (len(self.y), 1))
        shown = {of[i] for i in screened(blocks, self.family.slopes(constant, self.y)[0], self.w)}
        for j in set(range(len(self.features))) - shown:
            self.hidden[j] = self.features[j]
            self.put(j, replace(self.features[j], used=False))

    def show(self, features: Iterable[int]) -> None:
        """Give features that were hidden their functions."""
        for j in self.hidden.keys() & set(features):
            self.put(j, self.hidden.pop(j))

    # The columns and their penalties.

    def put(self, j: int, feature: Feature) -> None:
        """Change a feature's functions."""
        self.features[j] = feature.settled(self.x[:, j], self.w)
        if self.kept is not None:
            self.kept.pop(j, None)

    def own(self, j: int, rows: slice | np.ndarray = All) -> np.ndarray:
        """The columns of a feature, for some rows; they are kept where the table is not large."""
        if self.kept is None:
            return self.features[j].columns(self.x[rows, j])
        if j not in self.kept:
            self.kept[j] = self.features[j].columns(self.x[:, j])
        return self.kept[j][rows]

    def first(self, j: int) -> int:
        """The place of a feature's first coefficient."""
        return 1 + sum(len(f.kinds) for f in self.features[:j])

    def matrix(self, rows: slice | np.ndarray = All) -> np.ndarray:
        """All columns (n, m): the features' own, then each pair's products."""
        own = [self.own(j, rows) for j in range(len(self.features))]
        return np.concatenate([*own, *(self.joint(p, rows) for p in self.pairs)], axis=1)

    def joint(self, pair: tuple[int, int], rows: slice | np.ndarray = All) -> np.ndarray:
        """The columns of a pair."""
        a, b = pair
        features, x = (self.features[a], self.features[b]), (self.x[rows, a], self.x[rows, b])
        return joint_columns(features, self.surfaces.get(pair), x, (self.own(a, rows), self.own(b, rows)))

    def keys(self) -> list[Hashable]:
        """The name of each column's group."""
        return groups(self.features, self.pairs, self.surfaces, self.pooled)

    def signs(self) -> np.ndarray:
        """Columns whose coefficients must not be negative."""
        mains = [np.full(len(f.kinds), f.direction != 0) & (f.kinds != "missing") for f in self.features]
        return np.concatenate([*mains, np.zeros(len(self.keys()) - sum(map(len, mains)), bool)])

    def grouped(self, keys: list[Hashable]) -> tuple[list[Hashable], np.ndarray, np.ndarray]:
        """The distinct groups, the number of each column's, and the penalties to start from."""
        names = list(dict.fromkeys(keys))
        number = {name: i for i, name in enumerate(names)}
        rows = self.w.sum()
        start = np.array([self.penalties.get(name, 0.1 * rows) for name in names])
        return names, np.array([number[k] for k in keys], int), start

    def problem(self) -> Problem:
        """What the coefficients of the columns so far solve."""
        _, number, _ = self.grouped(self.keys())
        design = Design(self.matrix, len(self.x), len(number))
        return Problem(design, self.y, self.w, self.family, number, self.signs())

    def solve(self, *, final: bool = False) -> Solution:
        """The coefficients of the columns so far, with their penalties; the final ones give every group a chance again."""
        names, _, start = self.grouped(self.keys())
        if final:
            start = np.minimum(start, self.w.sum())
        if self.settings.attention == "least_squares":
            self.solution = self.problem().solve(start, exact=final)
            self.adapt(final)
        else:
            self.solution = attention.Scores(self.matrix(), self.y, self.w, self.settings.attention).solution(
                self.family
            )
        self.penalties.update(zip(names, self.solution.penalty))
        return self.solution

    def adapt(self, final: bool) -> None:
        """Settle a loss that has a scale of its own, which is that of the residuals."""
        for _ in range(SCALED):
            assert self.solution is not None
            family = self.family.adapted(self.solution.eta, self.y, self.w)
            if family == self.family:
                break
            self.family = family
            self.solution = self.problem().solve(self.solution.penalty, start=self.solution.coef, exact=final)

    def state(self) -> State:
        """The fit so far."""
        assert self.solution is not None
        return State(self.family, self.solution.eta, self.y, self.w, self.solution.dispersion)

    def least(self) -> float:
        """The gain that is worth a term."""
        assert self.solution is not None
        constant = np.tile(self.family.start(self.y, self.w), (len(self.y), 1))
        return LEAST * 2 * float(self.w @ self.family.loss(constant, self.y)) / self.solution.dispersion

    # Steps.

    def numeric(self) -> list[int]:
        """Features with thresholds."""
        return [j for j, f in enumerate(self.features) if f.varied and f.used and not f.levels]

    def add_steps(self) -> None:
        """Add the best step of every feature while chance does not explain it, then move or drop each."""
        bins = {j: self.bins(j) for j in self.numeric()}
        tests = sum(len(b.thresholds) for b in bins.values())
        enough = max(needed(tests, self.y.shape[1]), self.least())
        for _ in range(MOST_STEPS):
            state, found = self.state(), False
            for j, b in bins.items():
                t = self.best_step(j, b, state, enough)
                if t is not None and t not in self.features[j].steps:
                    self.put(j, replace(self.features[j], steps=np.sort(np.append(self.features[j].steps, t))))
                    found = True
            if not found:
                break
            self.solve()
        settled = {j: self.settled_steps(j, b, enough) for j, b in bins.items() if len(self.features[j].steps)}
        for j, steps in settled.items():
            self.put(j, replace(self.features[j], steps=steps))
        if settled:
            self.solve()

    def bins(self, j: int, most: int = 1024) -> Bins:
        """Cells of a numeric feature, in its standardised values."""
        known = ~np.isnan(self.x[:, j])
        return Bins.of(self.features[j].standard(np.where(known, self.x[:, j], 0)), known, self.w, most)

    def best_step(
        self,
        j: int,
        bins: Bins,
        state: State,
        enough: float,
        but: int | None = None,
        back: np.ndarray | None = None,
    ) -> float | None:
        """The threshold with the largest gain beside the feature's columns `but` one, whose part is put `back`.

        None where that gain is not `enough`.
        """
        if not len(bins.thresholds):
            return None
        f = self.features[j]
        beside = np.flatnonzero(f.kinds != "missing")
        if but is not None:
            beside = beside[beside != but]
        penalty = np.array([self.penalties[k if k in self.pooled else (k, j)] for k in f.kinds[beside]])
        penalty = penalty / state.dispersion
        smooth = self.own(j)[:, beside]
        gain = step_gains(bins, state.score, smooth, penalty, self.w, back)
        if f.direction:
            gain = np.where(f.direction * bins.above(state.score.gradient).sum(1) > 0, gain, 0.0)
        t = int(gain.argmax())
        if gain[t] <= enough:
            return None
        step = step_beside(bins, t, state.score, smooth, penalty)
        return float(bins.thresholds[t]) if state.gain(step, 0.0 if back is None else back) > enough else None

    def settled_steps(self, j: int, bins: Bins, enough: float) -> np.ndarray:
        """Where a feature's steps belong when each is put back to the residual, without those that gain too little."""
        assert self.solution is not None
        f, state = self.features[j], self.state()
        first, kept = self.first(j), []
        for column in np.flatnonzero(f.kinds == "step").tolist():
            part = self.own(j)[:, column, None] * self.solution.coef[first + column]
            t = self.best_step(j, bins, state, enough, column, part)
            if t is not None:
                kept.append(t)
        return np.unique(kept)

    # Pairs.

    def allowed(self) -> np.ndarray:
        """Pairs that may be selected, bool (p, p)."""
        free = np.array([f.direction == 0 for f in self.features], bool) & self.varied
        allowed = np.outer(free, free) & ~np.eye(len(free), dtype=bool)
        if self.settings.heredity:
            spread = np.array([np.sqrt((self.main(j) ** 2).sum(1).mean()) for j in range(len(free))])
            active = spread > 0.01 * max(spread.max(initial=0), 1e-300)
            allowed &= np.outer(active, active)
        for a, b in [*self.pairs, *self.dropped]:
            allowed[a, b] = allowed[b, a] = False
        return allowed

    def main(self, j: int) -> np.ndarray:
        """A feature's own contribution (n, outputs)."""
        assert self.solution is not None
        first = self.first(j)
        return self.own(j) @ self.solution.coef[first : first + len(self.features[j].kinds)]

    def add_pairs(self) -> None:
        """Take the pairs asked for, or round by round those that chance does not explain."""
        wanted = self.settings.interactions
        if not isinstance(wanted, str | int):
            self.pairs = [(min(p), max(p)) for p in wanted]
            self.show(j for p in self.pairs for j in p)
            self.solve()
            return
        most = 5 * len(self.features) if wanted == "auto" else int(wanted)
        chosen = self.rows(pairs.ROWS)
        known = dict(enumerate(self.features)) | self.hidden
        views = [pairs.View.of(f, self.x[chosen, j], self.w[chosen]) for j, f in sorted(known.items())]
        tests = 2 * int(np.triu(self.allowed(), 1).sum())
        while len(self.pairs) < most:
            found = pairs.ranked(views, self.state()[chosen], self.allowed(), most)
            if wanted == "auto":
                found = [c for c in pairs.significant(found, tests) if c.gain > self.least()]
            if not found:
                break
            before = self.pairs
            self.pairs = sorted([*before, *(c.pair for c in found[: most - len(before)])])
            self.show(j for p in self.pairs for j in p)
            self.solve()
            if wanted == "auto" and self.drop():
                self.solve()
            if set(self.pairs) <= set(before):
                break

    def rows(self, most: int) -> np.ndarray:
        """Some rows, evenly spread over the outcomes."""
        return np.unique(np.linspace(0, len(self.x) - 1, min(most, len(self.x))).astype(int))

    def add_edges(self) -> None:
        """Add steps at thresholds beyond which a pair's surface is another."""
        numeric = set(self.numeric())
        bins = {j: self.bins(j, most=256) for j in {i for p in self.pairs for i in p} & numeric}
        views = {j: pairs.View.of(self.features[j], self.x[:, j], self.w) for p in self.pairs for j in p}
        sides = [(a, b) for p in self.pairs for a, b in (p, p[::-1]) if a in bins]
        tests = 2 * sum(len(bins[a].thresholds) for a, _ in sides)
        for _ in range(MOST_STEPS):
            state, best = self.state(), (0.0, -1, 0.0)
            for a, b in sides:
                for cells in self.cells(b, views[b]):
                    enough = max(needed(tests, cells.shape[1] * self.y.shape[1]), self.least())
                    t, gain = pairs.best_edge(bins[a], cells, state, enough)
                    margin = gain - enough
                    if margin > best[0] and bins[a].thresholds[t] not in self.features[a].steps:
                        best = (margin, a, float(bins[a].thresholds[t]))
            if best[1] < 0:
                break
            feature = self.features[best[1]]
            self.put(best[1], replace(feature, steps=np.sort(np.append(feature.steps, best[2]))))
            self.solve()

    def cells(self, j: int, view: pairs.View) -> list[np.ndarray]:
        """Divisions of a feature's range: cells of equal weight, and those between its steps."""
        steps = self.features[j].steps
        if not len(steps):
            return [view.cells]
        known = ~np.isnan(self.x[:, j])
        place = np.searchsorted(steps, self.features[j].standard(np.where(known, self.x[:, j], 0)))
        return [view.cells, ((place[:, None] == np.arange(len(steps) + 1)) & known[:, None]).astype(float)]

    # Nets.

    def train(self) -> None:
        """Train the nets of all numeric features, beside the columns so far."""
        own = [j for j in self.numeric() if not self.features[j].direction]
        if self.atoms:
            own = [j for j in own if any(j in pair for pair in self.pairs)]
        if not own or not self.settings.n_nets or len(self.x) < FEWEST:
            return
        held = spread(len(self.x), self.settings.validation_fraction, self.rng)
        number, least = self.settings.n_nets, np.inf
        while True:
            found, loss = self.trained(own, number, held)
            if loss > BETTER * least:
                break
            for j, net in zip(own, found):
                self.put(j, replace(self.features[j], nets=net))
            if not self.surfaces:
                self.bend(own, held)
            number, least = 4 * number, loss
            if number > MOST_NETS or not self.unfinished(HINT):
                break

    def step(self, keys: list[Hashable], signs: np.ndarray) -> attention.Step:
        """A step of training with columns of these groups, of which the first have signs."""
        _, groups, penalty = self.grouped(keys)
        return attention.Step(self.y, self.w, self.family, self.settings.attention, groups, penalty, signs)

    def trained_keys(self, own: list[int], number: int) -> list[Hashable]:
        """The groups of all columns while so many nets of each feature are trained."""

        def inner(j: int) -> int:
            """Columns of a feature that take part in products."""
            f = self.features[j]
            return int(np.isin(f.kinds[f.inner], FIXED).sum()) + (number if j in own else 0)

        mains = main_groups(self.features, self.pooled)
        bent = [("surface", p) for p, surface in self.surfaces.items() for _ in range(surface.table.shape[2])]
        new = [("net", j) for j in own for _ in range(number)]
        both = [("pair", (a, b)) for a, b in self.pairs for _ in range(inner(a) * inner(b))]
        return [*mains, *bent, *new, *both]

    def trained(self, own: list[int], number: int, held: np.ndarray) -> tuple[list[Nets], float]:
        """So many nets of each feature, and their loss on the rows `held` out."""
        now = list(self.features)
        for j in own:
            self.put(j, replace(self.features[j], nets=None))
        step = self.step(self.trained_keys(own, number), self.signs()[: sum(len(f.kinds) for f in self.features)])
        found = nets.train(
            lambda rows: self.inputs(own, rows),
            len(own),
            self.w,
            held,
            step,
            nets=number,
            hidden=self.settings.hidden,
            steps=self.settings.max_epochs,
            rng=self.rng,
        )
        for j in own:
            self.put(j, now[j])
        return found

    def unfinished(self, hint: float) -> list[tuple[int, int]]:
        """The pairs that have no surface and leave more of their cells than chance explains, but for a chance of `hint`."""
        if not self.pairs or self.settings.attention != "least_squares":
            return []
        self.solve()
        rows = self.rows(pairs.ROWS)
        views = {j: pairs.View.of(self.features[j], self.x[rows, j], self.w[rows]) for p in self.pairs for j in p}
        bound, state = float(np.log(hint)), self.state()[rows]
        tried = [pairs.tried(views[a].cells, views[b].cells, state, bound) for a, b in self.pairs]
        return [
            p
            for p, (gain, chance) in zip(self.pairs, tried)
            if chance < bound and gain > self.least() and p not in self.surfaces
        ]

    def bend(self, own: list[int], held: np.ndarray) -> None:
        """Add surfaces to the pairs of features with nets, where rows `held` out show that they are better."""
        for pair in self.unfinished(BENT):
            if set(pair) <= set(own):
                before = self.held_loss(held)
                self.surfaces[pair] = self.surface(pair, held)
                if self.held_loss(held) > BETTER * before:
                    del self.surfaces[pair]
                self.solve()

    def held_loss(self, held: np.ndarray) -> float:
        """The loss on the rows `held` out when the columns so far are solved for without them."""
        rows = self.rows(pairs.ROWS)
        z, y, w, out = self.matrix(rows), self.y[rows], self.w[rows], held[rows]
        _, number, start = self.grouped(self.keys())
        coef = Problem(z[~out], y[~out], w[~out], self.family, number, self.signs()).solve(start, exact=False).coef
        return float(np.average(self.family.loss(with_ones(z[out]) @ coef, y[out]), weights=w[out]))

    def surface(self, pair: tuple[int, int], held: np.ndarray) -> Surface:
        """A surface of a pair, trained beside its mains and what all other terms say."""
        assert self.solution is not None
        u = np.column_stack([self.features[j].standard(self.x[:, j]) for j in pair])
        turn = np.argsort((self.w * self.y.sum(1)) @ np.nan_to_num(u))  # whatever the order of the features
        known = ~np.isnan(u)
        coef = self.solution.coef[1:][[name == ("pair", pair) for name in self.keys()]]
        both = Design(lambda rows: self.joint(pair, rows), len(u), len(coef))
        rest = self.solution.eta - both.times(np.pad(coef, ((1, 0), (0, 0))))
        fixed = np.concatenate([rest, *(self.own(j) for j in pair)], axis=1)
        keys = ["rest"] * rest.shape[1] + [("own", j) for j in pair for _ in self.features[j].kinds]
        plane = nets.train_plane(
            lambda rows: nets.Inputs(np.where(known, u, 0)[rows][:, turn], known[rows], fixed[rows], []),
            self.w,
            held,
            self.step([*keys, *["plane"] * nets.FOLDED], np.zeros(0, bool)),
            steps=2 * self.settings.max_epochs,
            rng=self.rng,
        )
        return Surface.of(replace(plane, weight=plane.weight[:, turn]), u, self.w)

    def inputs(self, own: list[int], rows: np.ndarray) -> nets.Inputs:
        """What the nets' columns are made of."""
        x = self.x[rows][:, own]
        known = ~np.isnan(x)
        u = np.column_stack([self.features[j].standard(v) for j, v in zip(own, np.where(known, x, 0).T)])
        place = {j: q for q, j in enumerate(own)}
        z = [self.own(j, rows) for j in range(len(self.features))]
        bent = [
            surface(*(self.features[j].standard(self.x[rows, j]) for j in p)) for p, surface in self.surfaces.items()
        ]

        def side(j: int) -> tuple[np.ndarray, int]:
            f = self.features[j]
            stays = f.inner[np.isin(f.kinds[f.inner], FIXED)]
            return z[j][:, stays], place.get(j, -1)

        return nets.Inputs(
            u * known, known, np.concatenate([*z, *bent], axis=1), [(side(a), side(b)) for a, b in self.pairs]
        )

    # The end.

    def drop(self) -> bool:
        """Drop the pairs that their penalty has put out; whether there were any."""
        assert self.solution is not None
        names, _, _ = self.grouped(self.keys())
        freedom = dict.fromkeys(self.pairs, 0.0)
        for name, f in zip(names, self.solution.freedom):
            if isinstance(name, tuple) and name[0] in ("pair", "surface"):
                freedom[name[1]] += f
        out = [p for p, f in freedom.items() if f < 0.5]
        self.pairs = [p for p in self.pairs if p not in out]
        self.surfaces = {p: surface for p, surface in self.surfaces.items() if p not in out}
        self.dropped += out
        return bool(out)

    def finished(self) -> Additive:
        """The purified model with its bootstrap replicates."""
        assert self.solution is not None
        solution, bags = self.solution, self.settings.bags
        draws = self.replicates() if bags else np.zeros((*solution.coef.shape, 0))
        coef = np.concatenate([solution.coef[:, :, None], draws], axis=2)
        ends = np.cumsum([len(f.kinds) for f in self.features]).tolist()
        mains = np.split(coef[1 : 1 + ends[-1]], ends[:-1])
        sizes = [self.joint(p, slice(0, 1)).shape[1] for p in self.pairs]
        joint = np.split(coef[1 + ends[-1] :], np.cumsum(sizes)[:-1]) if sizes else []
        moved = (None,) * len(sizes)
        model = Additive(
            tuple(self.features), tuple(self.pairs), coef[0], tuple(mains), tuple(joint), moved, self.surfaces
        )
        return self.joined(model) if self.settings.purify == "data" and sizes else model

    def replicates(self) -> np.ndarray:
        """Coefficients (1 + m, outputs, bags) under other rows drawn with replacement."""
        assert self.solution is not None
        weights, kind = self.rng.poisson(self.w, (self.settings.bags, len(self.x))), self.settings.attention
        if kind == "least_squares" or self.constant():
            return replicates(self.problem(), self.solution, weights, self.rng)
        z = self.matrix()
        return np.stack([attention.Scores(z, self.y, w, kind).solution(self.family).coef for w in weights], axis=2)

    def joined(self, model: Additive) -> Additive:
        """Pairs made orthogonal to their mains over the data, what they had in common moved into these (Hooker, 2007)."""
        intercept, mains, moved = model.intercept.copy(), [m.copy() for m in model.mains], []
        for (a, b), coef in zip(self.pairs, model.joint):
            base = np.concatenate([np.ones((len(self.x), 1)), self.own(a), self.own(b)], axis=1)
            weighted = base.T * self.w
            surface = np.tensordot(self.joint((a, b)), coef, 1)
            inverse = np.linalg.pinv(weighted @ base, rcond=1e-10, hermitian=True)
            part = np.tensordot(inverse, np.tensordot(weighted, surface, 1), 1)
            intercept += part[0]
            mains[a] += part[1 : 1 + len(mains[a])]
            mains[b] += part[1 + len(mains[a]) :]
            moved.append(part)
        return replace(model, intercept=intercept, mains=tuple(mains), moved=tuple(moved))
