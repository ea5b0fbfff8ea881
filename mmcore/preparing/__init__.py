"""Preference pairs made ready for DPO: what a reference thinks of them, and further worse answers.

``work`` cuts the pairs of a stage into units and remembers which are done; ``asking`` asks the
model; ``noise`` corrupts pictures; ``maker`` writes a unit's files, and ``prepare`` goes through
all of them.
"""

from mmcore.preparing.maker import Counts, Noised
from mmcore.preparing.prepare import prepare_dpo
from mmcore.preparing.work import PrepareError, stage_of, work_of

__all__ = ["Counts", "Noised", "PrepareError", "prepare_dpo", "stage_of", "work_of"]
