"""Command-line entry points; each is `python launch/NAME.py --config FILE [key=value ...]`."""
