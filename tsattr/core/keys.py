"""Random numbers that depend on (seed, sample, draw) and on nothing else: not on batches, chunks, device or order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


def sample_ids(labels: np.ndarray | None, n: int) -> np.ndarray:
    """One uint64 for each sample: from its coordinate value where there is one, else from its position.

    Samples of equal labels are numbered in their order, so that each has draws of its own.
    """
    if labels is None:
        return np.arange(n, dtype=np.uint64)
    return _distinct(_of_labels(np.asarray(labels)))


def _of_labels(labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind in "Mm":  # a date is the same sample in whatever unit it is stored
        labels = labels.astype(f"{labels.dtype.kind}8[ns]")
    if labels.dtype.kind in "iuMm":
        return labels.astype(np.int64).view(np.uint64)
    digests = (hashlib.blake2b(repr(v).encode(), digest_size=8).digest() for v in labels.tolist())
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _distinct(ids: np.ndarray) -> np.ndarray:
    """Ids with the second, third, ... of equal ones replaced by a hash of id and rank, so that all are distinct."""
    if len(ids) == 1:
        return ids
    _, number, count = np.unique(ids, return_inverse=True, return_counts=True)
    if (count == 1).all():
        return ids
    order = np.argsort(number, kind="stable")
    rank = np.empty(len(ids), np.int64)
    rank[order] = np.arange(len(ids)) - np.repeat(np.cumsum(count) - count, count)
    out = ids.copy()
    for at in np.flatnonzero(rank):
        digest = hashlib.blake2b(f"{ids[at]}, {rank[at]}".encode(), digest_size=8).digest()
        out[at] = np.frombuffer(digest, np.uint64)[0]
    return out


@dataclass(frozen=True)
class Key:
    """What identifies the random draw of each row.

    Parameters
    ----------
    seed
        The call's seed.
    sample
        uint64 (rows,): identity of each row's sample.
    position
        int64 (rows,): each row's sample as a position in the whole input, for arrays given per sample.
    draw
        int64 (rows,): number of the draw.
    stream
        Number of the independent stream, for several uses of one draw.
    """

    seed: int
    sample: np.ndarray
    position: Tensor
    draw: np.ndarray
    stream: int = 0

    def fork(self, stream: int) -> Key:
        """The same rows with an independent stream of numbers."""
        return replace(self, stream=self.stream * 64 + stream + 1)

    def at(self, rows: Tensor) -> Key:
        """The keys of some rows."""
        where = rows.cpu().numpy()
        return replace(self, sample=self.sample[where], position=self.position[rows], draw=self.draw[where])

    def distinct(self, i: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The first row of each distinct (sample, draw), and for each row which of them is its own; or of each (i, draw)."""
        sample = self.sample if i is None else i.cpu().numpy().astype(np.uint64)
        pairs = np.stack([sample, self.draw.astype(np.uint64)])
        _, first, own = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
        device = self.position.device
        return torch.as_tensor(first, device=device), torch.as_tensor(own.reshape(-1), device=device)

    def rng(self, row: int, *, per_sample: bool = False) -> np.random.Generator:
        """The generator of one row; with `per_sample`, the one that all draws of its sample share."""
        draw = 2**63 if per_sample else int(self.draw[row])
        # As uint64: Philox reads a plain list by way of float64, and labels that differ in their last bits become one.
        counter = np.array([0, 0, draw, self.stream], np.uint64)
        key = np.array([self.seed % 2**64, self.sample[row]], np.uint64)
        return np.random.Generator(np.random.Philox(counter=counter, key=key))

    def rngs(self) -> Iterator[np.random.Generator]:
        """The generator of each row in turn, with the numbers of :meth:`rng`: one that is set anew, in a third of the time.

        The one before is then no more.
        """
        bits = np.random.Philox(counter=0, key=0)
        generator, state = np.random.Generator(bits), bits.state
        counter, key = state["state"]["counter"], state["state"]["key"]
        counter[3], key[0] = self.stream, self.seed % 2**64
        for counter[2], key[1] in zip(self.draw.astype(np.uint64), self.sample):
            bits.state = state
            yield generator

    def each(self, make: Callable[[int], np.ndarray | float], like: Tensor) -> Tensor:
        """Stack ``make(row)`` over the rows, once for each distinct (sample, draw), on the device and dtype of `like`."""
        made: dict[tuple[int, int], int] = {}
        values: list[np.ndarray | float] = []
        index: list[int] = []
        for row, pair in enumerate(zip(self.sample.tolist(), self.draw.tolist())):
            if pair not in made:
                made[pair] = len(values)
                values.append(make(row))
            index.append(made[pair])
        table = torch.as_tensor(np.stack(values)).to(like.device, like.dtype)
        return table if len(values) == len(index) else table[torch.as_tensor(index, device=like.device)]

    def uniform(self, like: Tensor) -> Tensor:
        """U(0, 1) of the shape of `like` (rows, *event), drawn in float64 so that dtype changes no draw."""
        return self.each(lambda row: self.rng(row).random(like.shape[1:]), like)

    def normal(self, like: Tensor) -> Tensor:
        """N(0, 1) of the shape of `like` (rows, *event)."""
        return self.each(lambda row: self.rng(row).standard_normal(like.shape[1:]), like)
