"""A text and its box in tags, as BLIP-3's captions of the finest level write them."""

from __future__ import annotations


def tagged(tag: str, text: str, box: tuple[float, float, float, float]) -> str:
    """The text in ``tag``, then its corners x0, y0, x1, y1 as shares of width and height.

    >>> tagged("object", "dog", (0.1, 0.2, 0.5, 0.9))
    '<object>dog</object><bbox>[0.100, 0.200][0.500, 0.900]</bbox>'
    """
    x0, y0, x1, y1 = box
    return f"<{tag}>{text}</{tag}><bbox>[{x0:.3f}, {y0:.3f}][{x1:.3f}, {y1:.3f}]</bbox>"
