"""Find weight files in a folder or the local Hugging Face cache, and fill modules from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mmcore.interfaces import LoadReport, Tensors, Wanted, WeightsError
from mmcore.kit.names import mismatch

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
CONFIG_FILE = "config.json"
WEIGHT_FILES = (TENSORS, INDEX, CONFIG_FILE, "generation_config.json")
TOKENIZER_FILES = (
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


@attrs.frozen
class Source:
    """Where a parameter comes from: names in the files, and how their tensors become one."""

    names: tuple[str, ...]
    join: Callable[[list[torch.Tensor]], torch.Tensor] = lambda tensors: tensors[0]


def locate(weights: str, key: str = "weights") -> Path:
    """The folder that ``weights`` means: a folder, or ``hf://owner/name[@revision]``.

    The hub id is looked up in the local cache only; nothing is downloaded.

    Args:
        key: what a recipe calls it, for messages.

    Raises:
        WeightsError: it is not there; the message says what was looked for and where.
    """
    if not weights.startswith(HUB):
        folder = Path(weights).expanduser()
        if not folder.is_dir():
            raise WeightsError(f"{key}: no folder {str(folder)!r}")
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repo, _, revision = weights.removeprefix(HUB).partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None, local_files_only=True))
    except LocalEntryNotFoundError:
        raise WeightsError(
            f"{key}: {weights} is not in the local Hugging Face cache, and nothing is downloaded "
            f"during a run; fetch it before with `mmcore fetch RECIPE`"
        ) from None
    except HFValidationError as error:
        raise WeightsError(f"{key}: {weights!r} is no hub id: {error}") from None


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
    with open_files(_files(locate(weights), weights), weights) as tensors:
        yield tensors


@contextmanager
def open_files(paths: Iterable[Path], origin: str) -> Iterator[Tensors]:
    """Safetensors files, open for reading as one.

    Args:
        paths: the files.
        origin: what they are, for messages.

    Raises:
        WeightsError: one cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    with ExitStack() as stack:
        owner: dict[str, safe_open] = {}
        for path in paths:
            try:
                file = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise WeightsError(f"weights: {str(path)!r} cannot be read: {error}") from None
            owner |= dict.fromkeys(file.keys(), file)
        yield _Files(origin, owner)


def fill(
    module: nn.Module,
    tensors: Tensors,
    sources: Mapping[str, Source],
    *,
    unused: Iterable[str] = (),
    new: Iterable[str] = (),
) -> LoadReport:
    """Copy into every parameter of ``module`` the tensor that its source gives.

    One parameter's tensors are in memory at a time; a parameter keeps its dtype and device.

    Args:
        module: what is filled.
        tensors: the opened files.
        sources: for every parameter of the module, by its name, where it comes from.
        unused: names in the files that have no place in the module, by intention.
        new: parameters that keep their initial values, by intention; they have no source.

    Raises:
        WeightsError: tensors are missing, have other shapes, or are not accounted for; names all.
    """
    import torch

    new, unused = frozenset(new), frozenset(unused)
    parameters = {name: one for name, one in module.named_parameters() if name not in new}
    _check(module, parameters, tensors, sources, unused)
    with torch.no_grad():
        for name, parameter in parameters.items():
            tensor = sources[name].join([tensors.read(one) for one in sources[name].names])
            parameter.copy_(tensor)
    return LoadReport(
        origin=tensors.origin,
        loaded=tuple(parameters),
        new=tuple(sorted(new)),
        unused=tuple(sorted(unused & tensors.names())),
    )


def fill_by_name(module: nn.Module, tensors: Tensors, *, unused: Iterable[str] = ()) -> LoadReport:
    """``fill`` from files that have the module's own names.

    Raises:
        WeightsError: as ``fill``.
    """
    return fill(module, tensors, _own_names(module), unused=unused)


def check_names(module: nn.Module, tensors: Tensors, *, unused: Iterable[str] = ()) -> None:
    """Whether ``fill_by_name`` could fill the module; nothing is read.

    Raises:
        WeightsError: as ``fill``.
    """
    parameters = dict(module.named_parameters())
    _check(module, parameters, tensors, _own_names(module), frozenset(unused))


def _own_names(module: nn.Module) -> dict[str, Source]:
    return {name: Source((name,)) for name, _ in module.named_parameters()}


def _check(
    module: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    tensors: Tensors,
    sources: Mapping[str, Source],
    unused: frozenset[str],
) -> None:
    assert parameters.keys() == sources.keys(), parameters.keys() ^ sources.keys()
    known = {name for source in sources.values() for name in source.names}
    found = tensors.names()
    # A tensor that is there has the right shape here: what shape it gives is checked below.
    wanted = {name: tensors.shape(name) if name in found else () for name in sorted(known)}
    fault = mismatch(
        tensors.origin,
        type(module).__name__,
        wanted,
        {name: tensors.shape(name) for name in found},
        unused,
    )
    fault = fault or _misfits(module, parameters, tensors, sources)
    if fault:
        raise fault


def _misfits(
    module: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    tensors: Tensors,
    sources: Mapping[str, Source],
) -> WeightsError | None:
    """The parameters whose sources give another shape, found without reading a tensor."""
    import torch

    lines = []
    for name, parameter in parameters.items():
        shapes = [tensors.shape(one) for one in sources[name].names]
        described = " + ".join(
            f"{one} with shape {list(shape)}"
            for one, shape in zip(sources[name].names, shapes, strict=True)
        )
        try:
            joined = sources[name].join([torch.empty(one, device="meta") for one in shapes])
        except (RuntimeError, IndexError) as error:  # shapes that cannot be joined at all
            lines.append(f"  {described} for {name}, wanted {list(parameter.shape)}: {error}")
            continue
        if joined.shape != parameter.shape:
            lines.append(f"  {described}, {name} wants {list(parameter.shape)}")
    if not lines:
        return None
    title = f"weights: {tensors.origin} does not fit {type(module).__name__}"
    return WeightsError("\n".join([title, *lines]))


class _Files:
    """Tensors by name, whichever file they lie in."""

    def __init__(self, origin: str, owner: Mapping[str, safe_open]) -> None:
        self.origin = origin
        self._owner = owner

    def names(self) -> frozenset[str]:
        return frozenset(self._owner)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        import torch

        names = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
        kind = self._slice(name).get_dtype()
        if kind not in names:
            raise WeightsError(f"weights: {self.origin} has {name} as {kind}, wanted floats")
        dtype: torch.dtype = getattr(torch, names[kind])
        return dtype

    def _slice(self, name: str) -> Any:
        return self._owner[name].get_slice(name)  # type: ignore[no-untyped-call]  # safetensors

    def read(self, name: str) -> torch.Tensor:
        file = self._owner[name]
        tensor: torch.Tensor = file.get_tensor(name)  # type: ignore[no-untyped-call]  # safetensors
        return tensor


def shard_of_tensors(index: Path) -> dict[str, str]:
    """Which file each tensor lies in, by an index of shards.

    Raises:
        WeightsError: it is no such index, or names files that are not beside it.
    """
    try:
        owner = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        plain = {str(name): str(file) for name, file in owner.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"weights: {str(index)!r} is no index of shards: {error!r}") from None
    outside = sorted({file for file in plain.values() if file != Path(file).name})
    if outside:
        raise WeightsError(
            f"weights: {str(index)!r} names {', '.join(map(repr, outside))}, wanted files beside it"
        )
    return plain


def _files(folder: Path, weights: str) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        files = [folder / name for name in sorted(set(shard_of_tensors(index).values()))]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"weights: {weights} has no *.safetensors file")
    absent = [path.name for path in files if not path.is_file()]
    if absent:
        raise WeightsError(f"weights: {weights} lacks {', '.join(absent)}, which its index names")
    return files
