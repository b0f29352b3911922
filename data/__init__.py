"""Records, manifests, audio, prompts, batching: what happens to a clip before a model hears it."""
