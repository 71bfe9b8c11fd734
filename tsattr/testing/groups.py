"""The laws of groups: what is asked of them agrees with their masks, whatever the order of samples and dims."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..core.axes import Axes
from ..core.bound import BoundGroups
from ..core.groups.binding import bind
from ..labels import parsing
from .cases import example
from .laws import Laws, Report, Seen, same_values, settings_are_frozen

LAWS = Laws("groups")
law = LAWS.law


@dataclass(frozen=True)
class GroupsCase:
    """Groups, and the labelled input that they are bound to."""

    groups: Any
    x: xr.DataArray
    sample_dim: str = "sample"
    tolerance: float = 1e-12

    @property
    def name(self) -> str:
        """The groups, as the user wrote them."""
        return repr(self.groups)

    def axes(self, x: xr.DataArray | None = None) -> Axes:
        """The axes of the input, or of another."""
        return parsing.read(self.x if x is None else x, None, self.sample_dim, None).variables[0].axes

    @cached_property
    def bound(self) -> BoundGroups:
        """The groups on the input."""
        return bind(self.groups, self.axes())

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Samples, and the cells of one."""
        return self.axes().samples, *self.axes().shape

    @cached_property
    def masks(self) -> np.ndarray:
        """Bool (samples, groups, *event), by one mask for one row: what all else is compared with."""
        return masks_of(self.bound, self.shape)

    @property
    def position(self) -> torch.Tensor:
        """Rows: each sample, the last first, and one of them twice."""
        return torch.tensor([*reversed(range(self.shape[0])), 0])

    def random(self, *shape: int) -> torch.Tensor:
        """Numbers that are always the same."""
        return torch.as_tensor(np.random.default_rng(0).normal(size=shape))


def masks_of(bound: BoundGroups, shape: tuple[int, ...]) -> np.ndarray:
    """Bool (samples, groups, *event): the mask of each group of each sample, asked for one by one."""
    one = [[bound.mask(torch.tensor([i]), torch.tensor([k])) for k in range(len(bound.names))] for i in range(shape[0])]
    return np.stack([[np.broadcast_to(mask[0].numpy(), shape[1:]) for mask in masks] for masks in one])


@law(
    "settings are frozen",
    "Write @dataclass(frozen=True) above the class, with every setting a field that its repr shows.",
)
def frozen(case: GroupsCase) -> str | None:
    """Settings of groups are frozen, comparable, printable and picklable."""
    return settings_are_frozen(case.groups)


@law("every group has a name of its own", "`names` is a list of one text for each group, no two alike.")
def names(case: GroupsCase) -> None:
    """The bound groups' `names` are unlike texts."""
    found = case.bound.names
    if odd := [name for name in found if not isinstance(name, str)]:
        raise Seen(f"the name {odd[0]!r}, which is no text")
    if twice := [name for name in found if found.count(name) > 1]:
        raise Seen(f"{twice[0]!r} names {found.count(twice[0])} groups")


@law(
    "masks are boolean and of the input's shape",
    "mask(position, k) gives bool (rows, *event), of size 1 along dims that are taken whole.",
)
def mask(case: GroupsCase) -> None:
    """``mask`` gives one row for each of its arguments, of the event's shape or broadcasting to it, and True somewhere."""
    for k in range(len(case.bound.names)):
        found = case.bound.mask(case.position, torch.full_like(case.position, k))
        if found.dtype != torch.bool:
            raise Seen(f"mask gives {found.dtype} for group {k}")
        sizes = tuple(found.shape)
        whole = (len(case.position), *case.shape[1:])
        if len(sizes) != len(whole) or any(n not in (1, m) for n, m in zip(sizes, whole)):
            raise Seen(f"mask gives shape {sizes} for group {k} of {whole[0]} rows; it is {whole}, or 1 along a dim")
        if not case.masks[:, k].any():
            raise Seen(f"group {k}, {case.bound.names[k]!r}, has no cell in any sample")


@law(
    "a mask depends on its own row",
    "mask(position, k) looks at position[r] and k[r] for row r alone; position is a sample's place in the whole input.",
)
def rows(case: GroupsCase) -> None:
    """``mask(position, k)[r] == mask(position[r], k[r])``, for rows of several samples and groups at once."""
    n, size = case.masks.shape[:2]
    pairs = list(itertools.product(reversed(range(n)), range(size)))
    position, k = (torch.tensor(column) for column in zip(*pairs))
    found = case.bound.mask(position, k).expand(len(pairs), *case.shape[1:])
    same_values("mask of several rows", found, case.masks[position, k], 0)


@law("count agrees with the masks", "count(cells, position) is the number of True cells in each group, (rows, groups).")
def count(case: GroupsCase) -> None:
    """``count[r, k] = sum_i mask_k[r, i] cells[r, i]``."""
    masks, cells = case.masks[case.position], case.random(len(case.position), *case.shape[1:]) > 0
    found = case.bound.count(cells, case.position)
    if found.dtype.is_floating_point:
        raise Seen(f"count gives {found.dtype}, where whole numbers are expected")
    axes = tuple(range(2, masks.ndim))
    same_values("count", found, (masks & cells.numpy()[:, None]).sum(axes), 0)


@law("total agrees with the masks", "total(values, position) is the sum of the values over each group, (rows, groups).")
def total(case: GroupsCase) -> None:
    """``total[r, k] = sum_i mask_k[r, i] values[r, i]``."""
    masks, values = case.masks[case.position], case.random(len(case.position), *case.shape[1:])
    axes = tuple(range(2, masks.ndim))
    expected = np.where(masks, values.numpy()[:, None], 0).sum(axes)
    same_values("total", case.bound.total(values, case.position), expected, case.tolerance)


@law(
    "spread agrees with the masks",
    "spread(values, position, mean=...) gives each cell the mean or the sum over its groups, and NaN where it has none.",
)
def spread(case: GroupsCase) -> None:
    """A cell's mean (or sum) over the groups that cover it; NaN in no group."""
    masks = case.masks[case.position]
    inside = masks.reshape(*masks.shape[:2], -1)
    values = case.random(len(masks), 2, masks.shape[1])
    for mean in (True, False):
        found = case.bound.spread(values, case.position, mean=mean).expand(len(masks), 2, *case.shape[1:])
        weighted = np.einsum("rtk,rkc->rtc", values.numpy(), inside.astype(float))
        cover = inside.sum(1)[:, None]
        expected = np.where(cover == 0, np.nan, weighted / np.maximum(cover, 1) if mean else weighted)
        same_values(f"spread(mean={mean})", found, expected.reshape(found.shape), case.tolerance)


@law(
    "union agrees with the masks",
    "union(absent, position) is True in any of the groups that `absent` (rows, groups) names.",
)
def union(case: GroupsCase) -> None:
    """``union[r, i] = any_k absent[r, k] mask_k[r, i]``; nothing for no group."""
    masks = case.masks[case.position]
    absent = case.random(len(masks), masks.shape[1]) > 0
    absent[0] = False
    found = case.bound.union(absent, case.position).expand(len(masks), *case.shape[1:])
    chosen = absent.numpy().reshape(*absent.shape, *[1] * (masks.ndim - 2))
    same_values("union", found, (masks & chosen).any(1), 0)


@law(
    "a hull holds its group",
    "hull(position, k) gives start and size, inside the input, of a box that holds group k; or None.",
)
def hull(case: GroupsCase) -> str | None:
    """No cell of a group lies outside its hull, and no hull outside the input."""
    position = case.position
    for k in range(len(case.bound.names)):
        box = case.bound.hull(position, torch.full_like(position, k))
        if box is None:
            return "its boxes are found from the masks"
        start, size = (np.asarray(v) for v in box)
        same_values("the shape of a hull", [*start.shape, *size.shape], [len(position), len(case.shape) - 1] * 2, 0)
        if (start < 0).any() or (start + size > case.shape[1:]).any():
            raise Seen(f"the hull of group {k} goes beyond the input, from {start.tolist()} by {size.tolist()}")
        for r, inside in enumerate(case.masks[position, k]):
            at = tuple(slice(a, a + n) for a, n in zip(start[r].tolist(), size[r].tolist()))
            if inside.sum() != inside[at].sum():
                raise Seen(f"group {k} has cells outside its hull, from {start[r].tolist()} by {size[r].tolist()}")
    return None


@law("order holds each group once", "`order` is a permutation of 0 .. groups - 1.")
def order(case: GroupsCase) -> None:
    """`order` is a permutation of the groups."""
    same_values("order, sorted", np.sort(case.bound.order), np.arange(len(case.bound.names)), 0)


@law(
    "shared groups are the same in all samples",
    "Leave `shared` False where a group's cells differ from sample to sample.",
)
def shared(case: GroupsCase) -> str | None:
    """Where `shared` is True, ``mask_k`` is that of the first sample."""
    if not case.bound.shared:
        return "they do not say that they are shared"
    same_values("mask", case.masks, np.broadcast_to(case.masks[:1], case.masks.shape), 0)
    return None


@law(
    "permuting dims permutes the groups",
    "Find dims by their names, axes.axis(dim), not by their places; `order` numbers the groups whatever the order of the dims.",
)
def dims(case: GroupsCase) -> None:
    """The groups of a transposed input, taken in `order`, are the transposed groups taken in `order`."""
    event = [str(d) for d in case.x.dims if d != case.sample_dim]
    x = case.x.transpose(*reversed(event), case.sample_dim)
    other = bind(case.groups, case.axes(x))
    if len(other.names) != len(case.bound.names):
        raise Seen(f"{len(other.names)} groups of the transposed input, where {len(case.bound.names)} are expected")
    back = [0, 1, *reversed(range(2, 2 + len(event)))]
    found = masks_of(other, (case.shape[0], *reversed(case.shape[1:])))[:, other.order]
    same_values("mask of the transposed input", found.transpose(back), case.masks[:, case.bound.order], 0)


def check_groups(
    groups: Any,
    x: xr.DataArray | None = None,
    *,
    sample_dim: str = "sample",
    tolerance: float = 1e-12,
    laws: Iterable[str] | None = None,
    exempt: Mapping[str, str] | None = None,
) -> Report:
    """Check that groups keep the laws that all groups do.

    Whatever is asked of them is compared with their masks, one row and one group at a time:
    ``count[r, k] = sum_i mask_k[r, i] cells[r, i]``, and so on.

    Parameters
    ----------
    groups
        An object of settings with ``bind(axes)``, or bound groups.
    x
        A labelled example that they fit, two samples or more, without missing values; by default signals of shape
        (4 samples, 3 leads, 12 times).
    sample_dim
        The dim that holds its samples.
    tolerance
        How far sums may be off, as a share of the largest value: rounding in float64.
    laws
        The names of the laws to check; None for all.
    exempt
        Laws that are not checked, each with the reason, which the report repeats.

    Returns
    -------
    Report
        A mapping from the name of each law to "holds", or to "does not apply: " and why.

    Raises
    ------
    LawBroken
        The first law that does not hold, with what was seen and how it is mended.

    Examples
    --------
    >>> import tsattr as ta
    >>> report = ta.testing.check_groups(ta.groups.Windows(time=4, lead=1))
    >>> report["spread agrees with the masks"], set(report.values())
    ('holds', {'holds'})
    """
    case = GroupsCase(groups, example(x, sample_dim, 2), sample_dim, tolerance)
    return LAWS.check(case, laws, exempt)
