"""Corpora into training data: readers, prosody, reasoning texts, tasks, splits."""
