"""What a process needs in its environment before it imports vLLM."""

from __future__ import annotations


def vllm_environment(*, device: str, cpu_threads: int) -> dict[str, str]:
    """Return environment variables for an engine that lives in its caller's own process.

    Args:
        device: `cpu` or `cuda`.
        cpu_threads: Threads of the engine on a CPU, at least 1.
    """
    variables = {
        # In the actor's own process: no second process to feed, and weights arrive by reference.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if device == "cpu":
        variables |= {
            # Engines, judges and learners share the same cores; pinning would make them collide.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(cpu_threads),
        }
    return variables
