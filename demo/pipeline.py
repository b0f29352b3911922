"""`python -m demo.pipeline`: the paper's whole pipeline in miniature; finished stages are skipped.

Corpus, annotation, two stages of supervised fine-tuning, judge training, RL with and without the
trained judge, evaluation of every policy, and the paper's tables filled in.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from demo.corpus import build_corpus
from demo.stages import Stage, run

FOLDER = Path("runs/pipeline")
CONFIGS = Path("configs/pipeline")

JUDGE = "rewards.terms.2.options.judge_options.model_path"
"""Key of the judge's checkpoint in the configuration of GRPO-PTR."""

VOCAB_SIZE = 1024
"""Of policy and judge: probes and the judge's texts have more words than the demo's."""


def _stage(title: str, command: str, config: str, *overrides: str, name: str = "") -> Stage:
    """Return the stage of a file in `CONFIGS`, whose run folder is named like it or `name`."""
    return Stage(title, command, f"{CONFIGS / config}.yaml", FOLDER / (name or config), overrides)


POLICIES = {
    "Base": "base",
    "SFT": "sft",
    "GRPO": "grpo",
    "GRPO-PTR, untrained judge": "ptr_untrained",
    "GRPO-PTR": "ptr",
}
"""Row of the table -> run that trained the policy."""

TRAINING = (
    _stage("supervised stage I: all weights, prosody tasks", "sft", "sft_prosody"),
    _stage("supervised stage II: adapters, cold start with reasoning", "sft", "base"),
    _stage("judge: training and calibration", "judge", "judge"),
    _stage("SFT on all reasoning, for comparison (V1)", "sft", "sft"),
    _stage("GRPO: format and accuracy alone (V2)", "rl", "grpo"),
    _stage(
        "GRPO-PTR with the judge before its training (V3)",
        "rl",
        "ptr",
        f"{JUDGE}={FOLDER / 'sft_prosody' / 'export'}",
        name="ptr_untrained",
    ),
    _stage("GRPO-PTR with the trained judge (V6)", "rl", "ptr"),
)

EVALUATIONS = tuple(
    _stage(
        f"evaluation of {row}",
        "evaluate",
        "evaluate",
        f"model.path={FOLDER / policy / 'export'}",
        name=f"eval/{policy}",
    )
    for row, policy in POLICIES.items()
)


def texts() -> Iterator[str]:
    """Yield what the policies will read and write, for their tokenizer."""
    wanted = {
        "sft.jsonl": ("question", "target"),
        "manifest.jsonl": ("reasoning",),
        "judge.jsonl": ("reasoning",),
    }
    for name, keys in wanted.items():
        for line in (FOLDER / "data" / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield from (row[key] for key in keys if row.get(key))


def main() -> int:
    """Run all stages and print the table."""
    start = time.monotonic()
    corpus = FOLDER / "corpus"
    if not corpus.exists():
        print("== a synthetic speech corpus", flush=True)
        build_corpus(corpus, num_train=3000, num_eval=180, num_test=540, num_cold_start=432, seed=0)
    run("data", "launch/annotate.py", "--config", str(CONFIGS / "data.yaml"))
    checkpoint = FOLDER / "checkpoint"
    if not checkpoint.exists():
        from demo.checkpoint import build_checkpoint  # imports torch: seconds, not for a look

        build_checkpoint(checkpoint, texts=texts(), vocab_size=VOCAB_SIZE)
    for stage in (*TRAINING, *EVALUATIONS):
        stage.run()
    rows = [f"{row}={FOLDER / 'eval' / name}" for row, name in POLICIES.items()]
    probes = ["--probes", str(FOLDER / "sft_prosody")]
    table = FOLDER / "tables.md"
    run("tables", "launch/tables.py", *rows, *probes, "--output", str(table))
    *others, last = (str(FOLDER / "eval" / name) for name in POLICIES.values())
    title = "report of the last policy, beside the others"
    run(title, "launch/report.py", last, "--compare", *others)
    print(f"\n{table.read_text(encoding='utf-8')}")
    print(f"the whole pipeline took {time.monotonic() - start:.0f} s; reports:")
    for name in ("judge/calibration/report.md", "ptr/report.html", "eval/ptr/report.html"):
        print(f"  {FOLDER / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
