"""What outsiders write, each in a file of their own, and how it goes wrong: the file with one thing in it changed."""

import importlib.util
import itertools
import sys
from types import ModuleType

import pytest

from tsattr.testing import LawBroken

_NUMBER = itertools.count()


def imported(folder, source: str, *changes: tuple[str, str]) -> ModuleType:
    """The module of a source text, each of the changes made in it once."""
    for old, new in changes:
        assert source.count(old) == 1, f"{old!r} is there {source.count(old)} times"
        source = source.replace(old, new)
    name = f"outsider_{next(_NUMBER)}"  # a pickle finds it by its name
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_found_wrong(check, law: str, *, whole: bool = True) -> str:
    """A check finds something wrong: by the law meant for it, and also where all laws are tried; the law's message."""
    if whole:
        with pytest.raises(LawBroken):
            check()
    with pytest.raises(LawBroken) as found:
        check(laws=[law])
    assert found.value.law == law
    message = str(found.value)
    assert f"breaks the law {law!r}. Seen: " in message
    return message
