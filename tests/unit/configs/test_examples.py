"""The plug-in that the documentation shows; cluster files that agree with the configurations."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from configs.load import load_config
from configs.schema import RunConfig
from demo.judges import inverted
from launch.preflight import num_gpus_needed
from rewards.base import load_reward, validate_scores
from tests.unit.make_groups import make_group

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
JUDGE_PORT = 8001
TARGET = "examples.plugin.brevity:BrevityReward"


def test_the_example_scores_by_length_where_the_clip_is_loud():
    reward = load_reward(TARGET, {"loud_above": 0.2}, ["rewards", "examples"])
    group = make_group(["a", "b"], features=np.full((128, 3), 0.5, np.float32))
    found = validate_scores("brevity", group, reward.score(group))
    assert found.values == (1.0, 1.0)
    assert found.details[0] == {"loudness": 0.5}
    quiet = make_group(["a", "b"], features=np.full((128, 3), 0.1, np.float32))
    assert reward.score(quiet).values == (None, None)


def test_the_page_shows_the_file_as_it_is():
    code = (ROOT / "examples" / "plugin" / "brevity.py").read_text().partition("\n\n")[2]
    assert f"```python\n{code.strip()}\n```" in (ROOT / "docs" / "rewards.md").read_text()


def test_an_inverted_judge_mirrors_the_scale():
    assert inverted({"a": 5.0, "b": 1.0, "c": 2.5, "d": None}) == {
        "a": 1.0,
        "b": 5.0,
        "c": 3.5,
        "d": None,
    }


def documents(path: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / path).read_text()))


def kubernetes() -> dict[tuple[str, str], dict[str, Any]]:
    """Every object of examples/kuberay by its kind and name."""
    found = [*documents("kuberay/rayjob.yaml"), *documents("kuberay/judge.yaml")]
    return {(item["kind"], item["metadata"]["name"]): item["spec"] for item in found}


def run_of(words: list[str]) -> RunConfig:
    """The checked configuration of a command that starts a run."""
    start = words.index("--config")
    config = words[start + 1].removeprefix("/app/")
    return load_config(ROOT / config, words[start + 2 :])


def options_of(words: list[str]) -> Mapping[str, str]:
    """Options of a command, `--name value` or `--name=value`."""
    return dict(re.findall(r"--([a-z-]+)[ =](\S.*?)(?= --|$)", " ".join(words)))


def judge_url(config: RunConfig) -> str:
    return config.rewards.terms[2].options["judge_options"]["url"]


def test_the_run_with_a_judge_server_differs_in_its_judge_alone():
    local = load_config(ROOT / "configs" / "omni_7b.yaml")
    served = load_config(EXAMPLES / "judge_server.yaml")
    assert (served.learner, served.optim, served.loss) == (local.learner, local.optim, local.loss)
    place = {"gpus", "concurrency", "timeout_s", "options"}
    ours, theirs = (
        [{key: v for key, v in asdict(term).items() if key not in place} for term in terms]
        for terms in (served.rewards.terms, local.rewards.terms)
    )
    assert ours == theirs
    assert num_gpus_needed(served) == 8


def test_a_ray_job_has_the_gpus_that_its_run_needs():
    job = kubernetes()["RayJob", "emotion-rl"]
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    found = int(container["resources"]["limits"]["nvidia.com/gpu"]) * group["replicas"]
    assert num_gpus_needed(run_of(shlex.split(job["entrypoint"]))) <= found


def test_the_judges_service_leads_to_its_pods_and_lets_the_runs_pods_in():
    objects = kubernetes()
    name = "emotion-rl-judge"
    judge, service = objects["Deployment", name], objects["Service", name]
    policy = objects["NetworkPolicy", name]
    labels = judge["template"]["metadata"]["labels"]
    assert judge["selector"]["matchLabels"] == service["selector"] == labels
    assert policy["podSelector"]["matchLabels"] == labels
    ((rule,),) = (policy["ingress"],)
    cluster = objects["RayJob", "emotion-rl"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert rule["from"] == [
            {"podSelector": {"matchLabels": group["template"]["metadata"]["labels"]}}
        ]
    (container,) = judge["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": JUDGE_PORT}]
    assert [port["port"] for port in service["ports"]] == [JUDGE_PORT]
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
    assert rule["ports"] == [{"port": "http"}]
    text = (EXAMPLES / "kuberay" / "judge.yaml").read_text()
    assert f"judge_options.url=http://{name}:{JUDGE_PORT}/v1" in text


def test_containers_share_the_gpus_out_and_the_run_finds_the_judge():
    (content,) = documents("docker/compose.yaml")
    services = content["services"]
    devices = {
        name: service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
        for name, service in services.items()
    }
    assert sorted(devices["judge"] + devices["train"]) == list("01234567")
    config = run_of(services["train"]["command"])
    assert num_gpus_needed(config) == len(devices["train"])
    assert judge_url(config) == f"http://judge:{JUDGE_PORT}/v1"
    name = config.rewards.terms[2].options["judge_options"]["api_key_env"]
    key = services["train"]["environment"][name]
    assert services["judge"]["environment"] == {"VLLM_API_KEY": key}


@pytest.mark.parametrize("place", ["slurm", "kuberay", "docker"])
def test_judge_servers_are_started_alike(place: str):
    script = (EXAMPLES / "slurm" / "judge.sbatch").read_text().replace("\\\n", " ")
    words = {
        "slurm": shlex.split(script.partition("exec ")[2]),
        "kuberay": kubernetes()["Deployment", "emotion-rl-judge"]["template"]["spec"]["containers"][
            0
        ]["command"],
        "docker": documents("docker/compose.yaml")[0]["services"]["judge"]["command"],
    }[place]
    assert words[:2] == ["vllm", "serve"]
    model = load_config(EXAMPLES / "judge_server.yaml").rewards.terms[2].options["judge_options"]
    assert options_of([word for word in words if word != "$@"]) == {
        "served-model-name": model["model"],
        "port": str(JUDGE_PORT),
        "max-model-len": "4096",
        "limit-mm-per-prompt": '{"audio": 1, "image": 0, "video": 0}',
        "structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    }
