"""All that is miniature: a tiny Qwen2.5-Omni, a synthetic speech corpus, the CPU import hook."""
