#!/usr/bin/env python
"""Merge a peft LoRA adapter into its base: a whole checkpoint, which engines and judges load.

python launch/merge.py --base CHECKPOINT --adapter FOLDER --output FOLDER

Both may be hub ids with a revision, `ORG/NAME@REVISION`; docs/adapters.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.errors import UserError
from configs.hub import local_folder
from launch.command import EXIT_DONE, be_quiet, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 done, 2 an adapter or base that cannot be used, 4 a full disk."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", required=True, metavar="CHECKPOINT")
    parser.add_argument("--adapter", required=True, metavar="FOLDER")
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="new folder")
    return run_command(parser, merge, argv)


def merge(arguments: argparse.Namespace) -> int:
    """Load base and adapter, and export them as one, in the base's own number format."""
    be_quiet()
    base, adapter = (local_folder(name) for name in (arguments.base, arguments.adapter))
    if not Path(base, "config.json").is_file():
        raise UserError(f"{base}: is no checkpoint: it has no config.json")
    if arguments.output.exists():
        raise UserError(f"{arguments.output}: is there already; name a new folder")
    from trainer.adapters import fill_adapters, lora_of
    from trainer.export import export_checkpoint
    from trainer.policy import add_adapters, load_thinker
    from trainer.weights import WeightSource

    print(f"loading {base}", flush=True)
    lora = lora_of(Path(adapter))
    thinker = load_thinker(base, "float32")
    add_adapters(thinker, lora)
    fill_adapters(thinker, Path(adapter), lora)
    export_checkpoint(Path(base), arguments.output, dict(WeightSource(thinker, changed_only=True)))
    print(f"merged: {arguments.output}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
