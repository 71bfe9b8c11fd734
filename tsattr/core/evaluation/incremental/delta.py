"""The object that goes through a model in the place of its input, and stands for rows of which only a box has changed.

`Delta.__torch_function__` sends each operation of the model to its rule. A rule is a function with the signature of the operation,
named by :func:`rule`, that gives a `Delta`, or whole rows where the boxes end; ``NotImplemented`` says that it does not know these
arguments. What has no rule is asked of whole rows, and all that follows goes on densely: never wrong, only slower.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import boxes
from .boxes import Starts
from .tape import Intact, Tape

Func = Callable[..., Any]

RULES: dict[Func, tuple[Func, inspect.Signature, bool]] = {}
NEARLY = 0.75  # share of a row from which on a box is as dear as the row


class Rows:
    """The rows of one call of the model: of which sample each is, on which tape."""

    def __init__(self, tape: Tape, sample: np.ndarray, device: torch.device) -> None:
        self.tape, self.sample, self.device = tape, sample, device
        self.index = boxes.tensor(sample, device)

    def __len__(self) -> int:
        return len(self.sample)


class _Memory:
    """What an activation and the views of it share; stale once it was written into by way of another of them."""

    stale = False


class Delta:
    """Rows (r, ...) that are the intact samples but for a box of each.

    Parameters
    ----------
    rows
        The rows of this call.
    intact
        The same activation of the intact samples.
    axes, start
        The axes along which there are boxes, the first after the rows is 1, and where each row's box begins along each. Along
        the other axes everything may have changed. A box may stick out at the edges; what it holds there means nothing.
    change, new
        The difference to the intact activation in the boxes, or the new values; (r, ...) with the boxes' size along the axes.
    source
        What this is a view of: what is written into one is in the other too, which is then not to be used any more.
    """

    requires_grad = False
    is_sparse = is_quantized = is_nested = is_mkldnn = False
    grad_fn = None

    def __init__(
        self,
        rows: Rows,
        intact: Intact,
        axes: tuple[int, ...],
        start: Starts,
        *,
        change: Tensor | None = None,
        new: Tensor | None = None,
        source: Delta | None = None,
    ) -> None:
        self.rows, self.intact, self.axes, self.start = rows, intact, axes, start
        self._change, self._new = change, new
        self._old: Tensor | None = None
        self.whole_rows: Tensor | None = None  # once something holds a view of them
        self.memory: _Memory = _Memory() if source is None else source.memory

    # ---- what it holds

    @property
    def values(self) -> Tensor:
        """Whichever of the change and the new values there is."""
        found = self._new if self._change is None else self._change
        assert found is not None
        return found

    @property
    def box(self) -> list[int]:
        """The size of the boxes along their axes."""
        return [self.values.shape[a] for a in self.axes]

    @property
    def length(self) -> list[int]:
        """The length of those axes."""
        return [self.intact.cells.shape[a] for a in self.axes]

    @property
    def old(self) -> Tensor:
        """The intact activation in the boxes."""
        if self._old is None:
            self._old = self.window(self.start, self.box)
        return self._old

    @property
    def change(self) -> Tensor:
        """The difference to the intact activation, 0 outside the edges."""
        if self._change is None:
            self._change = boxes.inside(self.new - self.old, self.axes, self.start, self.length)
        return self._change

    @property
    def new(self) -> Tensor:
        """The new values; anything outside the edges."""
        if self._new is None:
            self._new = self.old + self.change
        return self._new

    def window(self, start: Starts, size: Sequence[int], fill: float | None = None) -> Tensor:
        """The intact activation in boxes of the rows; outside the edges `fill`, or anything."""
        found = boxes.cut(self.intact.laid(self.axes), self.rows.sample, start, size, fill)
        return boxes.unlaid(found, self.axes)

    def change_in(self, start: Starts, size: Sequence[int]) -> Tensor:
        """The change in other boxes, which are cut where they do not hold all of it."""
        return boxes.moved(self.change, self.axes, tuple(s - t for s, t in zip(self.start, start)), size)

    def new_in(self, start: Starts, size: Sequence[int]) -> Tensor:
        """The new values in boxes that hold these."""
        if list(size) == self.box and boxes.same(start, self.start):
            return self.new
        return self.window(start, size) + self.change_in(start, size)

    def whole(self) -> Tensor:
        """Whole rows (r, ...), contiguous; the same each time once a view of them is held."""
        if self.whole_rows is not None:
            return self.whole_rows
        at, inner = boxes.places(self.start, self.box, self.length)
        out = self.intact.laid(self.axes).index_select(0, self.rows.index)
        place = np.arange(len(at)).reshape(-1, *[1] * len(self.axes)) * int(np.prod(self.length)) + at
        found, lines = boxes.laid(self.new, self.axes).flatten(0, len(self.axes)), out.flatten(0, len(self.axes))
        if not inner.all():
            kept = np.flatnonzero(inner)
            found, place = found.index_select(0, boxes.tensor(kept, found.device)), place.reshape(-1)[kept]
        lines.index_copy_(0, boxes.tensor(place.reshape(-1), out.device), found)
        return boxes.unlaid(out, self.axes).contiguous()

    # ---- others like it

    def like(self, intact: Intact, **values: Any) -> Delta:
        """Other values in the same boxes."""
        return Delta(self.rows, intact, self.axes, self.start, **values)

    def held(self, values: Tensor) -> dict[str, Any]:
        """Values made of :attr:`values` without arithmetic, as the keyword that says which they are."""
        return {"new" if self._change is None else "change": values}

    def clipped(self) -> Delta:
        """Without the cells of the boxes that no row has inside its edges."""
        start, values = list(self.start), self.values
        for k, (axis, s, n) in enumerate(zip(self.axes, self.start, self.length)):
            w = values.shape[axis]
            low, high = max(0, -int(s.max())), max(0, int(s.min()) + w - n)
            if low + high and low + high < w:
                values = values.narrow(axis, low, w - low - high)
                start[k] = s + low
        if values is self.values:
            return self
        return Delta(self.rows, self.intact, self.axes, tuple(start), **self.held(values))

    def widened(self, axes: Iterable[int]) -> Delta:
        """Whole along some of the axes."""
        gone = [a for a in self.axes if a in set(axes)]
        if not gone:
            return self
        size = [n if a in gone else w for a, w, n in zip(self.axes, self.box, self.length)]
        start = tuple(np.zeros_like(s) if a in gone else s for a, s in zip(self.axes, self.start))
        kept = [k for k, a in enumerate(self.axes) if a not in gone]
        return Delta(
            self.rows,
            self.intact,
            tuple(self.axes[k] for k in kept),
            tuple(start[k] for k in kept),
            change=self.change_in(start, size),
        )

    def become(self, other: Delta) -> Delta:
        """Take the values of another: what was written into this one."""
        self.written()
        for name in ("intact", "axes", "start", "_change", "_new", "_old"):
            setattr(self, name, getattr(other, name))
        return self

    def written(self) -> None:
        """Other views of the same memory are not what they were."""
        self.memory.stale = True
        self.memory = _Memory()

    # ---- what a model asks of a tensor

    @property
    def shape(self) -> torch.Size:
        """That of the whole rows."""
        return torch.Size((len(self.rows), *self.intact.cells.shape[1:]))

    def size(self, dim: int | None = None) -> Any:
        """That of the whole rows."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of axes."""
        return self.intact.cells.ndim

    ndim = property(dim)

    @property
    def dtype(self) -> torch.dtype:
        """That of the cells."""
        return self.intact.cells.dtype

    @property
    def device(self) -> torch.device:
        """Where the cells are."""
        return self.intact.cells.device

    @property
    def is_cuda(self) -> bool:
        """Whether they are on a GPU."""
        return self.device.type == "cuda"

    def numel(self) -> int:
        """Number of cells of the whole rows."""
        return self.shape.numel()

    def is_floating_point(self) -> bool:
        """Whether they are real numbers."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether they are complex numbers."""
        return self.dtype.is_complex

    def is_contiguous(self, *args: Any, **kwargs: Any) -> bool:
        """As whole rows are."""
        return True

    def stride(self, dim: int | None = None) -> Any:
        """That of whole rows, which are contiguous."""
        steps = torch.empty(self.shape, device="meta").stride()
        return steps if dim is None else steps[dim]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._asked("unbind"))

    def __bool__(self) -> bool:
        return bool(self._asked("__bool__"))

    def __getattr__(self, name: str) -> Any:
        found = getattr(Tensor, name)
        if callable(found):
            return _Method(found, self)
        return apply(found.__get__, (self,), {}) if hasattr(found, "__get__") else found

    def _asked(self, name: str, *args: Any) -> Any:
        return apply(getattr(Tensor, name), (self, *args), {})

    @classmethod
    def __torch_function__(cls, func: Func, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return apply(func, args, kwargs or {})


class Flat(Delta):
    """Rows laid flat (r, cells): what has changed lies in the boxes of another."""

    def __init__(self, of: Delta, intact: Intact) -> None:
        super().__init__(of.rows, intact, (), (), change=of.change, source=of)
        self.of = of

    def whole(self) -> Tensor:
        """Whole rows (r, cells)."""
        return self.of.whole().flatten(1) if self.whole_rows is None else self.whole_rows


class _Method:
    """A method of tensors, of a `Delta`."""

    def __init__(self, func: Func, own: Delta) -> None:
        self.func, self.own = func, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return apply(self.func, (self.own, *args), kwargs)


def _operator(name: str) -> Func:
    func = getattr(Tensor, name)

    def operate(self: Delta, *args: Any) -> Any:
        return apply(func, (self, *args), {})

    return operate


# Python looks operators up in the class.
_OPERATORS = (
    "add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv floordiv rfloordiv mod rmod pow rpow ipow matmul rmatmul "
    "neg abs eq ne lt le gt ge and or xor invert getitem setitem contains float int index array format"
)
for _name in _OPERATORS.split():
    setattr(Delta, f"__{_name}__", _operator(f"__{_name}__"))
Delta.__hash__ = object.__hash__  # type: ignore[method-assign]


# ---- rules


def rule(*funcs: Func, flat: bool = False) -> Callable[[Func], Func]:
    """Name the operations that a function is the rule of; it has their signature but for `inplace`. `flat`: it knows a `Flat` too."""

    def named(f: Func) -> Func:
        for func in funcs:
            RULES[func] = f, inspect.signature(f), flat
        return f

    return named


def called(*names: str) -> list[Func]:
    """The operations of torch of these names: functions, methods and operators."""
    found = []
    for name in names:
        owners = [(torch, name), (F, name), (Tensor, name), (Tensor, f"__{name}__"), (Tensor, f"__r{name}__")]
        found += [getattr(owner, n) for owner, n in owners if hasattr(owner, n)]
    return found


def _out_of_place() -> dict[Func, Func]:
    """Of operations that write into their first argument those that do the same without."""
    pairs = {}
    for owner in (torch, F, Tensor):
        for name in dir(owner):
            plain = f"__{name[3:]}" if name.startswith("__i") and name.endswith("__") else name.removesuffix("_")
            if plain != name and (name.startswith("__i") or not name.endswith("__")) and hasattr(owner, plain):
                pairs[getattr(owner, name)] = getattr(owner, plain)
    pairs.pop(Tensor.__invert__, None)
    return {writes: plain for writes, plain in pairs.items() if callable(writes) and callable(plain)}


OUT_OF_PLACE = _out_of_place()


def apply(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation of the model, by its rule if there is one for its arguments, else of whole rows."""
    given = list(deltas((args, kwargs)))
    if any(d.memory.stale for d in given):
        raise NotImplementedError("the model writes into an activation by way of a part of it")
    if not any(d.whole_rows is not None for d in given):
        found = _by_rule(func, args, kwargs)
        if found is not NotImplemented:
            return found
    return _of_whole_rows(func, args, kwargs)


def _by_rule(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    plain = OUT_OF_PLACE.get(func, func)
    if plain not in RULES:
        return NotImplemented
    writes = plain is not func or kwargs.get("inplace", False)
    if writes and not isinstance(args[0], Delta):
        return NotImplemented
    f, signature, flat = RULES[plain]
    if not flat and any(isinstance(d, Flat) for d in deltas((args, kwargs))):
        return NotImplemented
    try:
        given = signature.bind(*args, **{k: v for k, v in kwargs.items() if k != "inplace"})
    except TypeError:
        return NotImplemented
    found = f(*given.args, **given.kwargs)
    if writes and found is not NotImplemented:
        return args[0].become(found) if isinstance(found, Delta) else NotImplemented
    return found


def _of_whole_rows(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Asked densely. Where the answer shares memory with a row, whoever writes into one writes into both: the rows are kept."""
    made = {id(d): (d, d.whole()) for d in deltas((args, kwargs))}
    y = func(*_whole(args, made), **_whole(kwargs, made))
    writes = func in OUT_OF_PLACE or func is Tensor.__setitem__ or kwargs.get("inplace", False)
    held = {
        v.untyped_storage().data_ptr() for v in (y if isinstance(y, tuple | list) else [y]) if isinstance(v, Tensor)
    }
    for d, rows in made.values():
        if writes or rows.untyped_storage().data_ptr() in held:
            if writes and d.whole_rows is None:
                d.written()
            d.whole_rows = rows
    return y


def deltas(value: Any) -> Iterator[Delta]:
    """Those in tuples, lists and mappings."""
    if isinstance(value, Delta):
        yield value
    elif isinstance(value, tuple | list):
        for v in value:
            yield from deltas(v)
    elif isinstance(value, dict):
        yield from deltas(list(value.values()))


def _whole(value: Any, made: dict[int, tuple[Delta, Tensor]]) -> Any:
    if isinstance(value, Delta):
        return made[id(value)][1]
    if isinstance(value, tuple | list):
        items = [_whole(v, made) for v in value]
        return items if isinstance(value, list) else type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return {k: _whole(v, made) for k, v in value.items()} if isinstance(value, dict) else value


def intact(func: Func, *args: Any, **kwargs: Any) -> Any:
    """`func` of the intact activations of the deltas among the arguments, from the tape: an `Intact`, or a list of them."""
    tape = next(deltas((args, kwargs))).rows.tape
    found = tape(func, *_intact(args), **_intact(kwargs))
    return found


def _intact(value: Any) -> Any:
    if isinstance(value, Delta):
        return value.intact
    if isinstance(value, tuple | list):
        return type(value)(_intact(v) for v in value)
    return {k: _intact(v) for k, v in value.items()} if isinstance(value, dict) else value


def settled(found: Delta) -> Delta | Tensor:
    """A delta, or whole rows where its boxes are nearly all of them."""
    return found.whole() if np.prod(found.box) >= NEARLY * np.prod(found.length) else found
