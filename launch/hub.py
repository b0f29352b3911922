"""What may go to the hub and what goes: checks of files, and the upload itself."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from safetensors import SafetensorError, safe_open

from configs.errors import UserError
from configs.secrets import secret_problems, without_secrets
from trainer.export import CARD

WEIGHTS, AUDIO = ".safetensors", (".wav", ".flac", ".mp3", ".ogg", ".opus")
TEXTS = (".json", ".jsonl", ".md", ".txt", ".jinja")
"""Ends of the only files that are pushed; no pickle and no code is among them."""

PLAIN_NAMES = ("LICENSE", "NOTICE", ".gitattributes")
"""Files without an end that are pushed too: texts of a start checkpoint."""

WORDS_OF_TOKENIZER = ("tokenizer.json", "vocab.json", "added_tokens.json")
"""JSON files whose keys and texts are vocabulary, not settings."""

KEY_SHAPE = re.compile(
    r"\b(hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{36,}|AKIA[0-9A-Z]{16})\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""How keys of well-known services look."""

LOCAL_PATH = re.compile(r"(~|/[\w.@+-]+|[A-Za-z]:)[/\\][\w.@+/\\ -]+|[\\]{2}\w+[\\].+")
"""A text that is a path of one machine."""

PATH_IN_TEXT = re.compile(r"(?<![\w:/.<~])(?:/[\w.@+-]+){2,}")
"""The same within a text."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Upload:
    """Files for one repository."""

    repo: str
    """`ORG/NAME`."""
    kind: Literal["model", "dataset"]
    files: Mapping[str, Path]
    """Path in the repository -> file."""
    private: bool
    """If the repository is new."""
    branch: str
    token_env: str
    """Name of the environment variable that holds the token."""

    def problems(self) -> Iterator[str]:
        """Yield what keeps files from being pushed: which file, what is wrong with it."""
        for name, path in self.files.items():
            yield from (f"{name}: {problem}" for problem in file_problems(path))
        if CARD not in self.files:
            yield f"{CARD}: is missing; nobody could tell what this is"

    def describe(self) -> Iterator[str]:
        """Yield the lines of a dry run."""
        sizes = {name: path.stat().st_size for name, path in self.files.items()}
        who = "private" if self.private else "PUBLIC"
        yield f"{self.kind} {self.repo}, branch {self.branch} (made {who} if it is not there)"
        for name, size in sizes.items():
            yield f"  {size:>15,}  {name}"
        yield f"  {sum(sizes.values()):>15,}  bytes in {len(sizes)} files, in one commit"
        card = self.files[CARD]
        yield f"card: {card}"
        for path in dict.fromkeys(PATH_IN_TEXT.findall(card.read_text(encoding="utf-8"))):
            yield f"  note: the card names {path}, a path of this machine; edit it if nobody should"

    def push(self) -> str:
        """Make the repository if it is not there, commit all files, and return their address.

        Raises:
            UserError: No token, no network by `HF_HUB_OFFLINE`, an address that would show the
                token, or the hub refuses.
        """
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(token=self._token())
        scheme, host = urlsplit(api.endpoint).scheme, urlsplit(api.endpoint).hostname
        if scheme != "https" and host not in LOOPBACK:
            raise UserError(
                f"HF_ENDPOINT: {api.endpoint} is not https; anyone could read the token"
            )
        added = [CommitOperationAdd(name, str(path)) for name, path in self.files.items()]
        try:
            api.create_repo(self.repo, repo_type=self.kind, private=self.private, exist_ok=True)
            commit = api.create_commit(
                self.repo,
                added,
                commit_message=f"Push {len(added)} files",
                repo_type=self.kind,
                revision=self.branch,
            )
        except (OSError, ValueError) as error:  # the library's own errors are of these kinds
            raise UserError(f"{self.repo}: the hub did not take it: {error}") from error
        return str(commit.commit_url)

    def _token(self) -> str:
        token = os.environ.get(self.token_env, "").strip()
        if not token:
            raise UserError(
                f"{self.token_env}: the environment has no such variable, or it is empty; put a "
                "token with write access there, or name another with --token-env"
            )
        return token


def file_problems(path: Path) -> Iterator[str]:
    """Yield why a file is not pushed: its kind, a link, a secret in it, a path of this machine."""
    if path.is_symlink() or not path.is_file():
        yield "is a link or no file"
    elif path.suffix == WEIGHTS:
        yield from _weight_problems(path)
    elif path.suffix in TEXTS or path.name in PLAIN_NAMES:
        yield from _text_problems(path)
    elif path.suffix.lower() not in AUDIO:
        ends = ", ".join((WEIGHTS, *TEXTS, *AUDIO))
        yield (
            f"is of a kind that is not pushed, since pickles and code can run; allowed are {ends}; "
            "--leave-out takes it out"
        )


def _weight_problems(path: Path) -> Iterator[str]:
    try:
        with safe_open(path, framework="numpy") as weights:
            metadata = weights.metadata() or {}
    except (OSError, SafetensorError) as error:
        yield f"is not in safetensors format: {error}"
        return
    for name, value in metadata.items():
        yield from _value_problems(value, f"metadata.{name}")


def _text_problems(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                if KEY_SHAPE.search(line) or without_secrets(line) != line:
                    yield f"line {number} holds a key or token"
                if path.suffix == ".jsonl":
                    yield from _value_problems(json.loads(line), f"line {number}")
            if path.suffix == ".json":
                file.seek(0)
                settings = json.load(file)
                if path.name not in WORDS_OF_TOKENIZER:
                    yield from _value_problems(settings, "")
                    yield from (f"{key}: {words}" for key, words in secret_problems(settings))
        except ValueError as error:  # neither UTF-8 nor JSON
            yield f"cannot be read as text: {error}"


def _value_problems(value: Any, key: str) -> Iterator[str]:
    """Yield where JSON data names a path of this machine."""
    if isinstance(value, str) and LOCAL_PATH.fullmatch(value):
        yield f"{key.lstrip('.')}: {value!r} is a path of this machine"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _value_problems(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _value_problems(inner, f"{key}.{index}")
