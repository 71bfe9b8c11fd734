"""The PhysioNet 2012 challenge's own folder: a text file a record, and the outcomes of each set beside them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

_HEAD = "Time,Parameter,Value"


def read_records(folder: Path) -> pd.DataFrame:
    """Read all records of a folder, by their numbers, as one long table: ``RecordID``, ``Time``, ``Parameter``, ``Value``.

    A file "132539.txt" begins with the line ``Time,Parameter,Value``, and says its RecordID once more in a row of its own, which is
    compared with the name and left out. The folder is a set, or holds sets in folders "set-a", "set-b", ...

    Raises
    ------
    ValueError
        A folder without records, a file that begins otherwise or says another RecordID.
    """
    files = [f for one in _sets(folder) for f in _records(one)]
    if not files:
        raise ValueError(
            f"{folder} has no records: files such as 132539.txt, in it or in folders set-a, set-b, ...; unpack set-a.tar.gz there"
        )
    bodies = [_body(f) for f in files]
    number = np.repeat([int(f.stem) for f in files], [len(b) for b in bodies])
    text = "\n".join([_HEAD, *(line for b in bodies for line in b)])
    table = pd.read_csv(io.StringIO(text)).assign(RecordID=number)
    own = table["Parameter"] == "RecordID"
    if (other := table[own & (table["Value"] != table["RecordID"])]).size:
        said, name = other[["Value", "RecordID"]].iloc[0]
        raise ValueError(f"{name:.0f}.txt says that it is of record {said:g}: a file is named after its record")
    return table[~own]


def read_outcomes(folder: Path) -> pd.DataFrame | None:
    """Read the outcomes of all sets of a folder, "Outcomes-a.txt" within "set-a" or beside it; None where there are none."""
    files = [f for one in _sets(folder) for f in (*sorted(one.glob("Outcomes-*.txt")), *_beside(one)) if f.is_file()]
    return pd.concat([pd.read_csv(f) for f in files], ignore_index=True) if files else None


def _sets(folder: Path) -> list[Path]:
    """Return the folder itself if it holds records, else its sets."""
    return [folder] if _records(folder) else sorted(f for f in folder.glob("set-*") if f.is_dir())


def _records(folder: Path) -> list[Path]:
    return sorted((f for f in folder.glob("*.txt") if f.stem.isdecimal()), key=lambda f: int(f.stem))


def _beside(one: Path) -> list[Path]:
    """Return where the outcomes of a set lie in the challenge's folder: those of "set-a" are beside it."""
    name = one.resolve().name
    return [one.resolve().parent / f"Outcomes-{name[4:]}.txt"] if name.startswith("set-") else []


def _body(file: Path) -> list[str]:
    head, *rows = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()] or [""]
    if head.strip() != _HEAD:
        raise ValueError(f"{file} is no record of the challenge: it begins with {head[:40]!r} instead of {_HEAD!r}")
    return rows
