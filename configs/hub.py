"""Hub ids in the place of checkpoint folders: `ORG/NAME@REVISION`, read from the hub's cache."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from configs.errors import UserError

REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""`ORG/NAME`."""

HUB_ID = re.compile(rf"(?P<repo>{REPO.pattern})@(?P<revision>\w[\w./-]*)")
"""A repository and a commit, tag or branch of it. Without a revision it would mean other weights
tomorrow, so it is not taken."""

FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.md"]
"""What is fetched of a repository: no pickles, no code."""

FOLDER_OPTIONS = ("model_path",)
"""Options of rewards and judges that name a checkpoint."""


def local_folder(checkpoint: str) -> str:
    """Return the folder of a checkpoint: of a hub id its snapshot in the cache, else the text.

    Nothing is fetched unless the environment has `HF_HUB_OFFLINE=0`.

    Args:
        checkpoint: Folder, or `ORG/NAME@REVISION` if there is no folder of that name.

    Raises:
        UserError: The snapshot is not there; the message has the command that fetches it.
    """
    match = HUB_ID.fullmatch(checkpoint)
    if match is None or Path(checkpoint).exists():
        return checkpoint
    # Not before it is needed: it takes a third of a second.
    import huggingface_hub

    repo, revision = match["repo"], match["revision"]
    try:
        folder = cast(Any, huggingface_hub).snapshot_download(
            repo,
            revision=revision,
            allow_patterns=FILES,
            local_files_only=os.environ.get("HF_HUB_OFFLINE", "1") != "0",
        )
    except (OSError, ValueError) as error:  # the library's own errors are of these kinds
        is_absent = isinstance(error, FileNotFoundError)
        why = "" if is_absent else f" ({str(error).strip().partition(chr(10))[0]})"
        patterns = " ".join(f"--include '{pattern}'" for pattern in FILES)
        raise UserError(
            f"{checkpoint}: is not in the hub's cache{why}; fetch it: "
            f"hf download {repo} --revision {revision} {patterns}"
        ) from error
    return str(folder)


def with_folders(options: Any) -> Any:
    """Return options with the folders of hub ids in `FOLDER_OPTIONS`, at any depth."""
    if not isinstance(options, Mapping):
        return options
    return {
        name: local_folder(value)
        if name in FOLDER_OPTIONS and isinstance(value, str)
        else with_folders(value)
        for name, value in cast(Mapping[str, Any], options).items()
    }
