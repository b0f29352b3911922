"""Prosody measured on two Ray nodes: the files of one machine, whatever happens to a node."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.two_nodes.run import Host, MissingToolError, TwoNodes, open_two_nodes
from tests.e2e.command import Shell, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FILES = (
    *("corpus.jsonl", "prosody.jsonl", "prosody.jsonl.cache.jsonl", "manifest.jsonl"),
    "prosody.jsonl.errors.jsonl",
)
NUM_NAMES = 5
"""Names that each clip has: each is a clip of its own, so that there is time to disturb."""
END_TIMEOUT_S = 240


@dataclass(frozen=True)
class BlindHost(Host):
    """A machine on which a file system is not mounted: its folder is empty."""

    hidden: Path

    def words(self, *command: str) -> list[str]:
        """Return a command line that runs a command there, without the folder."""
        hide = 'mount -t tmpfs none "$0" && exec "$@"'
        return super().words("unshare", "-m", "sh", "-c", hide, str(self.hidden), *command)


@pytest.fixture(scope="module")
def nodes(shell: Shell) -> Iterator[TwoNodes]:
    """Return two nodes with Ray on them; none can be made without root and iproute2."""
    try:
        with open_two_nodes(shell.environment()) as nodes:
            yield nodes
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def clips(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a corpus with many names for each clip; one file is cut."""
    folder = tmp_path_factory.mktemp("clips") / "corpus"
    folder.mkdir()
    with (folder / "manifest.jsonl").open("w") as manifest:
        for line in (corpus / "manifest.jsonl").read_text().splitlines():
            row = json.loads(line)
            for number in range(NUM_NAMES):
                name = f"{row['id']}-{number}.wav"
                os.link(corpus / row["audio"], folder / name)
                manifest.write(json.dumps({**row, "id": name, "audio": name}) + "\n")
    cut = max(folder.glob("*.wav"))
    content = cut.read_bytes()
    cut.unlink()  # else the corpus would be cut too
    cut.write_bytes(content[:-100])
    return folder


def words(clips: Path, output: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "launch/annotate.py", f"manifest={clips / 'manifest.jsonl'}"),
        *(f"root={clips}", f"output={output}", "splits.allow=[speaker,transcript,sha256]"),
        *more,
    ]


def test_two_nodes_write_what_one_machine_writes(
    nodes: TwoNodes, shell: Shell, clips: Path, tmp_path: Path
) -> None:
    local, output = tmp_path / "local", tmp_path / "cluster"
    done = shell.run(*words(clips, local))
    assert done.returncode == 0, done.stderr

    measured, text = output / FILES[2], tmp_path / "output.txt"
    command = nodes.head.words(*words(clips, output, "ray=auto"))

    def live(disturb: Callable[[int], object] | None) -> int:
        """Start the command, disturb it once it has measured some more, and return its code."""
        before = measured.stat().st_size if measured.exists() else 0
        driver = shell.start(*command, output=text, **nodes.variables())
        if disturb:
            wait_until(
                lambda: (
                    driver.poll() is not None
                    or (measured.exists() and measured.stat().st_size > before)
                ),
                "a measurement",
            )
            assert driver.poll() is None, text.read_text()
            disturb(driver.pid)
        return driver.wait(timeout=END_TIMEOUT_S)

    assert live(lambda pid: os.kill(pid, signal.SIGTERM)) == 75, text.read_text()
    assert "stopped; run the same command again to go on" in text.read_text()
    kept = measured.stat().st_size
    assert live(lambda _: nodes.other.kill()) == 0, text.read_text()
    assert "ray: 2 nodes with 4 CPUs" in text.read_text()
    assert 0 < kept < measured.stat().st_size
    for name in FILES:
        assert (output / name).read_bytes() == (local / name).read_bytes(), name
    nodes.start(nodes.other)


def test_a_node_without_the_clips_is_named_and_no_clip_is_refused(
    nodes: TwoNodes, shell: Shell, clips: Path, tmp_path: Path
) -> None:
    nodes.other.kill()
    other = nodes.other
    nodes.other = blind = BlindHost(other.name, other.address, other.ray_dir, clips)
    nodes.start(blind)
    command = words(clips, tmp_path / "out", "ray=auto")
    done = shell.run(*nodes.head.words(*command), timeout_s=END_TIMEOUT_S, **nodes.variables())
    assert done.returncode == 2, done.stdout
    assert f"error: node {blind.address}: no clips in {clips}" in done.stderr
    assert not (tmp_path / "out" / "prosody.jsonl.errors.jsonl").exists()
