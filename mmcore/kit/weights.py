"""Find weight files in a folder or the local Hugging Face cache, and fill modules from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from mmcore.interfaces import LoadReport, Wanted, WeightsError

if TYPE_CHECKING:
    import torch
    from safetensors import safe_open
    from torch import nn

RANDOM = "random"
"""What a recipe writes as ``weights`` of a component that starts from initial values."""

HUB = "hf://"
INDEX = "model.safetensors.index.json"

TENSORS = "*.safetensors"
TOKENIZER = "tokenizer.json"
WEIGHT_FILES = (TENSORS, INDEX, "config.json", "generation_config.json")
TOKENIZER_FILES = (
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


class Tensors(Protocol):
    """Opened weight files: names, and one tensor at a time."""

    @property
    def origin(self) -> str: ...

    def names(self) -> frozenset[str]: ...

    def read(self, name: str) -> torch.Tensor: ...


@attrs.frozen
class Source:
    """Where a parameter comes from: names in the files, and how their tensors become one."""

    names: tuple[str, ...]
    join: Callable[[list[torch.Tensor]], torch.Tensor] = lambda tensors: tensors[0]


def locate(weights: str) -> Path:
    """The folder that ``weights`` means: a folder, or ``hf://owner/name[@revision]``.

    The hub id is looked up in the local cache only; nothing is downloaded.

    Raises:
        WeightsError: it is not there; the message says what was looked for and where.
    """
    if not weights.startswith(HUB):
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise WeightsError(f"weights: no folder {str(folder)!r}")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repo, _, revision = weights.removeprefix(HUB).partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None, local_files_only=True))
    except LocalEntryNotFoundError:
        raise WeightsError(
            f"weights: {weights} is not in the local Hugging Face cache, and nothing is downloaded "
            f"during a run; fetch it before with `mmcore fetch RECIPE`"
        ) from None
    except HFValidationError as error:
        raise WeightsError(f"weights: {weights!r} is no hub id: {error}") from None


def wanted(key: str, weights: str, *files: str) -> Iterator[Wanted]:
    """What a spec's ``wants`` yields for one of its keys: nothing, unless ``weights`` is a hub id.

    ``yield from wanted("weights", self.weights, *WEIGHT_FILES)``; the first of ``files`` must be
    there, and so must every pattern that is ``TENSORS`` or ``TOKENIZER``.
    """
    if weights.startswith(HUB):
        needed = tuple(one for one in files if one in (files[0], TENSORS, TOKENIZER))
        yield Wanted(key, weights, files, needed)


def locate_file(weights: str, name: str) -> Path:
    """The file ``name`` in the folder that ``weights`` means.

    Raises:
        WeightsError: the folder or the file is missing.
    """
    path = locate(weights) / name
    if not path.is_file():
        raise WeightsError(f"weights: {weights} has no file {name!r}")
    return path


@contextmanager
def open_tensors(weights: str) -> Iterator[Tensors]:
    """The safetensors files of ``weights``, open for reading: one file, or shards with an index.

    Raises:
        WeightsError: there are none, or the index names a shard that is missing.
    """
    from safetensors import SafetensorError, safe_open

    folder = locate(weights)
    with ExitStack() as stack:
        owner: dict[str, safe_open] = {}
        for path in _files(folder, weights):
            try:
                file = stack.enter_context(safe_open(path, framework="pt"))
            except SafetensorError as error:
                raise WeightsError(f"weights: {str(path)!r} cannot be read: {error}") from None
            owner |= dict.fromkeys(file.keys(), file)
        yield _Files(weights, owner)


def fill(
    module: nn.Module,
    tensors: Tensors,
    sources: Mapping[str, Source],
    *,
    unused: Iterable[str] = (),
) -> LoadReport:
    """Copy into every parameter of ``module`` the tensor that its source gives.

    One parameter's tensors are in memory at a time; a parameter keeps its dtype and device.

    Args:
        module: what is filled.
        tensors: the opened files.
        sources: for every parameter of the module, by its name, where it comes from.
        unused: names in the files that have no place in the module, by intention.

    Raises:
        WeightsError: a tensor is missing, has another shape, or is not accounted for.
    """
    import torch

    parameters = dict(module.named_parameters())
    assert parameters.keys() == sources.keys(), parameters.keys() ^ sources.keys()
    wanted = {name for source in sources.values() for name in source.names}
    found, unused = tensors.names(), frozenset(unused)
    missing, unexplained = sorted(wanted - found), sorted(found - wanted - unused)
    if missing or unexplained:
        raise WeightsError(
            f"weights: {tensors.origin} does not fit {type(module).__name__}: "
            f"missing {_some(missing)}; without a place here {_some(unexplained)}"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            tensor = sources[name].join([tensors.read(one) for one in sources[name].names])
            if tensor.shape != parameter.shape:
                raise WeightsError(
                    f"weights: {tensors.origin} has {' + '.join(sources[name].names)} with shape "
                    f"{list(tensor.shape)}, {name} wants {list(parameter.shape)}"
                )
            parameter.copy_(tensor)
    return LoadReport(
        origin=tensors.origin, loaded=tuple(parameters), unused=tuple(sorted(unused & found))
    )


class _Files:
    """Tensors by name, whichever file they lie in."""

    def __init__(self, origin: str, owner: Mapping[str, safe_open]) -> None:
        self.origin = origin
        self._owner = owner

    def names(self) -> frozenset[str]:
        return frozenset(self._owner)

    def read(self, name: str) -> torch.Tensor:
        file = self._owner[name]
        tensor: torch.Tensor = file.get_tensor(name)  # type: ignore[no-untyped-call]  # safetensors
        return tensor


def _files(folder: Path, weights: str) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        files = [folder / name for name in sorted(set(shards))]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"weights: {weights} has no *.safetensors file")
    absent = [path.name for path in files if not path.is_file()]
    if absent:
        raise WeightsError(f"weights: {weights} lacks {_some(absent)}, which its index names")
    return files


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
