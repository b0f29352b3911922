"""Hub ids in the place of folders: found in the cache, refused with what fetches them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from configs.errors import UserError
from configs.hub import local_folder
from configs.load import ConfigError, dump_config, load_config

ROOT = Path(__file__).parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The hub's cache with one snapshot, as `hf download me/it --revision v1` leaves it."""
    folder = tmp_path / "models--me--it"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "v1").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield folder / "snapshots" / COMMIT


@pytest.mark.parametrize("revision", ["v1", COMMIT])
def test_a_pinned_id_is_its_snapshot(cache: Path, revision: str) -> None:
    assert local_folder(f"me/it@{revision}") == str(cache)


def test_everything_else_is_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["runs/demo/sft/export", "/abs/folder", "me/it", "", "a/b/c@v1", "../x@y"]
    assert [local_folder(text) for text in texts] == texts
    monkeypatch.chdir(cache)
    (cache / "me" / "it@v1").mkdir(parents=True)
    assert local_folder("me/it@v1") == "me/it@v1"  # a folder of that name comes first


def test_what_is_not_there_names_the_command(cache: Path) -> None:
    message = r"me/it@v2: is not in the hub's cache; fetch it: hf download me/it --revision v2 --in"
    with pytest.raises(UserError, match=message):
        local_folder("me/it@v2")


def test_a_configuration_is_read_with_folders(cache: Path) -> None:
    overrides = [
        "model.path=me/it@v1",
        "judge.options={model_path: me/it@v1}",
        "rewards.terms.1.options={judge_options: {model_path: me/it@v1}, depth: 2}",
    ]
    config = load_config(ROOT / "configs" / "tiny.yaml", overrides)
    assert config.model.path == config.judge.options["model_path"] == str(cache)
    options = config.rewards.terms[1].options
    assert options == {"judge_options": {"model_path": str(cache)}, "depth": 2}
    assert f"models--me--it/snapshots/{COMMIT}" in dump_config(config)
    with pytest.raises(UserError, match="me/it@v3: is not in the hub's cache"):
        load_config(ROOT / "configs" / "tiny.yaml", ["model.path=me/it@v3"])


@pytest.mark.parametrize(
    "settings",
    [["checkpoint.push_to_hub=mine"], ["checkpoint.push_to_hub=a/b", "checkpoint.export=false"]],
)
def test_a_push_needs_a_repository_and_an_export(settings: list[str]) -> None:
    tiny = ROOT / "configs" / "tiny.yaml"
    with pytest.raises(ConfigError, match=r"needs ORG/NAME and checkpoint.export: true"):
        load_config(tiny, settings)
    config = load_config(tiny, ["checkpoint.push_to_hub=me/it"])
    assert config.checkpoint.push_to_hub == "me/it"
