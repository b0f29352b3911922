"""Tests of the whole stack: real Ray, vLLM, DeepSpeed and audio files."""
