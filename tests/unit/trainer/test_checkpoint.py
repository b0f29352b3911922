"""The checkpoint store: nothing but whole, unchanged checkpoints is ever used."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trainer.checkpoint import CheckpointError, CheckpointStore, latest_checkpoint, verify

pytestmark = pytest.mark.slow

BUSY_WRITER = """
import sys
from pathlib import Path
from trainer.checkpoint import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]), keep_last=2)
newest = store.latest()
step = newest.step if newest else 0
print(step, flush=True)
while True:
    step += 1
    folder = store.begin(step)
    (folder / "rank").mkdir()
    for number in range(5):
        (folder / "rank" / f"{number}.bin").write_bytes(bytes([step % 256]) * 20_000)
    store.publish(step, {"cursor": step})
    print(step, flush=True)
"""


def save(store: CheckpointStore, step: int, content: bytes = b"weights") -> Path:
    folder = store.begin(step)
    (folder / "rank").mkdir()
    (folder / "rank" / "0.bin").write_bytes(content * 100)
    return store.publish(step, {"cursor": step * 16})


def steps_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_a_published_checkpoint_comes_back_with_its_files_and_state(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "a" / "checkpoints", keep_last=2)
    assert store.latest() is None
    path = save(store, 10)
    assert path == tmp_path / "a" / "checkpoints" / "step_000010"
    newest = CheckpointStore(tmp_path / "a" / "checkpoints", keep_last=2).latest()
    assert newest is not None
    assert (newest.step, newest.path, newest.state) == (10, path, {"cursor": 160})
    assert (path / "rank" / "0.bin").read_bytes() == b"weights" * 100
    manifest = json.loads((path / "MANIFEST.json").read_text())
    assert manifest["step"] == 10
    assert manifest["files"]["rank/0.bin"] == {
        "sha256": _sha256(b"weights" * 100),
        "size": 700,
    }
    assert set(manifest["files"]) == {"rank/0.bin", "state.json"}


def _sha256(content: bytes) -> str:
    done = subprocess.run(["sha256sum"], input=content, capture_output=True, check=True)
    return done.stdout.split()[0].decode()


def test_killed_at_any_moment_the_newest_checkpoint_is_whole(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    chooser = random.Random(1)
    used = 0
    for kill in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", BUSY_WRITER, str(root)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert int(writer.stdout.readline()) == used
        began = time.monotonic()
        published = used
        for _ in range(1 + kill % 2):
            published = int(writer.stdout.readline())
        time.sleep(chooser.uniform(0.0, time.monotonic() - began))
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        newest = latest_checkpoint(root)
        assert newest is not None and newest.step >= published > used
        used = newest.step
    CheckpointStore(root, keep_last=2)
    assert all(name.startswith("step_") for name in steps_in(root))
    for name in steps_in(root):
        assert verify(root / name).state == {"cursor": int(name[5:])}


@pytest.mark.parametrize("name", ["rank/0.bin", "state.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "zero-byte"])
def test_a_damaged_file_is_named_and_the_step_before_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    store = CheckpointStore(tmp_path, keep_last=3)
    save(store, 10)
    path = save(store, 20) / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "zero-byte":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(content[:-5])
    else:
        middle = content.index(b"2") if name == "MANIFEST.json" else len(content) // 2
        flipped = bytes([content[middle] ^ 0x01])
        path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
    newest = store.latest()
    assert newest is not None and newest.step == 10
    assert f"step_000020/{name}" in caplog.text or name == "MANIFEST.json"
    with pytest.raises(CheckpointError, match="step_000020"):
        verify(tmp_path / "step_000020")


def test_a_store_with_bad_checkpoints_only_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=3)
    (save(store, 10) / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"none of 1 .*delete them.*state\.json: missing"):
        store.latest()


def test_planted_linked_foreign_and_world_writable_files_are_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=9)
    (save(store, 1) / "rank" / "evil.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(CheckpointError, match=r"rank/evil\.pkl: not listed"):
        verify(tmp_path / "step_000001")

    linked = save(store, 2) / "rank" / "0.bin"
    shutil.copy(linked, tmp_path / "copy")
    linked.unlink()
    linked.symlink_to(tmp_path / "copy")
    with pytest.raises(CheckpointError, match=r"0\.bin: neither a plain file"):
        verify(tmp_path / "step_000002")

    save(store, 3).joinpath("rank").chmod(0o777)
    with pytest.raises(CheckpointError, match=r"rank: everyone may write"):
        verify(tmp_path / "step_000003")

    if os.getuid() == 0:
        os.chown(save(store, 4) / "rank" / "0.bin", 12345, -1)
        with pytest.raises(CheckpointError, match=r"0\.bin: belongs to user id 12345"):
            verify(tmp_path / "step_000004")


def test_a_permissive_umask_does_not_make_our_own_checkpoint_untrusted(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = CheckpointStore(tmp_path / "c", keep_last=1)
        save(store, 5)
    finally:
        os.umask(before)
    newest = store.latest()
    assert newest is not None and newest.step == 5


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    for step in (1, 2, 3, 1_000_000):
        save(store, step)
    assert steps_in(tmp_path) == ["step_000003", "step_1000000"]
    newest = store.latest()
    assert newest is not None and newest.step == 1_000_000


def test_pruning_never_removes_the_one_just_written(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    (save(store, 30) / "state.json").unlink()
    save(store, 20)
    assert steps_in(tmp_path) == ["step_000020", "step_000030"]
    newest = store.latest()
    assert newest is not None and newest.step == 20


def test_a_second_save_of_a_step_keeps_a_good_one_and_replaces_a_bad_one(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    file = save(store, 10, b"first") / "rank" / "0.bin"
    save(store, 10, b"again")
    assert file.read_bytes() == b"first" * 100
    file.write_bytes(b"ruined")
    save(store, 10, b"again")
    assert file.read_bytes() == b"again" * 100
    assert steps_in(tmp_path) == ["step_000010"]
    assert verify(tmp_path / "step_000010").step == 10


def test_a_full_disk_keeps_the_old_checkpoint_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    save(store, 10)
    folder = store.begin(20)
    (folder / "0.bin").write_bytes(b"x" * 1000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"state\.json: File too large"):
            store.publish(20, {"generator": "y" * 10_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert steps_in(tmp_path) == ["step_000010"]
    newest = store.latest()
    assert newest is not None and newest.step == 10


def test_state_that_is_not_json_is_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    for bad in (float("nan"), {1, 2}):
        store.begin(1)
        with pytest.raises(CheckpointError, match=r"state\.json: the state is not JSON"):
            store.publish(1, {"bad": bad})
    assert steps_in(tmp_path) == []


def test_discard_and_reopening_remove_unfinished_files(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=1)
    store.begin(1)
    store.discard(1)
    assert steps_in(tmp_path) == []
    (store.begin(2) / "half.bin").write_bytes(b"half")
    CheckpointStore(tmp_path, keep_last=1)
    assert steps_in(tmp_path) == []


def test_files_of_other_nodes_are_waited_for(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=2)
    folder = store.begin(1)
    expected = {"learner/rank_0.pt": 3, "learner/rank_1.pt": 5}

    def arrive() -> None:
        """Appear late, and first cut off, as a shared file system may show what others write."""
        (folder / "learner").mkdir()
        (folder / "learner/rank_0.pt").write_bytes(b"abc")
        (folder / "learner/rank_1.pt").write_bytes(b"ab")
        time.sleep(0.8)
        (folder / "learner/rank_1.pt").write_bytes(b"abcde")

    with ThreadPoolExecutor(1) as other_node:
        arrived = other_node.submit(arrive)
        path = store.publish(1, {"step": 1}, expected)
        arrived.result()
    assert verify(path).step == 1
    assert (path / "learner/rank_1.pt").read_bytes() == b"abcde"


def test_files_that_never_arrive_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.checkpoint.FILES_TIMEOUT_S", 0.1)
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=2)
    store.begin(1)
    with pytest.raises(
        CheckpointError, match=r"rank_1\.pt: written by a learner rank, but not seen"
    ):
        store.publish(1, {"step": 1}, {"learner/rank_1.pt": 5})
    assert store.latest() is None
