"""Weights and tokenizers from a hub into the local cache, pinned by a lock file; no torch.

A recipe's components say what they want (``FilledSpec.wants``). The hub is asked what that is
(``hub``), files are downloaded so that an interrupted download goes on, and checked before anyone
can use them (``download``), and what was found is written beside the recipe (``fetch``).
"""

from mmcore.fetching.fetch import Fetched, Item, Repository, fetch, items, outline
from mmcore.fetching.hub import FetchError, Hub

__all__ = ["FetchError", "Fetched", "Hub", "Item", "Repository", "fetch", "items", "outline"]
