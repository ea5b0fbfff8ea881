"""The page of a preview: one HTML file that asks nothing of any server."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmcore.inspection.preview import ShownStage

HUES = 360
GOLDEN_ANGLE = 137.508
"""Degrees between neighbouring colours, which keeps any number of them apart."""

SUBSTITUTES = {"\n": "⏎\n", "\t": "⇥\t", "\r": "␍"}
"""White space that would not be seen, and what is shown for it."""


def render(recipe: str, stages: Sequence[ShownStage], notes: Sequence[str]) -> str:
    """The page.

    Args:
        recipe: its name.
        stages: what is shown.
        notes: what differs from the recipe.
    """
    environment = Environment(
        loader=PackageLoader("mmcore.inspection", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "colour": colour, "percent": percent}
    script, style = (_asset(environment, name) for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("page.html").render(
        recipe=recipe,
        stages=stages,
        notes=notes,
        labels=list(dict.fromkeys(one.label for stage in stages for one in stage.sources)),
        pairs=any(
            len(sample.sequences) > 1
            for stage in stages
            for source in stage.sources
            for sample in source.samples
        ),
        script=script,
        script_digest=digest,
        style=style,
    )
    # A file's name need not be UTF-8, and a page must be.
    return page.encode(errors="backslashreplace").decode()


def visible(text: str) -> str:
    """Text of a token with nothing invisible in it."""
    if not text:
        return "∅"
    return "".join(SUBSTITUTES.get(one, one if _shows(one) else "␦") for one in text)


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def colour(number: int) -> str:
    """A colour of its own for every number; every second one is darker, for eyes that see less of
    hues."""
    light = ("0.72", "0.56", "0.82")[number % 3]
    return f"oklch({light} 0.13 {(number * GOLDEN_ANGLE + 250) % HUES:.0f})"


def percent(share: float, digits: int = 0) -> str:
    return f"{share:.{digits}%}"


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
