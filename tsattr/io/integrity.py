"""Whether a file is as it was written: SHA-256 digests of our own files, missing chunks in those of others."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Collection
from pathlib import Path

SUMS = "SHA256SUMS"  # beside the arrays of a Zarr store, in the form that the program sha256sum checks
_DIGEST = re.compile(rb"\ntsattr sha256 ([0-9a-f]{64})\n")
_LENGTH = len("\ntsattr sha256 \n") + 64


def append_digest(file: Path) -> None:
    """Append the SHA-256 of an HDF5 file to it, beyond the end that HDF5 knows: a later change by HDF5 cuts it off."""
    digest = _digest(file, file.stat().st_size)
    with file.open("ab") as end:
        end.write(f"\ntsattr sha256 {digest}\n".encode())


def check_digest(file: Path) -> None:
    """Raise ValueError where the digest at the end of a file, if there is one, is not that of the bytes before it."""
    size = file.stat().st_size - _LENGTH
    if size < 0:
        return
    with file.open("rb") as opened:
        opened.seek(size)
        found = _DIGEST.fullmatch(opened.read())
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
    """Write the SHA-256 of each file of a Zarr store into its SHA256SUMS."""
    lines = [f"{digest}  {name}\n" for name, digest in _sums(store).items()]
    (store / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(store: Path) -> None:
    """Raise ValueError where files that a store's SHA256SUMS lists are missing or changed; without the list, do nothing."""
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


def warn_of_missing_chunks(store: Path, names: Collection[str], stacklevel: int = 2) -> None:
    """Warn of chunks that a store without SHA256SUMS lacks: Zarr allows it, but a partly copied store looks the same."""
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
