"""What tells that a file is not as it was written: digests of our own files, gaps in those of others."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Collection
from pathlib import Path

SUMS = "SHA256SUMS"  # beside the arrays of a Zarr store, in the form that the program sha256sum checks
_SEAL = re.compile(rb"\ntsattr sha256 ([0-9a-f]{64})\n")
_LENGTH = len("\ntsattr sha256 \n") + 64


def seal(file: Path) -> None:
    """Append the SHA-256 of an HDF5 file to it, where HDF5 does not look; whoever changes the file cuts it off."""
    digest = _digest(file, file.stat().st_size)
    with file.open("ab") as end:
        end.write(f"\ntsattr sha256 {digest}\n".encode())


def check_seal(file: Path) -> None:
    """Raise where a file does not have the digest at its end, if there is one."""
    size = file.stat().st_size - _LENGTH
    if size < 0:
        return
    with file.open("rb") as opened:
        opened.seek(size)
        found = _SEAL.fullmatch(opened.read())
    if found is not None and found[1].decode() != _digest(file, size):
        raise ValueError(f"{file} is not as it was written: bytes in it have changed; copy or make it again")


def _digest(file: Path, size: int) -> str:
    """The SHA-256 of the first `size` bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while size and (block := opened.read(min(size, 2**20))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def write_sums(store: Path) -> None:
    """Put the SHA-256 of each file of a Zarr store into one beside them."""
    lines = [f"{digest}  {name}\n" for name, digest in _sums(store).items()]
    (store / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(store: Path) -> None:
    """Raise where files of a store are missing or changed, if it says what they were."""
    if not (store / SUMS).is_file():
        return
    listed = dict(line.split("  ", 1)[::-1] for line in (store / SUMS).read_text("utf-8").splitlines())
    found = _sums(store)
    if wrong := [name for name, digest in listed.items() if found.get(name) != digest]:
        raise ValueError(
            f"{store} is not as it was written: {len(wrong)} of its files are missing or changed, the first is {wrong[0]}; copy "
            f"the store again, or, if it was changed on purpose, remove {SUMS} from it"
        )


def _sums(store: Path) -> dict[str, str]:
    files = sorted(file for file in store.rglob("*") if file.is_file() and file.name != SUMS)
    return {file.relative_to(store).as_posix(): _digest(file, os.path.getsize(file)) for file in files}


def warn_of_gaps(store: Path, names: Collection[str], stacklevel: int = 2) -> None:
    """Say which chunks of a store of unknown origin are not there: lawful, but a store copied in part looks the same."""
    import zarr

    if (store / SUMS).is_file():
        return
    for name, array in zarr.open_group(store, mode="r").arrays():
        if name in names and (missing := array.nchunks - array.nchunks_initialized) > 0:
            warnings.warn(
                f"{missing} of the {array.nchunks} chunks of {name!r} are not in {store} and are read as {array.fill_value}: "
                "that is how Zarr keeps chunks of that value alone, and how a store looks that was not copied whole",
                stacklevel=stacklevel + 1,
            )
