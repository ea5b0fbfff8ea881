"""The page of a sweep: one HTML file that asks nothing of any server."""

from __future__ import annotations

from mmcore.reporting.page import environment, style
from mmcore.reporting.sweep.document import Document


def render(document: Document) -> str:
    """The page."""
    pages = environment()
    page = pages.get_template("sweep.html").render(document=document, style=style(pages))
    # A file's name need not be UTF-8, and a page must be.
    return page.encode(errors="backslashreplace").decode()
