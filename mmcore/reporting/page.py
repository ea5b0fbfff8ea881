"""The page of a run: one HTML file that asks nothing of any server."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmcore.evaluation.table import with_interval
from mmcore.interfaces import KindScore
from mmcore.reporting.durations import duration
from mmcore.reporting.figures import Figure, figures
from mmcore.reporting.stages import stage_rows, time_shares
from mmcore.reporting.story import Story

SHOWN_INCIDENTS = 100


def render(story: Story) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("mmcore.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share, digits=0: f"{share:.{digits}%}",
        "duration": duration,
        "score": with_interval,
        "embedded": _embedded,
    }
    assert environment.loader is not None
    rows, drawn = stage_rows(story), figures(story)
    page = environment.get_template("report.html").render(
        story=story,
        start=story.starts[-1],
        rows=rows,
        with_mfu=any(row.mfu is not None for row in rows),
        with_best=any(row.best is not None for row in rows),
        times=time_shares(story),
        figures=drawn,
        moments=list(dict.fromkeys(one.after for one in story.evaluations)),
        scores=_scores(story),
        shown_incidents=SHOWN_INCIDENTS,
        style=environment.loader.get_source(environment, "report.css")[0],
    )
    # A file's name need not be UTF-8, and a page must be.
    return page.encode(errors="backslashreplace").decode()


def _scores(story: Story) -> dict[tuple[str, str], dict[str, KindScore]]:
    """By task and kind of question: the score of every moment at which it was asked."""
    found: dict[tuple[str, str], dict[str, KindScore]] = {}
    for evaluation in story.evaluations:
        for score in evaluation.scores:
            found.setdefault((evaluation.task, score.kind), {})[evaluation.after] = score
    return found


def _embedded(figure: Figure) -> str:
    """As an address that holds the picture itself: its names do not meet those of others."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.svg.encode()).decode()}"
