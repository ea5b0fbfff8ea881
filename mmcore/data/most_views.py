"""How many views, and groups of their patches, the largest pack of a stage holds."""

from __future__ import annotations

from mmcore.interfaces import TilerSpec


def most_views(tiler: TilerSpec, max_views: int, room: int) -> tuple[int, int]:
    """As many views as a pack may have, or, of groups of patches, finds room for.

    A tiler that makes fewer groups of a picture than views is taken to cut pictures at their
    largest grid: that gives the most views for the room.

    Args:
        tiler: of the stage.
        max_views: of a pack.
        room: groups whose tokens find room in a pack beside text, at least 1.

    Returns:
        views and groups.
    """
    most, groups = tiler.max_views, tiler.max_groups
    taken = min(room, -(-max_views * groups // most))
    return min(max_views, taken * most // groups), taken
