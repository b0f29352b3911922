#!/usr/bin/env python
"""Push a trained checkpoint, an adapter or an annotated corpus to the Hugging Face hub.

python launch/push.py model RUN ORG/NAME [--adapter] [--leave-out FILE ...] [--public] [--yes]
python launch/push.py dataset FOLDER ORG/NAME [--audio ROOT] [--leave-out FIELD ...] [--yes]

Without `--yes` it says what it would do, and touches no network; docs/hub.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.errors import UserError
from configs.hub import REPO
from configs.secrets import VARIABLE_NAME, hide_variables_of
from launch.command import EXIT_CONFIG, EXIT_DONE, fail, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 done or would do, 2 what is refused, by us or by the hub."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=["model", "dataset"])
    parser.add_argument("folder", type=Path, help="a finished run, or what annotate.py has made")
    parser.add_argument("repo", help="ORG/NAME on the hub")
    parser.add_argument("--adapter", action="store_true", help="model: the adapter alone")
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="ROOT",
        help="dataset: the clips below this audio root too; most corpora's licences forbid it",
    )
    parser.add_argument(
        "--leave-out",
        nargs="+",
        default=[],
        metavar="NAME",
        help="model: files, such as spk_dict.pt; dataset: fields, such as text words",
    )
    parser.add_argument("--public", action="store_true", help="if it is new; else it is private")
    parser.add_argument("--branch", default="main", help="branch that is committed to")
    parser.add_argument(
        "--token-env", default="HF_TOKEN", metavar="VARIABLE", help="what holds the token"
    )
    parser.add_argument("--yes", action="store_true", help="do it; without, only say what")
    return run_command(parser, push, argv)


def push(arguments: argparse.Namespace) -> int:
    """Check what is to be pushed, describe it, and push it if that was asked for."""
    from launch.hub import Upload

    if not REPO.fullmatch(arguments.repo):
        raise UserError(f"{arguments.repo}: is no repository; write ORG/NAME")
    if arguments.adapter and arguments.kind != "model":
        raise UserError("--adapter: is for a model")
    if arguments.audio and arguments.kind != "dataset":
        raise UserError("--audio: is for a dataset")
    if not VARIABLE_NAME.fullmatch(arguments.token_env):
        raise UserError("--token-env: takes the name of a variable, in capitals, never the token")
    hide_variables_of({"token_env": arguments.token_env})
    files = model_files if arguments.kind == "model" else dataset_files
    upload = Upload(
        arguments.repo,
        arguments.kind,
        files(arguments),
        not arguments.public,
        arguments.branch,
        arguments.token_env,
    )
    print(f"checking {len(upload.files)} files", file=sys.stderr, flush=True)
    problems = list(upload.problems())
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        return fail(EXIT_CONFIG, f"not pushed, {len(problems)} problem(s):\n{lines}")
    print("\n".join(upload.describe()), flush=True)
    if arguments.yes:
        print(f"pushed: {upload.push()}")
    else:
        print("dry run: nothing was sent; the same command with --yes pushes it")
    return EXIT_DONE


def model_files(arguments: argparse.Namespace) -> Mapping[str, Path]:
    """Return what is pushed of a run: all files of its export or adapter.

    Raises:
        UserError: The folder is no run, the run is not finished, or there is no such export.
    """
    from trainer.run_folder import RunFolder

    folder = RunFolder(arguments.folder)
    if not folder.status_path.is_file():
        raise UserError(f"{folder.root}: is no run folder; name the one that holds run_status.json")
    state = folder.read_status()["state"]
    if state != "finished":
        raise UserError(f"{folder.root}: its run is {state}, not finished; there is no export yet")
    source = folder.adapter_dir if arguments.adapter else folder.export_dir
    if not source.is_dir():
        why = "it trained no adapter" if arguments.adapter else "checkpoint.export was false"
        raise UserError(f"{source}: is not there; {why}")
    paths = sorted(path for path in source.rglob("*") if not path.is_dir())
    named = {path.relative_to(source).as_posix(): path for path in paths}
    return {name: path for name, path in named.items() if name not in arguments.leave_out}


def dataset_files(arguments: argparse.Namespace) -> Mapping[str, Path]:
    """Write rows and card to `FOLDER/hub` and return them, and the clips if they are asked for.

    Raises:
        UserError: There is no manifest, or a clip is not below the audio root.
    """
    from data.files import read_rows, write_atomically, write_rows
    from report.dataset_card import dataset_card
    from trainer.export import CARD

    manifest = arguments.folder / "manifest.jsonl"
    if not manifest.is_file():
        raise UserError(f"{manifest}: is not there; name a folder that launch/annotate.py has made")
    target = arguments.folder / "hub"
    (target / "data").mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[Mapping[str, Any]]] = {}
    for row in read_rows(manifest):
        kept = {key: row[key] for key in row if key not in arguments.leave_out}
        splits.setdefault(re.sub(r"\W+", "_", str(row.get("split") or "all")), []).append(kept)
    files = {CARD: target / CARD}
    name = arguments.repo.rpartition("/")[2]
    write_atomically(files[CARD], dataset_card(name, splits, has_audio=arguments.audio is not None))
    for split, rows in splits.items():
        files[f"data/{split}.jsonl"] = path = target / "data" / f"{split}.jsonl"
        write_rows(path, rows)
    if arguments.audio is not None:
        files |= _clips(arguments.audio, (row for rows in splits.values() for row in rows))
    return files


def _clips(root: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, Path]:
    from data.links import ClipRoot
    from data.row_clips import clips_in

    clips = ClipRoot(root)
    names = sorted({clip for row in rows for clip in clips_in(row)})
    bad = [name for name in names if not clips.may_read(name) or clips.problem(name)]
    if bad:
        raise UserError(f"{root}: {len(bad)} clips are not files below it, first {bad[0]!r}")
    return {f"audio/{name}": Path(root, name) for name in names}


if __name__ == "__main__":
    sys.exit(main())
