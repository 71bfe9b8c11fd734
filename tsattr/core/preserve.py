"""A call leaves the model and the process in the state in which it found them, also where calls run at the same time.

The state of a module or of the process is shared by all threads: modes, tensors, devices, hooks, backend flags, global random
states. It is reference-counted: the first call that changes a part of it saves that part, and the last restores it.
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

_COPY_LIMIT = 2**30  # bytes of a module's buffers that a call copies; of larger ones the version counter is compared
_PAUSE = 0.05  # seconds in which another thread that draws does so, even on a shared processor
_EVERY_MODULE = frozenset(vars(nn.Module()))


class _Saved:
    """A part of the shared state as it was, and the calls that need it changed."""

    calls: set[object]

    def restore(self) -> None:
        """Restore it; may run twice."""
        raise NotImplementedError


_LOCK = threading.RLock()
_SAVED: dict[Hashable, _Saved] = {}


@contextlib.contextmanager
def _finally(undo: Callable[[], None]) -> Iterator[None]:
    """Run `undo` at the end, and a second time where an interrupt came during the first."""
    try:
        try:
            yield
        finally:
            undo()
    except BaseException:
        undo()
        raise


def _acquire(call: object, key: Hashable, save: Callable[[], _Saved]) -> bool:
    """Count `call` among those that need a part of the state changed; True for the first, which saved it and must change it."""
    first = key not in _SAVED
    if first:
        saved = save()
        saved.calls = {call}
        _SAVED[key] = saved
    _SAVED[key].calls.add(call)
    return first


def _release_all(call: object) -> None:
    """Restore, the last saved first, whatever no other call needs changed."""
    errors: list[Exception] = []
    with _LOCK:
        for key, saved in reversed(list(_SAVED.items())):
            if call in saved.calls:
                try:
                    _release(call, key, saved)
                except Exception as error:  # one failure must not prevent the other restores
                    errors.append(error)
    if errors:
        raise errors[0]


def _release(call: object, key: Hashable, saved: _Saved) -> None:
    if saved.calls == {call}:
        try:
            saved.restore()
        except Exception:
            del _SAVED[key]
            raise
        del _SAVED[key]  # not reached after an interrupt: `_finally` restores it a second time
    saved.calls.discard(call)


@contextlib.contextmanager
def preserved_state(module: nn.Module | None, device: torch.device | None, *, draws: bool = False) -> Iterator[None]:
    """`module` in eval mode on `device`; at the end it, the random states and the backend flags are exactly as before.

    Of a module these are restored: modes, devices, and all tensors that it has as buffers or plain attributes, in value and
    identity (up to 1 GiB of buffers is copied; a larger one that changes is reported by a warning). Counters in plain numbers
    and lists that it appends to are not: users watch a model by them, and where its outputs depend on them it is no function
    of its row, which `tsattr.edge.trials` refuses. A global random state is restored where this is the only thread, or where
    the model was seen to draw from it, so that no draw of another thread is repeated.

    Parameters
    ----------
    module
        The torch module, or None where the model has none.
    device
        Where to explain it; None: where it is.
    draws
        True where the call itself draws from the global generators, whose states are then restored in any case.
    """
    call = object()
    with _finally(lambda: _release_all(call)):
        with _LOCK:
            _acquire(call, "random", _SavedRandomStates)
            if draws:
                _SAVED["random"].drawn |= {"torch", "numpy", "random"}  # type: ignore[attr-defined]
            if _acquire(
                call, "fast path", lambda: _SavedFlag(torch.backends.mha.get_fastpath_enabled(), _set_fast_path)
            ):
                _set_fast_path(False)  # it gives other values at padded positions, and is used only without gradients
            if module is not None:
                _prepare(call, module, device)
        with torch.inference_mode(False):  # the caller may be in inference mode, which allows no gradients
            yield


@contextlib.contextmanager
def without_cudnn() -> Iterator[None]:
    """Disable cuDNN, which refuses the backward pass of recurrent layers in eval mode."""
    call = object()
    with _finally(lambda: _release_all(call)):
        with _LOCK:
            if _acquire(call, "cudnn", lambda: _SavedFlag(torch.backends.cudnn.enabled, _set_cudnn)):
                _set_cudnn(False)
        yield


class _SavedFlag(_Saved):
    def __init__(self, value: bool, put: Callable[[bool], None]) -> None:
        self.value, self.put = value, put

    def restore(self) -> None:
        self.put(self.value)


def _set_fast_path(value: bool) -> None:
    torch.backends.mha.set_fastpath_enabled(value)


def _set_cudnn(value: bool) -> None:
    torch.backends.cudnn.enabled = value


# ---- modules


def device_of(module: nn.Module | None) -> torch.device | None:
    """The device of a module's first parameter, or first buffer where it has no parameters; None where it has neither."""
    if module is None:
        return None
    return next((t.device for t in itertools.chain(module.parameters(), module.buffers())), None)


def _prepare(call: object, module: nn.Module, device: torch.device | None) -> None:
    """Save the state of each submodule, then set eval mode and move to the device."""
    current, parts = device_of(module), list(module.modules())
    moved = current is not None and device is not None and current != device
    if moved and any(id(m) in _SAVED for m in parts):
        raise ValueError(
            f"another call is using this {type(module).__name__} on {current}, so that it cannot be moved to {device}; give both "
            "calls the same device=, or each a copy.deepcopy of the model"
        )
    budget = _COPY_LIMIT
    for m in parts:
        if _acquire(call, id(m), functools.partial(_SavedModule, m, moved, budget)):
            budget -= _SAVED[id(m)].copied  # type: ignore[attr-defined]
    if any(getattr(m, "training", False) for m in parts):  # of frozen TorchScript there is no such attribute
        try:
            module.eval()
        except NotImplementedError:  # an exported program has the one mode that it was exported in
            for m in parts:
                m.training = False
    if moved:
        module.to(device)


class _SavedModule(_Saved):
    """The state of one module, without its submodules."""

    def __init__(self, module: nn.Module, moved: bool, budget: int) -> None:
        self.module = module
        self.training = getattr(module, "training", None)
        self.before = _attributes(module)
        tensors = [t for value in self.before.values() for t in _tensors(value)]
        if type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval:
            tensors += _parameters(module)  # some merge weights when the mode changes
        self.copied = 0
        self.copies: list[tuple[Tensor, Tensor]] = []
        self.watched: list[tuple[Tensor, int]] = []
        for t in tensors:
            if self.copied + t.nbytes <= budget:
                self.copies.append((t, t.detach().clone()))
                self.copied += t.nbytes
            else:
                self.watched.append((t, t._version))
        own = _parameters(module) if moved else []
        self.data = [(t, t.data) for p in own for t in (p, p.grad) if t is not None]

    def restore(self) -> None:
        if self.training is None:
            vars(self.module).pop("training", None)
        elif self.module.training != self.training:
            self.module.training = self.training
        for t, data in self.data:
            t.data = data
        now = _attributes(self.module)
        for name in now.keys() | self.before.keys():
            was, value = self.before.get(name), now.get(name)
            if was is not value and any(map(_tensors, (was, value))):
                _set_attribute(self.module, name, was, name in self.before)
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


def _set_attribute(module: nn.Module, name: str, value: Any, existed: bool) -> None:
    """Set an attribute or buffer; delete it where it did not exist before."""
    own = vars(module) if name in vars(module) or name not in module._buffers else module._buffers
    if isinstance(module, torch.jit.ScriptModule):
        setattr(module, name, value)
    elif existed:
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
def temporary_hooks(*hooks: tuple[nn.Module, Register, Callable[..., Any]]) -> Iterator[None]:
    """Register hooks (module, register method, hook) that run for this thread's calls only; they are removed at the end."""
    thread = threading.get_ident()
    mine: set[Any] = set()

    def own(hook: Callable[..., Any]) -> Callable[..., Any]:
        def only_here(*args: Any) -> Any:
            return hook(*args) if threading.get_ident() == thread else None

        mine.add(only_here)
        return only_here

    def remove() -> None:  # found by identity: an interrupt may come before a handle is returned
        for m, _, _ in hooks:
            for table in (m._forward_hooks, m._forward_pre_hooks):
                for number in [number for number, hook in list(table.items()) if hook in mine]:
                    m._forward_pre_hooks_with_kwargs.pop(number, None)
                    del table[number]

    with _finally(remove):
        for _, register, hook in hooks:
            register(own(hook))
        yield


# ---- random numbers


class _SavedRandomStates(_Saved):
    """Torch's, NumPy's and Python's global generators."""

    def __init__(self) -> None:
        self.alone = threading.active_count() == 1
        self.drawn: set[str] = set()
        self.states = _states()

    def until_the_model(self) -> dict[str, Any]:
        """The states before a call first asks its model: those it began with, if it is the only call in the only thread."""
        only = len(self.calls) == 1 and threading.active_count() == 1
        return self.states if only else _states()  # a snapshot costs as much as a small model

    def restore(self) -> None:
        every = self.alone and threading.active_count() == 1
        for name, state in _states().items():
            was = self.states.get(name)
            if was is not None and (every or name.partition(" ")[0] in self.drawn) and not _same_state(state, was):
                _set_state(name, was)


def _states() -> dict[str, Any]:
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call, unused-ignore]
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
def recorded_draws(seen: set[str]) -> Iterator[None]:
    """Add to `seen` the global generators ("torch", "numpy", "random") that the scope draws from.

    Another thread may draw meanwhile: what also changes while this thread waits is not counted.
    """
    with _LOCK:
        saved = _SAVED.get("random")
    states = saved.until_the_model() if isinstance(saved, _SavedRandomStates) else _states()
    began = time.perf_counter()
    yield
    changed, elapsed = _changed(states), time.perf_counter() - began
    if changed and threading.active_count() > 1:
        states = _states()
        time.sleep(min(max(3 * elapsed, _PAUSE), 1.0))
        changed -= _changed(states)
    seen |= changed
    with _LOCK:
        if "random" in _SAVED:
            _SAVED["random"].drawn |= changed  # type: ignore[attr-defined]


def _changed(states: dict[str, Any]) -> set[str]:
    """The generators whose states differ from these."""
    now = _states()
    return {name.partition(" ")[0] for name in states if not _same_state(now[name], states[name])}
