"""The model that ``--model`` and ``--weights`` name."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..models.summed import summed
from . import blame
from .parsing import UsageError


def load(args: argparse.Namespace) -> Any:
    """The model: from a file, or made by a function and given its weights; of an input in parts one asked with their sum."""
    return _load(args) if args.parts is None else summed(_load(args))


def _load(args: argparse.Namespace) -> Any:
    path = Path(args.model)
    if path.suffix in (".pt", ".ts", ".pkl", ".joblib", ".pickle"):
        if args.weights is not None:
            raise UsageError(f"--weights go into a model that MODULE:FACTORY makes; {path.name} has its own")
        return _from_file(path, args.trust_model)
    model = _from_factory(args.model)
    if args.weights is not None:
        _fill(model, args.weights, args.model)
    return model


def _from_file(path: Path, trusted: bool) -> Any:
    if not trusted:
        raise UsageError(
            f"loading {path.name} can run code hidden in the file; if you trust its source, add --trust-model"
        )
    if not path.is_file():
        raise UsageError(f"no model file {path}")
    if path.suffix in (".pt", ".ts"):
        import torch

        read: Callable[..., Any] = torch.jit.load  # which is not annotated
        try:
            return read(str(path), map_location="cpu")
        except Exception as error:
            raise UsageError(
                f"{path} is no TorchScript file; give weights with --model MODULE:FACTORY --weights {path}"
            ) from error
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # a pickle can fail in any way
        raise UsageError(
            f"{path} holds no model that can be loaded ({_cause(error)}): save it again, with the packages and modules that it "
            "is made of installed here"
        ) from error


def _from_factory(text: str) -> Any:
    module, _, factory = text.partition(":")
    if not module or not factory or module.startswith("."):
        raise UsageError(f"--model is MODULE:FACTORY, such as mypackage.models:make, or a model file; got {text!r}")
    found = _imported(module, text)
    make = getattr(found, factory, None)
    if not callable(make):
        functions = [name for name, value in vars(found).items() if callable(value) and not name.startswith("_")]
        raise UsageError(f"module {module!r} has no function {factory!r} that makes the model; it has {functions}")
    try:
        return make()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{text}() gave no model: {_cause(error)}") from error


def _imported(module: str, text: str) -> Any:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"no module {error.name!r} to import for --model {text}; it is looked for from the working directory and in the environment"
            ) from error
        raise UsageError(f"module {module!r} cannot be imported: {_cause(error)}; install what it imports") from error
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise UsageError(f"module {module!r} cannot be imported: {error.msg} ({where})") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"module {module!r} cannot be imported: {_cause(error)}") from error
    finally:
        sys.path.remove("")


def _cause(error: BaseException) -> str:
    """An error in words, with the line of the user's code where there is one."""
    return blame.user_error(error) or f"{type(error).__name__}: {error}"


def _fill(model: Any, path: Path, text: str) -> None:
    from torch import nn

    if not isinstance(model, nn.Module):
        raise UsageError(f"--weights go into a torch module; {text} makes a {type(model).__name__}, which has none")
    weights = _weights(path)
    try:
        model.load_state_dict(weights)
    except Exception as error:
        raise UsageError(
            f"{path} does not hold the weights of what {text} makes: {' '.join(str(error).split())}"
        ) from error


def _weights(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise UsageError("reading .safetensors needs the package safetensors: pip install safetensors") from None
        try:
            return load_file(path)
        except Exception as error:
            raise UsageError(f"{path} cannot be read as safetensors: {error}") from error
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is none fails in any way
        raise UsageError(
            f"{path} is not a plain state_dict (torch.save(model.state_dict(), ...)); other pickles are not loaded"
        ) from error
