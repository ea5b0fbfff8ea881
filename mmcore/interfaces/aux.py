"""Names of the further tensors of a pack, which only some components of a recipe ask for.

Letters: B pairs of a picture and its text, W tokens of a text.
"""

from __future__ import annotations

from typing import Final

PAIR_IDS: Final = "pair_ids_BW"
"""int64: the text of every sample of the pack that shows exactly one picture in one view, as the
token sampler's own text tower tokenises it, filled up to the longest. A pack without any has one
row of weight zero, so that every rank enters the tower."""

PAIR_MASK: Final = "pair_mask_BW"
"""bool: which of these are there."""

PAIR_VIEW: Final = "pair_view_B"
"""int64: which view of the pack (or which other group of patches that the tiler makes) shows the
picture."""

PAIR_WEIGHT: Final = "pair_weight_B"
"""float32: one; zero for the row of a pack that has no pair."""
