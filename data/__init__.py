"""Records, manifests, audio, prompts and batching: all that happens to a clip before a model hears it."""
