"""Measurements of the hot paths on the real objects; each script prints ratios within one run."""
