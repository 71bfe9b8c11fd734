"""Objects that go through a model in the place of its input, and stand for rows of which something is known.

`StandIn.__torch_function__` sends each operation of the model to its rule. A rule is a function with the signature of the operation,
named by the `Rules` of its kind, that gives another stand-in, or whole rows where what is known ends; ``NotImplemented`` says that it
does not know these arguments. What has no rule is asked of whole rows, and all that follows goes on densely: never wrong, only slower.
"""

from __future__ import annotations

import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function

from ..engine import Engine

Func = Callable[..., Any]


class Rules:
    """The operations that a kind of stand-in has rules of."""

    def __init__(self) -> None:
        self.known: dict[Func, tuple[Func, inspect.Signature]] = {}

    def __call__(self, *funcs: Func) -> Callable[[Func], Func]:
        """Name the operations that a function is the rule of; it has their signature but for `inplace`."""

        def named(f: Func) -> Func:
            for func in funcs:
                self.known[func] = f, inspect.signature(f)
            return f

        return named


class _Memory:
    """What an activation and the views of it share; stale once it was written into by way of another of them."""

    def __init__(self) -> None:
        self.written = False
        self.views: list[tuple[Tensor, int]] = []  # tensors that stand for views, as they were

    @property
    def stale(self) -> bool:
        """Whether another was written into."""
        return self.written or any(view._version != version for view, version in self.views)


class StandIn(ABC):
    """Rows (r, ...) that are not there; a kind of it has its own `rules`, and says what tensor they would be.

    Parameters
    ----------
    source
        What this is a view of: what is written into one is in the other too, which is then not to be used any more.
    """

    rules: ClassVar[Rules]
    requires_grad = False
    is_sparse = is_quantized = is_nested = is_mkldnn = False
    grad_fn = None

    def __init__(self, source: StandIn | None = None) -> None:
        self.whole_rows: Tensor | None = None  # once something holds a view of them
        self.memory: _Memory = _Memory() if source is None else source.memory

    @property
    @abstractmethod
    def cells(self) -> Tensor:
        """A tensor like the whole rows, but for their number."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def made(self) -> Tensor:
        """Whole rows (r, ...)."""

    @abstractmethod
    def take(self, other: StandIn) -> None:
        """Become another of the same kind."""

    def whole(self) -> Tensor:
        """Whole rows (r, ...); the same each time once a view of them is held."""
        return self.made() if self.whole_rows is None else self.whole_rows

    def written(self) -> None:
        """Other views of the same memory are not what they were."""
        self.memory.written = True
        self.memory = _Memory()

    # ---- what a model asks of a tensor

    @property
    def shape(self) -> torch.Size:
        """That of the whole rows."""
        return torch.Size((len(self), *self.cells.shape[1:]))

    def size(self, dim: int | None = None) -> Any:
        """That of the whole rows."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of axes."""
        return self.cells.ndim

    ndim = property(dim)

    @property
    def dtype(self) -> torch.dtype:
        """That of the cells."""
        return self.cells.dtype

    @property
    def device(self) -> torch.device:
        """Where the cells are."""
        return self.cells.device

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

    def __iter__(self) -> Iterator[Any]:
        return iter(apply(Tensor.unbind, (self,), {}))

    def __bool__(self) -> bool:
        return bool(apply(Tensor.__bool__, (self,), {}))

    def __getattr__(self, name: str) -> Any:
        found = getattr(Tensor, name)
        if callable(found):
            return _Method(found, self)
        return apply(found.__get__, (self,), {}) if hasattr(found, "__get__") else found

    @classmethod
    def __torch_function__(cls, func: Func, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return apply(func, args, kwargs or {})


class _Method:
    """A method of tensors, of a stand-in."""

    def __init__(self, func: Func, own: StandIn) -> None:
        self.func, self.own = func, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return handle_torch_function(self.func, (self.own,), self.own, *args, **kwargs)


def _operator(name: str) -> Func:
    func = getattr(Tensor, name)

    def operate(self: StandIn, *args: Any) -> Any:
        return handle_torch_function(func, (self,), self, *args)

    return operate


# Python looks operators up in the class.
_OPERATORS = (
    "add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv floordiv rfloordiv mod rmod pow rpow ipow matmul rmatmul "
    "neg abs eq ne lt le gt ge and or xor invert getitem setitem contains float int index array format"
)
for _name in _OPERATORS.split():
    setattr(StandIn, f"__{_name}__", _operator(f"__{_name}__"))
StandIn.__hash__ = object.__hash__  # type: ignore[method-assign]


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
    given = list(stand_ins((args, kwargs)))
    if any(s.memory.stale for s in given):
        raise NotImplementedError("the model writes into an activation by way of a part of it")
    if all(s.whole_rows is None and s.rules is given[0].rules for s in given):
        found = _by_rule(func, args, kwargs, given[0].rules)
        if found is not NotImplemented:
            return found
    return _of_whole_rows(func, args, kwargs)


def _by_rule(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any], rules: Rules) -> Any:
    plain = OUT_OF_PLACE.get(func, func)
    if plain not in rules.known:
        return NotImplemented
    writes = plain is not func or kwargs.get("inplace", False)
    if writes and not isinstance(args[0], StandIn):
        return NotImplemented
    f, signature = rules.known[plain]
    try:
        given = signature.bind(*args, **{k: v for k, v in kwargs.items() if k != "inplace"})
    except TypeError:
        return NotImplemented
    found = f(*given.args, **given.kwargs)
    if not writes or found is NotImplemented:
        return found
    if not isinstance(found, StandIn):
        return NotImplemented
    args[0].written()
    args[0].take(found)
    return args[0]


def _of_whole_rows(func: Func, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Asked densely. Where the answer shares memory with a row, whoever writes into one writes into both: the rows are kept."""
    made = {id(s): (s, s.whole()) for s in stand_ins((args, kwargs))}
    y = func(*_whole(args, made), **_whole(kwargs, made))
    writes = func in OUT_OF_PLACE or func is Tensor.__setitem__ or kwargs.get("inplace", False)
    held = {
        v.untyped_storage().data_ptr() for v in (y if isinstance(y, tuple | list) else [y]) if isinstance(v, Tensor)
    }
    for s, rows in made.values():
        if writes or rows.untyped_storage().data_ptr() in held:
            if writes and s.whole_rows is None:
                s.written()
            s.whole_rows = rows
    return y


def stand_ins(value: Any) -> Iterator[StandIn]:
    """Those in tuples, lists and mappings."""
    if isinstance(value, tuple | list):
        for v in value:
            yield from stand_ins(v)
    elif isinstance(value, dict):
        yield from stand_ins(list(value.values()))
    elif isinstance(value, StandIn):
        yield value


def _whole(value: Any, made: dict[int, tuple[StandIn, Tensor]]) -> Any:
    if isinstance(value, StandIn):
        return made[id(value)][1]
    if isinstance(value, tuple | list):
        items = [_whole(v, made) for v in value]
        return items if isinstance(value, list) else type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return {k: _whole(v, made) for k, v in value.items()} if isinstance(value, dict) else value


def refused(engine: Engine) -> str:
    """Why a model is not asked by a stand-in; else nothing."""
    if engine.autocast is not None:
        return "mixed precision"
    if engine.drawn:
        return "the model draws random numbers"
    if engine.batch_size == 1 and not engine.adapt:
        return "one row is asked about at a time"
    for module in () if engine.module is None else engine.module.modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if any(not type(hook).__module__.startswith("torch.nn.utils.") for hook in hooks):
            return "a hook of the model sees its activations"
        if isinstance(module, torch.jit.ScriptModule):
            return "a part of the model is TorchScript"
        if module._compiled_call_impl is not None or type(module).__name__ == "OptimizedModule":
            return "a part of the model went through torch.compile"
    return ""


@contextlib.contextmanager
def whole_outputs(engine: Engine) -> Iterator[None]:
    """The engine's forward pass, with outputs made whole."""
    inner = engine.forward

    def forward(rows: Tensor, position: Tensor) -> Any:
        y: Any = inner(rows, position)
        return y.whole() if isinstance(y, StandIn) else y

    with engine.by_forward(forward):
        yield
