"""Readers of speech-emotion corpora: their folders in, rows of a manifest out."""
