"""The training code's `.pt` files, read as plain tensors or not at all.

A pickle is a program. These files are opened with torch's weights-only loader, which knows tensors,
containers, texts and numbers, and refuses everything else.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
import torch

from mmcore.interfaces import Tensors, WeightsError

STATE = "model_state_dict"
"""Where the trainer's files keep the model; its converter's are the model alone."""


@attrs.frozen(eq=False)
class StateDict:
    """A dict of tensors as ``Tensors``; their content stays on the disk until it is looked at."""

    origin: str
    state: Mapping[str, torch.Tensor]

    def names(self) -> frozenset[str]:
        return frozenset(self.state)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.state[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        return self.state[name].dtype

    def read(self, name: str) -> torch.Tensor:
        return self.state[name]


@contextmanager
def open_pickled(path: Path) -> Iterator[Tensors]:
    """The model of a `.pt` file.

    Raises:
        WeightsError: it holds anything but plain tensors, or no model; says which.
    """
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except OSError:
        raise
    except Exception as error:  # what is no pickle may trip the unpickler in any way
        reason = _reason(error)
        raise WeightsError(
            f"weights: {str(path)!r} is refused: it is no file of plain tensors, and loading "
            f"anything else could run whatever program it holds ({reason})"
        ) from None
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"weights: {str(path)!r} holds a {type(content).__name__}, wanted a dict"
        )
    state = content.get(STATE, content)
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"weights: {str(path)!r} has no tensors in {STATE!r}")
    strange = [str(name) for name, one in state.items() if not isinstance(one, torch.Tensor)]
    if strange:
        raise WeightsError(
            f"weights: {str(path)!r} holds things that are no tensors: {', '.join(strange)}; "
            f"wanted a dict of tensors, or one in {STATE!r}"
        )
    yield StateDict(str(path), state)


def _reason(error: Exception) -> str:
    """What was met, without torch's advice on how to load it anyway."""
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {found[1]}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Unsupported" in line] or lines
    return telling[0].partition(" Please")[0] if telling else type(error).__name__
