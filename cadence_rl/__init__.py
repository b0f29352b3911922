"""The `cadence` command of an installed copy; the code is in the packages that `names` lists."""

__version__ = "0.1.0"
