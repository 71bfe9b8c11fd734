"""Several models of the same thing, given or made of one network by dropout."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.preserve import temporary_hooks
from ..core.results import check_count


def name_of(model: Any) -> str:
    """The name of a function or class as it was defined; of any other object, that of its class."""
    return getattr(model, "__qualname__", None) or type(model).__qualname__


@dataclass(frozen=True, init=False)
class Ensemble:
    """Several models of the same thing, each explained by itself: ``ta.explain(Ensemble([a, b]), x, method)``.

    The result is the mean of the members' maps with its standard error between them, and how far they agree; see
    `tsattr.edge.members.combine`. For a target of all members together, `tsattr.targets.Uncertainty`, they are asked as
    one model, whose outputs have an axis "member" first, by `explain`, `evaluate` and `compare`; a row is then one of every member.

    Parameters
    ----------
    members
        Models of any kind that `explain` takes, at least two; or a mapping from names to models.

    Examples
    --------
    >>> import numpy as np, tsattr as ta
    >>> double, triple = (ta.models.on_arrays(lambda x, w=w: w * x.sum(1)) for w in (2, 3))
    >>> both = ta.models.Ensemble({"double": double, "triple": triple})
    >>> both.names
    ('double', 'triple')
    """

    members: tuple[Any, ...]
    names: tuple[str, ...]

    def __init__(self, members: Sequence[Any] | Mapping[str, Any]) -> None:
        named = members if isinstance(members, Mapping) else {str(i): m for i, m in enumerate(members)}
        if len(named) < 2:
            raise ValueError(f"an Ensemble has at least two members, got {len(named)}; explain one model as it is")
        if nested := [name for name, m in named.items() if isinstance(m, Ensemble)]:
            raise TypeError(
                f"member {nested[0]!r} is itself an Ensemble; give all of their members as one: [m for e in ensembles for m in e.members]"
            )
        object.__setattr__(self, "members", tuple(named.values()))
        object.__setattr__(self, "names", tuple(map(str, named)))

    def __repr__(self) -> str:
        return f"Ensemble({', '.join(f'{n}: {name_of(m)}' for n, m in zip(self.names, self.members))})"


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def dropout(module: nn.Module, passes: int = 20, seed: int = 0) -> Ensemble:
    """Networks thinned by dropout, as the members of an ensemble: what its training says of the model's uncertainty.

    Each member switches off units of every Dropout module with its probability p, scales the others by 1 / (1 - p), and
    keeps to that: all rows of all batches see one network. Members share the module's weights; the module is left as it
    is. Dropout inside recurrent layers and ``F.dropout`` is not reached. Gal and Ghahramani, ICML 2016.

    Parameters
    ----------
    module
        A torch module with ``nn.Dropout`` (or ``Dropout1d``, ``2d``, ``3d``: whole channels) modules that work on tensors
        with the rows first.
    passes
        Number of members, at least 2.
    seed
        Which units are off depends on it, the member and the module's name alone.

    Raises
    ------
    TypeError, ValueError
        Not a module; no such Dropout module with p > 0 in it.

    Examples
    --------
    >>> import torch, tsattr as ta
    >>> net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    >>> len(ta.models.dropout(net, passes=3).members)
    3
    """
    check_count("passes", passes)
    if not isinstance(module, nn.Module):
        raise TypeError(f"dropout thins a torch module, got {type(module).__name__}")
    if not any(isinstance(m, _DROPOUTS) and m.p > 0 for m in module.modules()):
        raise ValueError(
            f"{type(module).__name__} has no nn.Dropout module with p > 0 to thin it by; F.dropout and the dropout of "
            "recurrent layers are not reached: use nn.Dropout modules, or an Ensemble of models"
        )
    return Ensemble([Thinned(module, (seed % 2**64, number)) for number in range(passes)])


class Thinned(nn.Module):
    """A network in which the same units are off in every call; see :func:`dropout`.

    `entropy` seeds the choice of the units.
    """

    def __init__(self, module: nn.Module, entropy: tuple[int, ...]) -> None:
        super().__init__()
        self.module = module
        self.entropy = entropy

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output without these units."""
        rows = len((*args, *kwargs.values())[0])
        calls: Counter[str] = Counter()

        def thin(name: str, m: nn.Module, output: Tensor) -> Tensor:
            calls[name] += 1
            if len(output) != rows:
                raise ValueError(
                    f"Dropout module {name!r} gets {tuple(output.shape)} for {rows} rows; it must have the rows first, for "
                    "all of them to share a mask"
                )
            return output * self._mask(name, calls[name], m, output)

        hooks = [
            (m, m.register_forward_hook, lambda m, inputs, output, name=name: thin(name, m, output))
            for name, m in self.module.named_modules()
            if isinstance(m, _DROPOUTS)
        ]
        with temporary_hooks(*hooks):
            return self.module(*args, **kwargs)

    def _mask(self, name: str, call: int, m: Any, output: Tensor) -> Tensor:
        """Factors that broadcast to one row of `output`: 0 where a unit (or a channel) is off, else 1 / (1 - p)."""
        shape = output.shape[1:] if isinstance(m, nn.Dropout) else (output.shape[1],) + (1,) * (output.ndim - 2)
        draw = np.random.default_rng([*self.entropy, zlib.crc32(name.encode()), call]).random(shape)
        return torch.as_tensor(np.where(draw < m.p, 0.0, 1 / max(1 - m.p, 1e-300))).to(output)
