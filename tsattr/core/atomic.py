"""Atomic writes: a file is written under a temporary name and then renamed, so that it is there whole or not at all.

A file that is replaced passes on its permissions and its owner; where anything fails it stays as it is.
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
except ImportError:  # no such locks on this system: what a killed write left behind stays
    fcntl = None  # type: ignore[assignment]

PREFIX = ".tsattr-"
STALE = 60.0  # seconds; a younger folder without a lock may be one that is being made


class MissingFile(FileNotFoundError, ValueError):
    """A file or folder that does not exist."""


class CannotWrite(OSError, ValueError):
    """A result cannot be written; nothing was left behind."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path to write to; without an error, what was written there or beside it is moved to `path` or beside it.

    A symbolic link is followed: its target is written, and the link stays. Temporary folders of killed writes are removed by
    the next write.
    """
    path = Path(path)
    target = _target(path)
    try:
        with _temporary_folder(target.parent) as folder:
            yield Path(folder, path.name)
            # `path` last: a WFDB record is not seen without its header.
            for file in sorted(Path(folder).iterdir(), key=lambda x: x.name == path.name):
                _move(file, target if file.name == path.name else _target(path.with_name(file.name)))
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(f"cannot write into {target.parent}: {error.strerror or error}") from error


def _target(path: Path) -> Path:
    """The file behind symbolic links; raises where it cannot be written or is no file."""
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    if os.path.islink(target):
        raise CannotWrite(f"cannot write {path}: it is a symbolic link that leads back to itself; remove it")
    if not os.path.isdir(target.parent):  # unlike Path.is_dir, False where permission is lacking
        raise MissingFile(f"no folder {target.parent} to write into: make it first")
    if os.path.isdir(target):
        raise CannotWrite(f"cannot write {path}: it is a folder")
    if os.path.exists(target) and not os.path.isfile(target):
        raise CannotWrite(f"cannot write {path}: it is a device or a pipe, which would be replaced; name a file")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise CannotWrite(f"cannot write {path}: it is read-only; change its permissions, or name another file")
    return target


def _move(file: Path, target: Path) -> None:
    """Rename `file` to `target`, with the permissions and owner of the file that it replaces."""
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
def _temporary_folder(parent: Path) -> Iterator[str]:
    """A folder of this process, locked until it ends, and removed at the end."""
    _remove_stale(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as folder, _lock(folder):
        yield folder


@contextmanager
def _lock(folder: str) -> Iterator[bool]:
    """Lock a folder; False where another process has the lock, or the system has none."""
    handle = os.open(folder, os.O_RDONLY) if fcntl is not None else None
    try:
        yield handle is not None and _try_lock(handle)
    finally:
        if handle is not None:
            os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(parent: Path) -> None:
    """Remove the folders that killed writes left behind: those that are old and not locked."""
    for stale in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - stale.stat().st_mtime > STALE:
                with _lock(str(stale)) as free:
                    if free:
                        shutil.rmtree(stale, ignore_errors=True)
