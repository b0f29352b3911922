"""Pages that teach: messages, keys, files and commands on them are those of the code."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from annotate.corpora.table import CORPORA
from annotate.sources.read import SOURCES
from cadence_rl.console import commands
from cadence_rl.names import PACKAGES
from configs.annotate_schema import AnnotateConfig
from configs.load import load_config, load_sections
from configs.schema import RunConfig
from configs.section import keys_below

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
TAUGHT = ("tutorial", "recipes", "troubleshooting", "coming_from", "plugins", "install")
PLACE = "\0"
"""Stands for what differs, in a message of the code."""


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def rendered(node: ast.AST) -> str | None:
    """A text of the code, with `PLACE` for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(rendered(part) or PLACE for part in node.values)
    return None


@cache
def texts() -> tuple[str, ...]:
    """All texts in our code but docstrings."""
    found: list[str] = []
    for name in ("cadence_rl", *PACKAGES):
        for file in sorted((ROOT / name).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            docs = {
                id(node.value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            }
            nodes = (node for node in ast.walk(tree) if id(node) not in docs)
            found += [text for node in nodes if (text := rendered(node))]
    return tuple(found)


MESSAGES = re.findall(r"^\| `([^`]+)` \|", page("troubleshooting"), flags=re.MULTILINE)


def test_the_page_has_the_likeliest_messages() -> None:
    assert len(MESSAGES) == len(set(MESSAGES)) >= 25


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_page_is_one_of_the_code(message: str) -> None:
    parts = [re.escape(part.strip()) for part in message.split("...")]
    pattern = re.compile(".*?".join(parts), re.DOTALL)
    assert any(pattern.search(text) for text in texts())


def test_a_message_that_nobody_writes_would_be_found() -> None:
    assert not any("the parrot is ... and no more" in text for text in texts())
    assert any("lasts" in text and PLACE in text for text in texts())


def known_keys() -> set[str]:
    """Keys of runs and of annotation, with `N` for the number of a term, and their sections."""
    keys = {*keys_below(RunConfig), *keys_below(AnnotateConfig)}
    keys = {re.sub(r"\.\d+\b", ".N", key) for key in keys}
    return keys | {key.rpartition(".")[0] for key in keys}


SECTIONS = [
    "model",
    "data",
    "rollout",
    "sync",
    "async",
    "rewards",
    "advantage",
    "loss",
    "optim",
    "learner",
    "train",
    "eval",
]
SECTIONS += ["checkpoint", "parity", "log", "judge", "resume", "splits", "source", "tasks"]


@pytest.mark.parametrize("name", [*TAUGHT, "index"])
def test_every_key_exists(name: str) -> None:
    first_column = re.compile(r"^(\| [^|]*\|).*$", flags=re.MULTILINE)
    text = page(name)
    if name == "coming_from":  # the other columns hold the names of others
        text = first_column.sub(r"\1", text)
    text = text.replace("trainer.train", "")
    found = set(re.findall(rf"(?<![\w/.])((?:{'|'.join(SECTIONS)})(?:\.[a-z_]+|\.\d|\.N)+)", text))
    files = {
        key for key in found if (ROOT / key).exists() or key.endswith((".sbatch", ".md", ".yaml"))
    }
    modules = {key for key in found if (ROOT / f"{key.replace('.', '/')}.py").is_file()}
    modules |= {key for key in found if (ROOT / key.replace(".", "/")).is_dir()}
    shown_as_wrong = {"train.num_stepz"}
    found -= files | modules | shown_as_wrong
    keys = {re.sub(r"\.\d+\b", ".N", key) for key in found}
    assert keys <= known_keys()


def words_of(name: str) -> list[list[str]]:
    """Commands of a page, as words; `python` first."""
    blocks = re.findall(r"```bash\n(.*?)```", page(name), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    given = [line for line in lines if re.match(r"(\.venv/bin/)?python launch/", line)]
    return [shlex.split(line, comments=True)[1:] for line in given]


COMMANDS = [words for name in TAUGHT for words in words_of(name)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_names_what_exists_and_its_settings_load(words: list[str]) -> None:
    script = words[0].removeprefix("launch/").removesuffix(".py")
    assert script in commands()
    overrides = [word for word in words[1:] if re.match(r"[a-z_]+(\.\w+)*=", word)]
    overrides = [word for word in overrides if not word.startswith("corpus=")]
    if script == "annotate":
        load_sections("", AnnotateConfig, overrides)
    elif "--config" in words and (ROOT / words[words.index("--config") + 1]).is_file():
        load_config(ROOT / words[words.index("--config") + 1], overrides)
    else:
        assert "--run" in words or not overrides or script in ("doctor", "calibrate")
    corpora = {word.partition("=")[2] for word in words if word.startswith("corpus=")}
    assert corpora <= {*CORPORA, *SOURCES}


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r"(\w+\.md)", nav)) == sorted(path.name for path in DOCS.glob("*.md"))


def build_site(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Build a site of one page with our hooks and checks, in strict mode."""
    pytest.importorskip("mkdocs")
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(text, encoding="utf-8")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
    settings = settings.replace("docs/site_hooks.py", str(DOCS / "site_hooks.py"))
    (folder / "mkdocs.yml").write_text(settings, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_code_that_a_page_links_to_is_on_the_site(tmp_path: Path) -> None:
    links = "[a](../rewards/format.py) [b](../annotate/tasks) [c](../examples/README.md) [d](#x)"
    text = f"{links}\n\n## x"
    done = build_site(tmp_path, text)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "build" / "site"
    assert "class FormatReward" in (site / "source" / "rewards" / "format.py.html").read_text()
    assert "mix.py" in (site / "source" / "annotate" / "tasks.html").read_text()
    index = (site / "index.html").read_text()
    assert 'href="source/rewards/format.py.html"' in index
    assert "fonts.googleapis" not in index


@pytest.mark.slow
@pytest.mark.parametrize("target", ["../rewards/nothing.py", "nothing.md", "#nothing"])
def test_a_broken_link_ends_the_build(tmp_path: Path, target: str) -> None:
    done = build_site(tmp_path, f"# Page\n\n[a link]({target})")
    assert done.returncode != 0
    assert "contains a link" in done.stderr
