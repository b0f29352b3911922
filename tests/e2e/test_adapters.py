"""RL from an SFT adapter, stopped and resumed: the policy, its reference and what comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import torch
from transformers import Qwen2_5OmniThinkerForConditionalGeneration as Thinker

from configs.vllm_env import vllm_environment
from tests.e2e.command import Shell, command
from tests.e2e.conftest import WriteConfig
from tests.hub_server import hub

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TOKEN = "hf_" + "Ab3" * 12
LORA = {"model.lora.rank": 4, "model.lora.alpha": 8}
SFT = {
    "name": "sft",
    "loss.kind": "sft",
    "data.train_split": "cold_start",
    "eval.test_split": "''",
    "optim.lr": 1e-2,
}


TOKENS = [1, 20, 4, 5, 30, 31, 2]
IN_VLLM = f"""
import json, sys
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

sizes = dict(dtype="float32", enforce_eager=True, max_model_len=64, max_num_seqs=4, max_lora_rank=8)
llm = LLM(model=sys.argv[1], enable_lora=True, **sizes)
asked = SamplingParams(max_tokens=1, prompt_logprobs=0)
lora = LoRARequest("adapter", 1, sys.argv[2])
(out,) = llm.generate({{"prompt_token_ids": {TOKENS}}}, asked, lora_request=lora, use_tqdm=False)
scores = zip({TOKENS[1:]}, out.prompt_logprobs[1:])
print(json.dumps([of[token].logprob for token, of in scores]))
"""
"""What a user of the adapter would write, with the base's folder and the adapter's."""


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@torch.no_grad()
def scores(model: torch.nn.Module) -> torch.Tensor:
    return model(input_ids=torch.tensor([TOKENS])).logits.log_softmax(-1)


def test_rl_from_an_adapter_and_back(
    shell: Shell, write_config: WriteConfig, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config, runs = write_config(tmp_path), tmp_path / "runs"
    done = shell.run(*command("sft", config, LORA | SFT))
    assert done.returncode == 0, done.stderr
    start = LORA | {"model.adapter": runs / "sft" / "adapter"}
    done = shell.run(*command("rl", config, start | {"train.num_steps": 3}))
    assert done.returncode == 0, done.stderr  # the gate compared the engine with base and adapter
    again = command("rl", config, start | {"checkpoint.push_to_hub": "me/it"})
    with hub(TOKEN) as server:
        variables = {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        done = shell.run(*again, **variables)
    assert done.returncode == 0, done.stderr
    assert "resuming after step 3" in done.stdout and TOKEN not in done.stdout + done.stderr
    run = runs / "run"
    export = {path.name: path.read_bytes() for path in (run / "export").iterdir()}
    assert server.files == export, done.stderr
    kl = [row["policy/kl"] for row in rows(run) if "policy/kl" in row]
    # The reference is the SFT policy, which the base is far from after such steps.
    assert kl[0] == pytest.approx(0, abs=1e-9) and kl[1] > 0 and len(kl) == 4
    merged = Thinker.from_pretrained(run / "export", dtype=torch.float32).eval()
    base = Thinker.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval()
    before = scores(base)
    adapted = peft.PeftModel.from_pretrained(base, run / "adapter", key_mapping={"^thinker.": ""})
    torch.testing.assert_close(scores(adapted), scores(merged), atol=1e-5, rtol=0)
    assert (scores(merged) - before).abs().max() > 1e-2
    code = [sys.executable, "-c", IN_VLLM, str(tiny_checkpoint), str(run / "adapter")]
    variables = vllm_environment(device="cpu", cpu_threads=1) | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    done = subprocess.run(
        code, env=os.environ | variables, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    chosen = scores(merged)[0, :-1].gather(1, torch.tensor(TOKENS[1:])[:, None])[:, 0]
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(chosen.tolist(), abs=1e-5)
    assert json.loads((run / "inputs.json").read_text())["model.adapter"]
