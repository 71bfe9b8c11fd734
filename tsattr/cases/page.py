"""A record and the cases that the model holds to be most like it, as pictures on one page."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from .. import ecg, io
from ..labels.tables import as_pandas
from ..plot.shade import symmetric_limit
from ..report import markup, sections, words
from ..report.markup import number, percent
from ..report.material import Input, all_inputs, of_samples, sample_name, sample_positions, with_sample_dim
from ..report.pictures import one_picture
from . import neighbours, search, stored
from .alike import OF_CASE
from .contents import UNCERTAINTY
from .gallery import Gallery
from .neighbours import NEIGHBOUR
from .stored import CASE

_COLOURS = "Orange makes the two more alike to the model, blue less"
_SIMILARITY = {
    "cosine": "The cosine of the angle between the two embeddings: 1 where they point the same way, 0 where they have nothing in "
    "common. The distance is 1 minus it.",
    "euclidean": "Minus the squared distance between the two embeddings: 0 where they are the same, else below. The distance is "
    "the root of its size.",
}
_LIMITS = (
    "Alike means alike to this model: what it ignores may differ, and likeness is no evidence of a shared cause or diagnosis.",
    "There is always a nearest case. Whether it is near is told by its distance beside those within the gallery.",
    "The gallery holds the cases that were put into it. A kind of case that is not there cannot be found.",
)
_UNCERTAIN = f"case_{UNCERTAINTY}"
_WIDE = 7.5  # inches: two pictures that are wider go below each other
_COMPARED = 1000  # cases of the gallery that say how near a nearest case is


def page(
    ds: xr.Dataset,
    q: Any,
    gallery: Gallery,
    *,
    by: str | None = None,
    samples: Sequence[Any] | None = None,
    title: str = "This record and the cases most like it",
    notes: str | Iterable[str] | None = None,
    out: str | os.PathLike[str] | None = None,
) -> str:
    """Draw records beside the cases that the model holds to be most like them, each shaded by why, as one HTML page.

    Parameters
    ----------
    ds : Dataset
        What ``gallery.why(q, near)`` returned.
    q : DataArray, Dataset, DataFrame or array
        The queries, as they were given to it.
    gallery : Gallery
        The gallery. Where it does not keep its cases, the records alone are drawn.
    by : str, optional
        The coordinate of the cases that is counted; by default ``label``, where there is one.
    samples : sequence, optional
        Labels (else positions) of the records to draw; by default the first alone.
    title : str
        Heading of the page.
    notes : str or iterable of str, optional
        Your own remarks, printed first among the notes.
    out : path, optional
        File to write, whole or not at all.

    Returns
    -------
    str
        The page. It loads nothing from anywhere; its pictures are part of it. All text is escaped.

    Raises
    ------
    TypeError, ValueError
        `ds` is not what `Gallery.why` returns, of these queries and this gallery; no coordinate `by`; unknown samples; `out`
        cannot be written.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> x = np.array([[1.0, 0.5], [2.0, 2.0], [0.0, 3.0]])
    >>> gallery = ta.cases.Gallery.fit(lambda x: x, x, labels=["a", "b", "b"], metric="euclidean")
    >>> ds = gallery.why(x[:1] + 0.25, gallery.nearest(x[:1] + 0.25, k=2))
    >>> "1 of them a, 1 b" in page(ds, x[:1] + 0.25, gallery)
    True
    """
    if not isinstance(ds, xr.Dataset) or "distance" not in ds or not any(map(_is_map, ds.data_vars)):
        raise ValueError("ds is what gallery.why(q, near) returns: neighbours, and why they are alike")
    ds, q = with_sample_dim(ds, as_pandas(q))
    neighbours.check_gallery(ds, gallery.data)
    q = _asked(ds, q)
    by = _counted(ds, by)
    records = [_Record(ds, q, gallery, i, by) for i in ([0] if samples is None else sample_positions(ds, samples))]
    pairs = _pairs(ds)
    own = [notes] if isinstance(notes, str) else list(notes or [])
    leads = {str(v) for v in ds["lead"].values} if "lead" in ds.coords else set()
    limbs = len(leads & set(ecg.LIMB_LEADS)) > 2
    standard = words.notes(pairs, clinical="lead" in ds.dims, limb_leads=limbs, truth=False)
    pages = [
        f"<header><h1>{markup.escape(title)}</h1></header>",
        f'<section class="short" aria-label="In short">{markup.bullets(r.in_short() for r in records)}</section>',
        *[markup.section(f"Record {r.name}", *r.parts()) for r in records],
        markup.section("How to read it", markup.terms(_terms(ds, pairs, gallery))),
        markup.section("Checks", *_checks(pairs)),
        markup.section("What can and cannot be concluded", markup.bullets([*own, *_LIMITS, *standard])),
        markup.section("Settings and versions", sections.settings(ds, q)),
    ]
    made = f"Made by tsattr on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. This page loads nothing from the network."
    text = markup.page(title, "\n".join(part for part in pages if part), made)
    if out is not None:
        io.write_text(text, out)
    return text


def _asked(ds: xr.Dataset, q: Any) -> Any:
    """The queries that were explained; ValueError for others."""
    q = of_samples(q, ds)
    n = q.sizes["sample"] if _labelled(q) and "sample" in q.dims else len(q)
    if n != ds.sizes["sample"]:
        raise ValueError(
            f"q has {n} samples, and ds explains {ds.sizes['sample']}; give the queries that were explained"
        )
    return q


def _is_map(name: Any) -> bool:
    return str(name).startswith("attribution")


def _counted(ds: xr.Dataset, by: str | None) -> str | None:
    """The coordinate of the cases that is counted; ValueError where it is not there."""
    known = [str(name).removeprefix("case_") for name in ds.data_vars if str(name).startswith("case_")]
    if by is None:
        return "label" if "label" in known else None
    if by not in known:
        raise ValueError(f"by={by!r} is no coordinate of the cases; they have {known}")
    return by


class _Record:
    """One record and its neighbours."""

    def __init__(self, ds: xr.Dataset, q: Any, gallery: Gallery, i: int, by: str | None) -> None:
        self.ds, self.gallery, self.by = ds.isel(sample=[i]), gallery, by
        self.q = q.iloc[[i]] if isinstance(q, pd.DataFrame) else q.isel(sample=[i]) if _labelled(q) else q[[i]]
        self.name = sample_name(ds, i)
        self.there = np.flatnonzero(self.ds["position"].values[0] >= 0)

    def in_short(self) -> str:
        """What its neighbours are, in two sentences."""
        if not len(self.there):
            return f"Record {self.name} has no case near it: it has no embedding, or all cases were left out."
        near = self.ds.distance.values[0, self.there]
        where = f"the case most like it lies at a {self.gallery.metric} distance of {number(near[0])}"
        if len(near) > 1:
            where = (
                f"the {len(near)} cases most like it lie at {self.gallery.metric} distances from {number(near[0])} to "
            )
            where += number(near[-1])
        return f"Record {self.name}: {where}{self._labels()}. {_how_near(self.gallery, near[0])}"

    def _labels(self) -> str:
        """How many of its neighbours have which label, and its own."""
        if self.by is None:
            return ""
        counts = Counter(_text(v) for v in self.ds[f"case_{self.by}"].values[0, self.there])
        (first, most), *others = counts.most_common()
        said = ", ".join([f"; {most} of them {first}", *[f"{m} {label}" for label, m in others]])
        own = self.ds[self.by].values[0] if self.by in self.ds.coords else None
        return said if own is None else f"{said} (the record itself: {_text(own)})"

    def parts(self) -> list[str]:
        """Its table of neighbours, and a pair of pictures for each."""
        parts = [self._table()]
        for j in self.there:
            here = self.ds.isel({NEIGHBOUR: [j]})
            parts.append(markup.heading(self._heading(here)))
            parts.append(markup.paragraph(self._likeness(here)))
            parts += self._pictures(here)
        return parts

    def _table(self) -> str:
        labels = [str(name) for name in self.ds.data_vars if str(name).startswith("case_")]
        rows = [
            (
                str(self.ds[NEIGHBOUR].values[j]),
                _text(self.ds.case.values[0, j]),
                number(float(self.ds.distance[0, j]), 4),
                *[_text(self.ds[name].values[0, j]) for name in labels],
            )
            for j in self.there
        ]
        head = ("", "case", f"{self.gallery.metric} distance", *[name.removeprefix("case_") for name in labels])
        return markup.table(f"The cases most like record {self.name}, nearest first", head, rows)

    def _heading(self, here: xr.Dataset) -> str:
        label = "" if self.by is None else f", {self.by} {_text(here[f'case_{self.by}'].item())}"
        return f"{here[NEIGHBOUR].item()}. Case {_text(here.case.item())}{label}"

    def _likeness(self, here: xr.Dataset) -> str:
        """The similarity of the two, and what it would be with a baseline in the place of either."""
        said = f"Similarity ({here.attrs.get('target', 'of the embeddings')}): {number(here.prediction.item(), 4)}"
        own = here.get(f"prediction{OF_CASE}", here.prediction).item()
        if not np.isclose(own, here.prediction.item(), rtol=1e-5, atol=1e-5, equal_nan=True):
            said += f", and {number(own, 4)} by the model's own embedding of the case"
        each = {"record": "reference", "case": f"reference{OF_CASE}"}
        beside = [
            f"{number(here[name].item(), 4)} in the place of the {who}" for who, name in each.items() if name in here
        ]
        said += f"; with the baseline {' and '.join(beside)}." if beside else "."
        uncertain = float(here[_UNCERTAIN].item()) if _UNCERTAIN in here else 0.0
        if uncertain:
            said += (
                f" The case's embedding is transformed from an earlier model's: the model's own is to be expected at a distance of "
                f"{number(uncertain)} from it."
            )
        return said

    def _pictures(self, here: xr.Dataset) -> list[str]:
        """The record and the case side by side, on one scale of colours."""
        flat = here.squeeze(NEIGHBOUR, drop=True)
        left = all_inputs(_side(flat, ""), self.q, None)
        right: list[Input | None] = [None] * len(left)
        if stored.is_kept(self.gallery.data) and any(str(name).endswith(OF_CASE) for name in flat.data_vars):
            x, _ = stored.restore(self.gallery.data, here["position"].values[:, 0], "sample")
            right = list(all_inputs(_side(flat, OF_CASE), x, None))
        out = []
        for one, other in zip(left, right):
            both = [(f"Record {self.name}", one)] + (
                [] if other is None else [(f"Case {_text(here.case.item())}", other)]
            )
            limit = symmetric_limit(np.concatenate([p.attribution.values.astype(float).ravel() for _, p in both]))
            drawn = [_drawn(part, one.signal.name, limit) for _, part in both]
            shown = [
                markup.picture(figure, text, text)
                for (who, part), (figure, caption) in zip(both, drawn)
                for text in [f"{who}{', ' * bool(part.name)}{part.name}. {caption}"]
            ]
            wide = any(figure.get_figwidth() > _WIDE for figure, _ in drawn)
            out += shown if wide else [markup.side_by_side(*shown)]
        return out


def _drawn(part: Input, name: Any, limit: float) -> tuple[Figure, str]:
    """The picture of a record or a case, and its caption; both are called as the record is."""
    map_ = part.attribution if part.by_lag is None else part.by_lag
    map_, signal = (a.isel(sample=0, drop=True) for a in (map_, part.signal))
    return one_picture(map_, signal.rename(name), None, limit=limit, colours=_COLOURS)


def _labelled(q: Any) -> bool:
    return isinstance(q, xr.DataArray | xr.Dataset)


def _text(value: Any) -> str:
    """A label as a reader wants it."""
    if isinstance(value, float | np.floating):
        return number(float(value), 6)
    return str(value)


def _side(ds: xr.Dataset, of: str) -> xr.Dataset:
    """The result of the records (""), or of the cases under the names that a result has."""
    if not of:
        return ds.drop_vars([name for name in ds.data_vars if str(name).endswith(OF_CASE)])
    own = ds[[name for name in ds.data_vars if str(name).endswith(OF_CASE)]]
    back = {name: str(name).removesuffix(OF_CASE) for name in (*own.dims, *own.coords, *own.data_vars)}
    gone = [
        name
        for name in own.coords
        if str(name) in back.values() and str(name) != "sample" and f"{name}{OF_CASE}" in own.coords
    ]
    return own.drop_vars(gone).rename({name: new for name, new in back.items() if new != name})


def _pairs(ds: xr.Dataset) -> xr.Dataset:
    """Each pair, from both sides, as a sample of one result: what checks of results read."""
    kept = [n for n in ("prediction", "reference", "completeness_gap", "completeness_error") if n in ds]
    sides = [of for of in ("", OF_CASE) if f"status{of}" in ds]
    found = {n: [ds[n + of].values.ravel() for of in sides] for n in [*kept, "status"]}
    names = [f"{sample_name(ds, i)} ~ {_text(case)}" for i, row in enumerate(ds.case.values) for case in row]
    who = [name + " (of the case)" * (of == OF_CASE) for of in sides for name in names]
    flat = xr.Dataset({n: ("sample", np.concatenate(v)) for n, v in found.items()}, {"sample": who}, ds.attrs)
    return flat.isel(sample=np.flatnonzero(flat.status.values != "no case"))


def _checks(pairs: xr.Dataset) -> list[str]:
    verdict, bad = words.completeness_verdict(pairs)
    by_state: dict[str, list[str]] = {}
    for name, state in zip(pairs["sample"].values, pairs["status"].values):
        by_state.setdefault(str(state), []).append(str(name))
    trouble = words.status_sentences(by_state)
    return [
        markup.paragraph(verdict, bad) if verdict else "",
        markup.bullets(trouble or ["Every pair was explained without trouble (status “ok”)."]),
    ]


def _how_near(gallery: Gallery, distance: float) -> str:
    """How near a nearest case is, beside the nearest other case of each case of the gallery."""
    a = gallery.embedding
    n = len(a)
    some = np.unique(np.linspace(0, n - 1, min(n, _COMPARED)).astype(int))
    _, usual = search.nearest(a, a[some], 1, metric=gallery.metric, kin=[(np.arange(n), some)])
    usual = usual[np.isfinite(usual)]
    if not len(usual):
        return ""
    return (
        f"Of the gallery's own cases {percent(float((usual >= distance).mean()))} are at least as far from the case most like them "
        f"(half of them within {number(float(np.median(usual)))})."
    )


def _terms(ds: xr.Dataset, pairs: xr.Dataset, gallery: Gallery) -> list[tuple[str, str, str]]:
    layer = str(ds.attrs.get("layer", ""))
    part = [
        row for row in words.call_terms(pairs, pairs.sizes["sample"], "") if row[0] not in ("Model", "Target", "Input")
    ]
    return [
        (
            "Gallery",
            f"{gallery.data.sizes[CASE]} cases, {len(gallery.embedding[0])} numbers each, as the model sees them; left out: "
            f"{ds.attrs.get('left_out', 'nothing')}.",
            "",
        ),
        (
            "Embedding",
            "What the model makes of a record on the way to its answer.",
            f"{gallery.data.attrs.get('model', '')} {layer}",
        ),
        ("Similarity", _SIMILARITY[gallery.metric], ""),
        (
            "Shading",
            "The parts by which the two agree: what the similarity owes to each cell of the record, with the case held fixed; and to "
            "each cell of the case, with the record held fixed. Both have one scale of colours.",
            "",
        ),
        *_update(gallery),
        *part,
    ]


def _update(gallery: Gallery) -> list[tuple[str, str, str]]:
    """What a reader needs of a gallery that was carried over to the model."""
    if UNCERTAINTY not in gallery.data.coords:
        return []
    moved = int((gallery.data[UNCERTAINTY] != 0).sum())
    return [
        (
            "Uncertainty",
            f"Of the gallery's cases {moved} were embedded by an earlier model, and their embeddings transformed into what this one "
            "would make of them. How far that may be off is their uncertainty, a distance like those of the neighbours; 0 is a case "
            "that the model itself embedded. A difference of distances below it says little.",
            str(gallery.data.attrs.get("updates", "")),
        )
    ]
