"""Engines that sample completions, and the path by which new weights reach them."""
