"""Files that are written whole or not at all, and what stood there before."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tsattr.core.atomic import CannotWrite, MissingFile, atomic_write
from tsattr.core.baselines import Generator

from .baselines.test_stored import fitted


def write(path, text="new"):
    with atomic_write(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_what_is_written_again_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "patients.nc"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    os.chown(path, 12345, 23456)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_a_file_of_another_who_cannot_be_kept_is_left(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "a"
    path.write_text("old")
    inside = os.stat_result((*path.stat()[:4], 12345, *path.stat()[5:]))
    monkeypatch.setattr("shutil.chown", refuse)
    real = type(path).stat
    monkeypatch.setattr(type(path), "stat", lambda self, **k: inside if self == path else real(self, **k))
    with pytest.raises(CannotWrite, match="belongs to another user or group"):
        write(path)
    assert path.read_text() == "old"


def test_links_are_followed_and_stay(tmp_path):
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "real.nc"
    target.write_text("old")
    target.chmod(0o600)
    link = tmp_path / "link.nc"
    link.symlink_to(target)
    chain = tmp_path / "chain.nc"
    chain.symlink_to("link.nc")
    write(chain)
    assert (link.is_symlink(), chain.is_symlink()) == (True, True)
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o600)
    empty = tmp_path / "empty.nc"
    empty.symlink_to("there/later.nc")
    write(empty)
    assert empty.is_symlink()
    assert (tmp_path / "there" / "later.nc").read_text() == "new"
    astray = tmp_path / "astray.nc"
    astray.symlink_to("nowhere/x.nc")
    with pytest.raises(MissingFile, match="nowhere"):
        write(astray)
    circle = tmp_path / "circle.nc"
    circle.symlink_to("circle.nc")
    with pytest.raises(CannotWrite, match="leads back to itself"):
        write(circle)


def test_devices_pipes_and_folders_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    null = tmp_path / "null"
    null.symlink_to("/dev/null")
    for path in (pipe, null, "/dev/null"):
        with pytest.raises(CannotWrite, match="a device or a pipe"):
            write(path)
    with pytest.raises(CannotWrite, match="it is a folder"):
        write(tmp_path)
    assert pipe.is_fifo()
    assert not os.path.isfile("/dev/null")


def test_a_read_only_file_is_left(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")
    monkeypatch.setattr(
        os, "access", lambda p, mode: False
    )  # as of a file without write permission, which stops no root
    with pytest.raises(CannotWrite, match="read-only"):
        write(path)
    assert path.read_text() == "old"


KILLED = """
import sys, time
from tsattr.core.atomic import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_write_leaves_is_removed_by_the_next(tmp_path):
    path = tmp_path / "a.nc"
    path.write_text("old")
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        (left,) = tmp_path.glob(".tsattr-*")
        os.utime(left, (time.time() - 1000,) * 2)
        write(tmp_path / "b.nc")
        assert left.exists()  # somebody still writes there
        writer.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    os.utime(left)
    write(tmp_path / "b.nc")
    assert left.exists()  # one that is being made would look like this
    os.utime(left, (time.time() - 1000,) * 2)
    write(tmp_path / "b.nc")
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a.nc", "b.nc"]


def test_a_fitted_baseline_is_written_in_the_same_way(tmp_path):
    path = tmp_path / "law.npz"
    path.touch(0o600)
    law = fitted(None)
    law.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Generator.load(path) == law
    with pytest.raises(CannotWrite, match="a device or a pipe"):
        law.save("/dev/null")
