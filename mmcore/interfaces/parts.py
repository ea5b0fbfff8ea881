"""The parts of a model, by the names that recipes, checkpoints and modules share."""

from __future__ import annotations

PARTS = ("encoder", "token_sampler", "llm")
"""In the order in which a picture meets them: what a stage may train, and how a model's
submodules are called."""
