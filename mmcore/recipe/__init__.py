"""TOML in, a checked tree of specs out; no torch.

A recipe is read (``inherit``), its parents are laid beneath it (``merge``), ``--set`` is applied
(``override``), the tree becomes records and specs (``structure``), and what no single table sees
is checked (``check``). Every value remembers its file and line (``tree``, ``positions``), so that
each fault can say where it is (``errors``).
"""

from mmcore.recipe.errors import Fault, RecipeError
from mmcore.recipe.guard_table import GuardTable
from mmcore.recipe.load import load_recipe
from mmcore.recipe.lock import (
    Lock,
    LockedFile,
    LockedRepository,
    LockError,
    lock_path,
    lock_text,
    read_lock,
)
from mmcore.recipe.schema import (
    BatchTable,
    CheckpointTable,
    DataTable,
    ModelTable,
    Recipe,
    Stage,
    TrainablePart,
    ValidationTable,
    feature_folders,
    labels,
    task_labels,
)
from mmcore.recipe.write import to_toml

__all__ = [
    "BatchTable",
    "CheckpointTable",
    "DataTable",
    "Fault",
    "GuardTable",
    "Lock",
    "LockError",
    "LockedFile",
    "LockedRepository",
    "ModelTable",
    "Recipe",
    "RecipeError",
    "Stage",
    "TrainablePart",
    "ValidationTable",
    "feature_folders",
    "labels",
    "load_recipe",
    "lock_path",
    "lock_text",
    "read_lock",
    "task_labels",
    "to_toml",
]
