"""The model that ``--model`` and ``--weights`` name."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from ..notation import UsageError


def load(args: argparse.Namespace) -> Any:
    """The model: from a file, or made by a function and given its weights."""
    path = Path(args.model)
    if path.suffix in (".pt", ".ts", ".pkl", ".joblib", ".pickle"):
        return _from_file(path, args.trust_model)
    model = _from_factory(args.model)
    if args.weights is not None:
        model.load_state_dict(_weights(args.weights))
    return model


def _from_file(path: Path, trusted: bool) -> Any:
    if not trusted:
        raise UsageError(
            f"loading {path.name} can run code hidden in the file; if you trust its source, add --trust-model"
        )
    if not path.exists():
        raise UsageError(f"no model file {path}")
    if path.suffix in (".pt", ".ts"):
        import torch

        try:
            return torch.jit.load(str(path), map_location="cpu")
        except RuntimeError as error:
            raise UsageError(
                f"{path} is no TorchScript file; give weights with --model MODULE:FACTORY --weights {path}"
            ) from error
    import joblib

    return joblib.load(path)


def _from_factory(text: str) -> Any:
    module, _, factory = text.partition(":")
    if not factory:
        raise UsageError(f"--model is MODULE:FACTORY, such as mypackage.models:make, or a model file; got {text!r}")
    sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"no module {error.name!r} to import for --model {text}; it is looked for from the working directory and in the environment"
        ) from error
    finally:
        sys.path.remove("")
    make = getattr(found, factory, None)
    if not callable(make):
        raise UsageError(f"module {module!r} has no function {factory!r} that makes the model")
    try:
        return make()
    except Exception as error:
        raise UsageError(f"{text}() gave no model: {type(error).__name__}: {error}") from error


def _weights(path: Path) -> Any:
    if not path.exists():
        raise UsageError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise UsageError("reading .safetensors needs the package safetensors: pip install safetensors") from None
        return load_file(path)
    import pickle

    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UsageError(
            f"{path} is not a plain state_dict (torch.save(model.state_dict(), ...)); other pickles are not loaded"
        ) from error
