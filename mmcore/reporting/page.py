"""The page of a run: one HTML file that asks nothing of any server."""

from __future__ import annotations

import base64
import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mmcore.evaluation.table import with_interval
from mmcore.interfaces import KindScore
from mmcore.reporting.diagnosis import diagnoses
from mmcore.reporting.durations import duration
from mmcore.reporting.facts import Facts
from mmcore.reporting.figures import Figure, figures
from mmcore.reporting.stages import stage_rows, time_shares
from mmcore.reporting.story import Story
from mmcore.reporting.sweep.drawing import Picture

SHOWN_INCIDENTS = 100


def render(story: Story, facts: Facts) -> str:
    """The page of a run whose recipe declares these facts."""
    pages = environment()
    rows, drawn = stage_rows(story), figures(story)
    page = pages.get_template("report.html").render(
        story=story,
        start=story.starts[-1],
        rows=rows,
        with_mfu=any(row.mfu is not None for row in rows),
        with_best=any(row.best is not None for row in rows),
        times=time_shares(story),
        figures=drawn,
        diagnoses=diagnoses(story, facts),
        moments=list(dict.fromkeys(one.after for one in story.evaluations)),
        scores=_scores(story),
        shown_incidents=SHOWN_INCIDENTS,
        style=style(pages),
    )
    # A file's name need not be UTF-8, and a page must be.
    return page.encode(errors="backslashreplace").decode()


def environment() -> Environment:
    """Where pages are made from their templates."""
    pages = Environment(
        loader=PackageLoader("mmcore.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "percent": lambda share, digits=0: f"{share:.{digits}%}",
        "duration": duration,
        "score": with_interval,
        "embedded": _embedded,
        "coded": _coded,
    }
    return pages


def style(pages: Environment) -> str:
    """What every page looks like."""
    assert pages.loader is not None
    return pages.loader.get_source(pages, "report.css")[0]


def _scores(story: Story) -> dict[tuple[str, str], dict[str, KindScore]]:
    """By task and kind of question: the score of every moment at which it was asked."""
    found: dict[tuple[str, str], dict[str, KindScore]] = {}
    for evaluation in story.evaluations:
        for score in evaluation.scores:
            found.setdefault((evaluation.task, score.kind), {})[evaluation.after] = score
    return found


def _coded(text: str) -> Markup:
    """What stands in ` is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _embedded(figure: Figure | Picture) -> str:
    """As an address that holds the picture itself: its names do not meet those of others."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.svg.encode()).decode()}"
