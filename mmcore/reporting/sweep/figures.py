"""The pictures of a sweep: a plot for every axis, then curves."""

from __future__ import annotations

from mmcore.reporting.sweep.axis_plots import axis_pictures
from mmcore.reporting.sweep.curves import curve_pictures
from mmcore.reporting.sweep.drawing import Picture
from mmcore.reporting.sweep.measures import Grid


def pictures(grid: Grid) -> list[Picture]:
    """Those for which the sweep has numbers."""
    story = grid.story
    if not story.ran:
        return []
    per_axis = [one for axis in story.sweep.axes for one in axis_pictures(grid, axis)]
    return [*per_axis, *curve_pictures(story)]
