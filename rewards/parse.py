"""The shape of a completion, under the name that reward plug-ins import it by."""

from __future__ import annotations

from data.parsing import ParsedOutput as ParsedOutput
from data.parsing import normalize_label as normalize_label
from data.parsing import parse_output as parse_output
