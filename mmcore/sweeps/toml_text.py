"""A value as TOML on one line: the form in which ``--set`` and cells say it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def toml_text(value: object) -> str:
    """A plain TOML value as it stands behind ``KEY=``."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # A basic string of TOML escapes as JSON does, and one character more.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            pairs = ", ".join(f"{toml_text(str(key))} = {toml_text(value[key])}" for key in value)
            return f"{{ {pairs} }}" if pairs else "{}"
        case Sequence():
            return f"[{', '.join(map(toml_text, value))}]"
        case _:
            return str(value)
