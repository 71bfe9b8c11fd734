"""How far off the data each removal is: what a fill puts in the place of a group, against clean windows.

A model that is asked about inputs unlike any it has seen answers for reasons of its own, and an explanation by removal
then explains those. Nothing here says that an explanation is wrong; it says which removals ask such questions.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..axes import Axes
from ..engine import Engine
from ..method import Method
from ..preserve import temporary_hooks
from ..results import Field
from ..samples import SampleChunk
from .detector import FEWEST, MOST, Diagnosis, clean_rows, reference_subset
from .detector import Detector as Detector

_CLASSIFIED = 500  # samples that a classifier is trained on

Features = Callable[[int], np.ndarray | None]


class Shifts:
    """Scores the rows that a method makes when it removes its groups; called with some samples at a time.

    Parameters
    ----------
    detector
        What clean windows are like.
    baseline
        The method's bound baseline.
    groups
        The method's bound groups; None for a method that removes everything at once (the end of a path), which is one
        group.
    draws
        Draws of the baseline to look at: the method's first ones.

    Notes
    -----
    :meth:`__call__` returns ``shift`` (sample, group), the combined distance, and ``shift_diagnostic`` (sample, group,
    diagnostic), means over the draws and NaN for a group without valid cells; beside them ``shift_intact`` (sample), the
    combined distance of the sample as it is. Where that is beyond 1 already, the removal is not to blame. With features
    the model is asked for each row, which counts as an evaluation.

    :meth:`summary` is of all samples so far: ``shift_beyond`` (diagnostic), the share of removals, draw by draw, that lie
    beyond 1; and ``detector_auc``, see :func:`detector_auc`, of each sample against one of its removals, drawn by its key.
    """

    def __init__(self, detector: Detector, baseline: Any, groups: Any = None, draws: int = 1) -> None:
        self.detector, self.baseline, self.groups, self.draws = detector, baseline, groups, draws
        self.names = ["all"] if groups is None else list(groups.names)
        self._beyond = np.zeros((2, len(detector.names)))
        self._pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @classmethod
    def fit(
        cls,
        method: Method,
        reference: np.ndarray,
        parts: Axes | Sequence[tuple[slice, Axes]],
        engine: Engine,
        dtype: torch.dtype,
        *,
        features: bool = True,
    ) -> Shifts:
        """For a bound method with a baseline, the detector fitted to a reference (n, \\*event); see :meth:`Detector.fit`.

        Parameters
        ----------
        method
            Its baseline, its groups and its draws (1 where it has none).
        reference, parts
            As for :meth:`Detector.fit`, with the engine's seed.
        engine, dtype
            What asks the model for the features of clean windows, and the dtype that it takes.
        features
            False for a model that needs more than its input (a context), which a reference lacks.
        """
        rows = clean_rows(reference, [(slice(None), parts)] if isinstance(parts, Axes) else parts)
        used = reference_subset(len(rows), engine.seed)
        event = np.asarray(reference).shape[1:]
        clean = torch.as_tensor(rows[used].reshape(-1, *event), dtype=dtype)
        known = penultimate(engine, clean) if features else None
        gaps = method.setting("baseline").gaps > 0  # what is absent may be missing
        detector = Detector.fit(rows[used], parts, seed=engine.seed, features=known, gaps=gaps)
        return cls(detector, method.setting("baseline"), method.setting("groups"), method.setting("draws") or 1)

    def rows(self) -> int:
        """Rows it asks of the model for each sample, at most."""
        return 0 if self.detector.references.features is None else self.draws * len(self.names)

    def __call__(self, samples: SampleChunk) -> dict[str, Field]:
        """Score the removals of some samples."""
        size, kinds, device = len(self.names), len(self.detector.names), samples.x.device
        present = self._present(samples)
        intact, clean = self._intact(samples)
        chosen = _draw_group(samples, present, self.groups)
        filled = np.full_like(clean, np.nan)
        total = torch.zeros((samples.n, size, kinds), dtype=torch.float64, device=device)
        uses_model = self.detector.references.features is not None
        with feature_recorder(samples.engine.module if uses_model else None) as features:
            for i, draw in samples.draws(self.draws, copies=size):
                j, k = present[i].nonzero(as_tuple=True)
                block = torch.full((len(i), size, kinds), torch.nan, dtype=torch.float64, device=device)
                for at, found in self._diagnoses(samples, i[j], draw[j], k, features):
                    block[j[at], k[at]] = torch.as_tensor(found.diagnostics, device=device)
                    taken = (draw[j[at]] == 0) & (chosen[i[j[at]]] == k[at])
                    filled[i[j[at]][taken].cpu().numpy()] = found.description[taken.cpu().numpy()]
                total.index_add_(0, i, block)
                known = ~torch.isnan(block)
                self._beyond += torch.stack([(block > 1).sum((0, 1)), known.sum((0, 1))]).cpu().numpy()
        some = (chosen >= 0).cpu().numpy()
        self._pairs.append((samples.ids[some], clean[some], filled[some]))
        mean = total / self.draws
        return {
            "shift": Field(("group",), mean[..., 0]),
            "shift_diagnostic": Field(("group", "diagnostic"), mean),
            "shift_intact": Field((), torch.where(chosen >= 0, torch.as_tensor(intact, device=device), torch.nan)),
        }

    def summary(self) -> dict[str, np.ndarray]:
        """``shift_beyond`` (diagnostic) and ``detector_auc`` of all samples so far."""
        beyond, known = self._beyond
        share = np.where(known > 0, beyond / np.maximum(known, 1), np.nan)
        ids, clean, filled = (np.concatenate(p) for p in zip(*self._pairs))
        order = np.argsort(ids, kind="stable")[:_CLASSIFIED]  # whatever the order in which samples came
        return {"shift_beyond": share, "detector_auc": np.array(detector_auc(clean[order], filled[order]))}

    def _present(self, samples: SampleChunk) -> Tensor:
        """Bool (n, groups): True for a group with valid cells."""
        if self.groups is None:
            return samples.valid_cells.flatten(1).any(1, keepdim=True)
        return torch.as_tensor(self.groups.count(samples.valid_cells, samples.position) > 0)

    def _intact(self, samples: SampleChunk) -> tuple[np.ndarray, np.ndarray]:
        """The combined distance (n,) of the intact samples, and their description (n, numbers)."""
        found = [self.detector.diagnose(_numbers(samples.known[at])) for at in _slices(samples.n, samples.engine)]
        return np.concatenate([v.diagnostics[:, 0] for v in found]), np.concatenate([v.description for v in found])

    def _diagnoses(
        self, samples: SampleChunk, i: Tensor, draw: Tensor, k: Tensor, features: Features
    ) -> Iterator[tuple[slice, Diagnosis]]:
        """The detector's diagnosis of the rows without group k, batch by batch."""
        uses_model = self.detector.references.features is not None
        removal = samples.removal(self.groups, self.baseline, i, draw, k)
        rows = samples.x

        def made(at: slice) -> Tensor:
            nonlocal rows
            rows = removal.rows(at)
            return rows.clone() if uses_model else rows  # the model may write into its input

        without_model = ((at, made(at)) for at in _slices(len(i), samples.engine))
        # The model is asked about whole rows, whatever may be cheaper: only then are there features.
        for at, _ in samples.values(i, made) if uses_model else without_model:
            cells = samples.valid_cells[i[at]]
            known = torch.where(cells, rows, torch.nan)
            absent = cells & removal.mask(at)
            yield at, self.detector.diagnose(_numbers(known), absent.cpu().numpy(), features(len(known)))


def _numbers(rows: Tensor) -> np.ndarray:
    return rows.to("cpu", torch.float64).numpy()


def _slices(n: int, engine: Engine) -> Iterator[slice]:
    return (slice(start, min(start + engine.batch_size, n)) for start in range(0, n, engine.batch_size))


def _draw_group(samples: SampleChunk, present: Tensor, groups: Any) -> Tensor:
    """Int64 (n,): one of the present groups of each sample, drawn by its key; -1 where there is none."""
    key = samples.key(samples.indices, torch.zeros_like(samples.indices)).fork(62)
    order = torch.as_tensor(np.zeros(1, int) if groups is None else groups.order, device=samples.x.device)
    present = present[:, order]
    drawn = torch.tensor([key.rng(row).random() for row in range(samples.n)], dtype=torch.float64, device=order.device)
    nth = 1 + (drawn * present.sum(1)).long()
    return torch.where(present.any(1), order[(present.cumsum(1) == nth[:, None]).int().argmax(1)], -1)


def detector_auc(clean: np.ndarray, filled: np.ndarray, folds: int = 5) -> float:
    """Area under the ROC curve of a classifier that tells filled rows from clean ones; 0.5 if it cannot, 1 if it always can.

    Randomised trees (Geurts, Ernst and Wehenkel, 2006) are trained on the coordinates in the principal subspace and the
    diagnostics, and tested on samples that they have not seen. Another classifier may tell more. The shape of a mask can
    give a removal away as well as its values.

    Parameters
    ----------
    clean, filled
        (n, numbers): each sample as it is, and after a removal.
    folds
        Number of folds; both rows of a sample are in the same one.

    Returns
    -------
    The area, or NaN for fewer than 20 samples.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    n = len(clean)
    if n < FEWEST:
        return math.nan
    trees = ExtraTreesClassifier(100, min_samples_leaf=5, random_state=0)
    truth, sample = np.repeat([0, 1], n), np.tile(np.arange(n), 2)
    rows = np.concatenate([clean, filled])
    guess = cross_val_predict(trees, rows, truth, groups=sample, cv=GroupKFold(folds), method="predict_proba")
    return float(roc_auc_score(truth, guess[:, 1]))


@contextlib.contextmanager
def feature_recorder(module: nn.Module | None) -> Iterator[Features]:
    """While it is active the inputs of linear layers are recorded; yields ``features(rows)``.

    That gives the input (rows, features) of the linear layer called last since `features` was called before; None where there
    is none, or where it did not see one row for each of so many. The hooks are gone afterwards, also after an error.
    """
    last: list[Tensor] = []

    def record(_: nn.Module, args: tuple[Any, ...]) -> None:
        last[:] = [args[0].detach().clone()] if args else []

    def features(rows: int) -> np.ndarray | None:
        if not last or last[0].ndim < 2 or len(last[0]) != rows:
            return None
        return _numbers(last.pop().flatten(1))

    linear = [] if module is None else [m for m in module.modules() if isinstance(m, nn.Linear)]
    with temporary_hooks(*((m, m.register_forward_pre_hook, record) for m in linear)):
        yield features


def shift_rows(method: Method, clean: int, module: nn.Module | None) -> tuple[int, int]:
    """The most rows that features ask of the model: for each sample, and for so many `clean` reference samples together."""
    if not _may_have(module):
        return 0, 0
    groups = method.setting("groups")
    return (method.setting("draws") or 1) * (1 if groups is None else len(groups.names)), min(clean, MOST)


def _may_have(module: nn.Module | None) -> bool:
    """True for a model that may have penultimate features."""
    return module is not None and any(isinstance(m, nn.Linear) for m in module.modules())


def penultimate(engine: Engine, rows: Tensor) -> np.ndarray | None:
    """The input of the model's last linear layer, float64 (r, features), at rows (r, \\*event); None without such a layer.

    The last layer is the one called last. The model, left as it was, is asked for each row, batch by batch. It must need
    no context, which rows that are not of the explained samples lack.
    """
    if not _may_have(engine.module):
        return None
    found: list[np.ndarray | None] = []
    position = torch.zeros(len(rows), dtype=torch.int64, device=engine.device)
    engine.expect(len(rows))

    def outputs(at: slice) -> Tensor:
        return engine.outputs(rows[at].to(engine.device, copy=True), position[at])

    with feature_recorder(engine.module) as features:
        for at, _ in engine.values(len(rows), lambda at: None, outputs):
            found.append(features(at.stop - at.start))
    engine.count_trial(len(rows))
    known = [f for f in found if f is not None]
    return np.concatenate(known) if len(known) == len(found) else None
