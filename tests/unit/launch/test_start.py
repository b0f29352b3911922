"""What the driver of a run loads: every command waits for it."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import pytest

from configs.imports import without_collections
from launch.preflight import ROOT

RANKS_AND_ENGINES = {"deepspeed", "peft", "vllm", "torch._inductor", "torch._dynamo", "torchvision"}
"""What only they need; together it takes longer to load than all that the driver needs."""


@pytest.mark.slow
def test_a_driver_does_not_load_the_libraries_of_its_actors() -> None:
    code = (
        "import json, sys\n"
        "from data.prompts import load_processor\n"
        "import data.lengths, launch.build, launch.cluster, launch.evaluation\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert {"torch", "ray", "transformers"} <= loaded
    assert not RANKS_AND_ENGINES & loaded


@pytest.mark.slow
def test_pages_tables_and_pushes_load_no_model_library() -> None:
    code = (
        "import json, sys\n"
        "import launch.compare, launch.hub, launch.report, launch.sweep, launch.tables\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "ray", "transformers", "vllm"} & set(json.loads(done.stdout))


def test_the_collector_is_held_back_for_a_while_and_then_leaves_out_what_was_made() -> None:
    try:
        with pytest.raises(ImportError), without_collections():
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]
            raise ImportError
        assert gc.isenabled() and len(kept) == 1000
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()
