"""Reasoning data: written by a template or a server, checked against the measured prosody."""
