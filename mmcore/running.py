"""A whole run: its stages one after another, the model questioned before, between and after them."""

from __future__ import annotations

import functools
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import attrs

from mmcore import assemble
from mmcore.evaluation import asking, records
from mmcore.interfaces import Evaluation, RunInfo, StageInfo, Tracker, World
from mmcore.recipe import Recipe, Stage, to_toml
from mmcore.run_folder import RunFolder
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Progress
from mmcore.training.ranks import distributed
