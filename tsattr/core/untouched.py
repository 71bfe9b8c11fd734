"""A model and the process are left as they were: what a call changes of them is counted, as calls may run at the same time.

What belongs to the process or to a module is shared by all threads: modes, tensors, devices, hooks, switches of backends,
global random states. The first call that needs one changed remembers how it was, and the last puts it back.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Register = Callable[[Callable[..., Any]], Any]

_COPIED = 2**30  # bytes of a module's buffers of which a call keeps a copy; larger ones are watched
_PAUSE = 0.05  # seconds in which another thread that draws is seen to, though it shares a processor
_EVERY_MODULE = frozenset(vars(nn.Module()))


class _Held:
    """Something shared as it was, and the calls that need it otherwise."""

    by: set[object]

    def restore(self) -> None:
        """Put it back; may be done twice."""
        raise NotImplementedError


_LOCK = threading.RLock()
_HELD: dict[Hashable, _Held] = {}


@contextlib.contextmanager
def _undone(undo: Callable[[], None]) -> Iterator[None]:
    """Run `undo` in the end, and once more where an interrupt came meanwhile."""
    try:
        try:
            yield
        finally:
            undo()
    except BaseException:
        undo()
        raise


def _hold(call: object, key: Hashable, found: Callable[[], _Held]) -> bool:
    """True where `call` is the first to hold it, which must then change it."""
    first = key not in _HELD
    if first:
        held = found()
        held.by = {call}
        _HELD[key] = held
    _HELD[key].by.add(call)
    return first


def _let_go(call: object) -> None:
    failed: list[Exception] = []
    with _LOCK:
        for key, held in reversed(list(_HELD.items())):
            if call in held.by:
                try:
                    _leave(call, key, held)
                except Exception as error:  # one that fails must not keep the others from it
                    failed.append(error)
    if failed:
        raise failed[0]


def _leave(call: object, key: Hashable, held: _Held) -> None:
    if held.by == {call}:
        try:
            held.restore()
        except Exception:
            del _HELD[key]
            raise
        del _HELD[key]  # not after an interrupt: it is put back once more
    held.by.discard(call)


@contextlib.contextmanager
def untouched(module: nn.Module | None, device: torch.device | None, *, draws: bool = False) -> Iterator[None]:
    """Explain `module` in eval mode on `device`, and leave it, random states and backend switches exactly as they were.

    Of a module that means: modes, devices, and all tensors that it holds as buffers or plain attributes, in value and
    identity (a copy is made of up to 1 GiB of buffers; a larger one that changes is told by a warning). What it counts in
    plain numbers or notes in lists goes on, as by those a model is watched; where they matter to its outputs, it is no
    function of its row, and `tsattr.edge.trials` refuses it. A global random
    state is set back where this is the only thread, or where the model was seen to draw from it: another thread's draws
    do not come twice because of a model that draws none.
    """
    call = object()
    with _undone(lambda: _let_go(call)):
        with _LOCK:
            _hold(call, "random", _RandomStates)
            if draws:
                _HELD["random"].drawn |= {"torch", "numpy", "random"}  # type: ignore[attr-defined]
            if _hold(call, "fast path", lambda: _Switch(torch.backends.mha.get_fastpath_enabled(), _set_fast_path)):
                _set_fast_path(False)  # padded places come out otherwise there, and it is taken without gradients only
            if module is not None:
                _prepare(call, module, device)
        with torch.inference_mode(False):  # the caller may be in it, and gradients cannot be taken there
            yield


@contextlib.contextmanager
def without_cudnn() -> Iterator[None]:
    """CuDNN refuses the backward pass of recurrent layers in eval mode; here they run without it."""
    call = object()
    with _undone(lambda: _let_go(call)):
        with _LOCK:
            if _hold(call, "cudnn", lambda: _Switch(torch.backends.cudnn.enabled, _set_cudnn)):
                _set_cudnn(False)
        yield


class _Switch(_Held):
    def __init__(self, value: bool, put: Callable[[bool], None]) -> None:
        self.value, self.put = value, put

    def restore(self) -> None:
        self.put(self.value)


def _set_fast_path(value: bool) -> None:
    torch.backends.mha.set_fastpath_enabled(value)


def _set_cudnn(value: bool) -> None:
    torch.backends.cudnn.enabled = value


# ---- modules


def home_of(module: nn.Module | None) -> torch.device | None:
    """Where a module's first parameter (or buffer, in one without parameters) is."""
    if module is None:
        return None
    return next((t.device for t in itertools.chain(module.parameters(), module.buffers())), None)


def _prepare(call: object, module: nn.Module, device: torch.device | None) -> None:
    """Bring a module into eval mode and onto a device, with each of its parts remembered as it was."""
    home, parts = home_of(module), list(module.modules())
    moved = home is not None and device is not None and home != device
    if moved and any(id(m) in _HELD for m in parts):
        raise ValueError(
            f"another call is using this {type(module).__name__} on {home}, so that it cannot be moved to {device}; give both "
            "calls the same device=, or each a copy.deepcopy of the model"
        )
    room = _COPIED
    for m in parts:
        if _hold(call, id(m), functools.partial(_Part, m, moved, room)):
            room -= _HELD[id(m)].copied  # type: ignore[attr-defined]
    if any(getattr(m, "training", False) for m in parts):  # of frozen TorchScript there is no such attribute
        try:
            module.eval()
        except NotImplementedError:  # an exported program has the one mode that it was exported in
            for m in parts:
                m.training = False
    if moved:
        module.to(device)


class _Part(_Held):
    """One module, without those inside it."""

    def __init__(self, module: nn.Module, moved: bool, room: int) -> None:
        self.module = module
        self.training = getattr(module, "training", None)
        self.before = _attributes(module)
        held = [t for value in self.before.values() for t in _tensors(value)]
        if type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval:
            held += _parameters(module)  # some merge weights when the mode changes
        self.copied = 0
        self.copies: list[tuple[Tensor, Tensor]] = []
        self.watched: list[tuple[Tensor, int]] = []
        for t in held:
            if self.copied + t.nbytes <= room:
                self.copies.append((t, t.detach().clone()))
                self.copied += t.nbytes
            else:
                self.watched.append((t, t._version))
        own = _parameters(module) if moved else []
        self.places = [(t, t.data) for p in own for t in (p, p.grad) if t is not None]

    def restore(self) -> None:
        if self.training is None:
            vars(self.module).pop("training", None)
        elif self.module.training != self.training:
            self.module.training = self.training
        for t, data in self.places:
            t.data = data
        now = _attributes(self.module)
        for name in now.keys() | self.before.keys():
            was, value = self.before.get(name), now.get(name)
            if was is not value and any(map(_tensors, (was, value))):
                _put(self.module, name, was, name in self.before)
        for t, copy in self.copies:
            if not _equal(t, copy):
                with torch.no_grad():
                    t.copy_(copy)
        for t, version in self.watched:
            if t._version != version:
                warnings.warn(
                    f"{type(self.module).__name__} wrote into a tensor of {t.nbytes / 2**30:.1f} GiB of its own, of which no "
                    "copy was kept: it is not as it was",
                    RuntimeWarning,
                    stacklevel=2,
                )


def _parameters(module: nn.Module) -> list[Tensor]:
    return [p for p in module._parameters.values() if p is not None]


def _attributes(module: nn.Module) -> dict[str, Any]:
    """A module's own attributes and buffers by name."""
    if isinstance(module, torch.jit.ScriptModule):
        made = vars(module).get("_concrete_type")  # of one that was read from a file only the buffers are known
        names = [name for name, _ in module.named_buffers(recurse=False)] + list(made.get_attributes() if made else ())
        return {name: getattr(module, name, None) for name in names}
    own = vars(module)
    return {name: own[name] for name in own.keys() - _EVERY_MODULE} | module._buffers


def _put(module: nn.Module, name: str, value: Any, there: bool) -> None:
    own = vars(module) if name in vars(module) or name not in module._buffers else module._buffers
    if isinstance(module, torch.jit.ScriptModule):
        setattr(module, name, value)
    elif there:
        own[name] = value
    else:
        del own[name]


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of an attribute: itself, or those of a tuple or list of tensors, such as a recurrent state."""
    if isinstance(value, Tensor):
        return [] if is_lazy(value) else [value]
    if not isinstance(value, tuple | list):
        return []
    found = [t for t in value if isinstance(t, Tensor) and not is_lazy(t)]
    return found if len(found) == len(value) else []


def _equal(a: Tensor, b: Tensor) -> bool:
    try:
        return torch.equal(a, b)
    except RuntimeError:  # of layouts that cannot be compared
        return False


@contextlib.contextmanager
def hooked(*hooks: tuple[nn.Module, Register, Callable[..., Any]]) -> Iterator[None]:
    """Hooks (module, how it is registered, hook) that see the calls of this thread alone, and are gone afterwards."""
    thread = threading.get_ident()
    mine: set[Any] = set()

    def own(hook: Callable[..., Any]) -> Callable[..., Any]:
        def only_here(*args: Any) -> Any:
            return hook(*args) if threading.get_ident() == thread else None

        mine.add(only_here)
        return only_here

    def remove() -> None:  # by what they are: an interrupt may come before the handle of one is known
        for m, _, _ in hooks:
            for table in (m._forward_hooks, m._forward_pre_hooks):
                for number in [number for number, hook in list(table.items()) if hook in mine]:
                    m._forward_pre_hooks_with_kwargs.pop(number, None)
                    del table[number]

    with _undone(remove):
        for _, register, hook in hooks:
            register(own(hook))
        yield


# ---- random numbers


class _RandomStates(_Held):
    """Torch's, NumPy's and Python's global generators."""

    def __init__(self) -> None:
        self.alone = threading.active_count() == 1
        self.drawn: set[str] = set()
        self.states = _states()

    def restore(self) -> None:
        every = self.alone and threading.active_count() == 1
        for name, state in _states().items():
            was = self.states.get(name)
            if was is not None and (every or name.partition(" ")[0] in self.drawn) and not _same_state(state, was):
                _set_state(name, was)


def _states() -> dict[str, Any]:
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        **{f"torch {i}": state for i, state in enumerate(on_gpu)},
        "numpy": np.random.get_state(),  # noqa: NPY002 - kept, not used
        "random": random.getstate(),
    }


def _same_state(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return bool(a[1] == b[1]) if isinstance(a[1], tuple) else a[2:] == b[2:] and bool((a[1] == b[1]).all())


def _set_state(name: str, state: Any) -> None:
    if name == "numpy":
        np.random.set_state(state)  # noqa: NPY002
    elif name == "random":
        random.setstate(state)
    elif name == "torch":
        torch.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, int(name.split()[1]))


@contextlib.contextmanager
def draws_seen(seen: set[str]) -> Iterator[None]:
    """Note in `seen` which global generators ("torch", "numpy", "random") the scope draws from.

    Where other threads run, a state that moves may be moved by them: then it moves as well while nothing is done for longer.
    """
    states, began = _states(), time.perf_counter()
    yield
    moved, took = _moved(states), time.perf_counter() - began
    if moved and threading.active_count() > 1:
        states = _states()
        time.sleep(min(max(3 * took, _PAUSE), 1.0))
        moved -= _moved(states)
    seen |= moved
    with _LOCK:
        if "random" in _HELD:
            _HELD["random"].drawn |= moved  # type: ignore[attr-defined]


def _moved(states: dict[str, Any]) -> set[str]:
    now = _states()
    return {name.partition(" ")[0] for name in states if not _same_state(now[name], states[name])}
