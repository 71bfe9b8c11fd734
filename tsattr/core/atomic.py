"""Files that are written whole or not at all: under another name first, which is then changed.

What stands there already keeps its permissions and its owner, and stays as it is where anything fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks there: what is left after a kill stays
    fcntl = None  # type: ignore[assignment]

PREFIX = ".tsattr-"
OLD = 60.0  # seconds after which a folder that nobody holds is not one that is just being made


class MissingFile(FileNotFoundError, ValueError):
    """A file or folder that should be there is not."""


class CannotWrite(OSError, ValueError):
    """A result cannot be written; nothing was left behind."""


@contextmanager
def file_to_fill(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path; if all goes well, what was written there, or beside it, is moved to `path`, or beside it.

    A symbolic link is followed: what it points to is written, and the link stays. Folders of writes that were killed are
    removed by the next.
    """
    path = Path(path)
    target = _target(path)
    try:
        with _folder_of_its_own(target.parent) as folder:
            yield Path(folder, path.name)
            # `path` last: a WFDB record is not seen without its header.
            for file in sorted(Path(folder).iterdir(), key=lambda x: x.name == path.name):
                _move(file, target if file.name == path.name else _target(path.with_name(file.name)))
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(f"cannot write into {target.parent}: {error.strerror or error}") from error


def _target(path: Path) -> Path:
    """The file that is meant, behind symbolic links; raises where there is what is no file."""
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    if os.path.islink(target):
        raise CannotWrite(f"cannot write {path}: it is a symbolic link that leads back to itself; remove it")
    if not os.path.isdir(target.parent):  # unlike Path.is_dir, False where one may not look
        raise MissingFile(f"no folder {target.parent} to write into: make it first")
    if os.path.isdir(target):
        raise CannotWrite(f"cannot write {path}: it is a folder")
    if os.path.exists(target) and not os.path.isfile(target):
        raise CannotWrite(f"cannot write {path}: it is a device or a pipe, which would be replaced; name a file")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise CannotWrite(f"cannot write {path}: it is read-only; change its permissions, or name another file")
    return target


def _move(file: Path, target: Path) -> None:
    """Give a file the name of another, and that one's permissions and owner."""
    if target.exists():
        before = target.stat()
        try:
            if (before.st_uid, before.st_gid) != (file.stat().st_uid, file.stat().st_gid):
                shutil.chown(file, before.st_uid, before.st_gid)
        except PermissionError as error:
            raise CannotWrite(
                f"cannot write {target}: it belongs to another user or group, and would not any more; name another file"
            ) from error
        os.chmod(file, stat.S_IMODE(before.st_mode))
    os.replace(file, target)


@contextmanager
def _folder_of_its_own(parent: Path) -> Iterator[str]:
    """A folder for us alone, held by a lock that ends with this process, and gone at the end."""
    _remove_left(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as folder, _held(folder):
        yield folder


@contextmanager
def _held(folder: str) -> Iterator[bool]:
    """Lock a folder; False where somebody else has it, or there are no locks."""
    handle = os.open(folder, os.O_RDONLY) if fcntl is not None else None
    try:
        yield handle is not None and _locked(handle)
    finally:
        if handle is not None:
            os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_left(parent: Path) -> None:
    """Remove the folders that killed writes have left: old ones that nobody holds."""
    for left in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > OLD:
                with _held(str(left)) as free:
                    if free:
                        shutil.rmtree(left, ignore_errors=True)
