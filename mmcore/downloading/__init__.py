"""Pictures that datasets name by links, fetched with img2dataset into prepared shards; no torch.

The published rows are read part by part (``published``), their links become distinct addresses
(``addresses``), img2dataset fetches these in its own environment (``environment``,
``img2dataset``), its answers are read back by number (``answers``), and the rows are written with
their pictures beside them (``prepared``). ``download`` does it for all parts, and counts.
"""

from mmcore.downloading.counts import FILE, Counts, Record, total
from mmcore.downloading.download import Listener, Plan, TooManyDead, download
from mmcore.downloading.environment import EnvironmentFault, Img2dataset, installed, provided
from mmcore.downloading.img2dataset import Fetching, Img2datasetError
from mmcore.downloading.sources import links_of

__all__ = [
    "FILE",
    "Counts",
    "EnvironmentFault",
    "Fetching",
    "Img2dataset",
    "Img2datasetError",
    "Listener",
    "Plan",
    "Record",
    "TooManyDead",
    "download",
    "installed",
    "links_of",
    "provided",
    "total",
]
