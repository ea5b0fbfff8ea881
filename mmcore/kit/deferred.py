"""Build modules without storage, and make each of their tensors later, one at a time.

While a ``Recording`` is entered, tensors that would be made on the CPU are made on torch's meta
device: they have shapes, and no numbers. What would have been computed is written down. Later the
steps that lead to one tensor are taken, and no others. So a module of any size, with whatever rules
its maker has for initial values and for buffers, costs no memory while it is built, and filling it
from files that are mapped reads a tensor when it is asked for.

Random steps are seeded one by one, by the name of the first tensor that depends on them: what a
parameter starts from depends neither on the parameters beside it nor on when it is made. A
generator that the maker brought is drawn from in the maker's order, as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

LARGE = 2**16
"""Numbers above which a computation on real tensors is put off, too."""

OVERWRITES = frozenset(
    f"aten::{name}_"
    for name in (
        "bernoulli",
        "cauchy",
        "copy",
        "exponential",
        "fill",
        "geometric",
        "log_normal",
        "normal",
        "random",
        "uniform",
        "zero",
    )
)
"""Operations whose result does not depend on what was there before."""

META, CPU = torch.device("meta"), torch.device("cpu")

Seeding = Callable[[str], int]
_Call = tuple[tuple[Any, ...], dict[str, Any]]


class DeferredError(RuntimeError):
    """What was recorded cannot be computed."""


@attrs.frozen
class Place:
    """A tensor without numbers: which storage it looks at, and how."""

    storage: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def on(self, storage: torch.UntypedStorage) -> torch.Tensor:
        """The tensor, looking at a real storage."""
        bare = torch.empty(0, dtype=self.dtype, device=storage.device)
        return bare.set_(storage, self.offset, self.size, self.stride)


@attrs.frozen(eq=False)
class _Constant:
    """A real tensor, which must stay as it is until it is used."""

    tensor: torch.Tensor
    version: int

    def read(self) -> torch.Tensor:
        if self.tensor._version != self.version:
            raise DeferredError(
                f"a tensor of shape {list(self.tensor.shape)} was changed after a module was "
                "filled from it; fill the module from a copy"
            )
        return self.tensor


@attrs.frozen(eq=False)
class _Step:
    """One operation: its arguments (tensors as places or constants) and results, and torch's
    default dtype, which decides the dtype of many results."""

    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: Sequence[Place | None]
    default: torch.dtype
    reads: frozenset[int]
    fresh: frozenset[int]
    covers: frozenset[int]

    @property
    def draws(self) -> bool:
        return torch.Tag.nondeterministic_seeded in self.function.tags


class Recording(TorchDispatchMode):
    """Entered as a context around building and filling; asked for values afterwards.

    Args:
        seeding: gives the seed of a random step from its name.
    """

    def __init__(self, seeding: Seeding) -> None:
        super().__init__()
        self._seeding = seeding
        self._steps: list[_Step] = []
        self._writers: dict[int, list[int]] = {}
        self._storages: dict[int, torch.UntypedStorage] = {}  # kept, so that no key is used twice
        self._names: dict[int, str] = {}

    # Recording.

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        tree: _Call = (args, dict(kwargs or {}))
        tensors = _tensors(tree)
        if any(one.is_meta for one in tensors):
            if not _wants_numbers(func, tree, tensors):
                return self._record(func, tree)
            tree = tree_map(self._real, tree)
        elif _puts_off(func, tensors, tree):
            return self._record(func, tree)
        return func(*tree[0], **tree[1])

    def _record(self, func: Any, tree: _Call) -> Any:
        if "device" in tree[1] or _makes(func):
            tree[1]["device"] = META
        bare_args, bare_kwargs = tree_map(_bare, tree)
        out = func(*bare_args, **bare_kwargs)
        reads = frozenset(_key(one) for one in _tensors(tree) if one.is_meta)
        writes = frozenset(_key(one) for one in _written(func, tree) if one.is_meta)
        results = [one if isinstance(one, torch.Tensor) else None for one in tree_flatten(out)[0]]
        fresh = frozenset(_key(one) for one in results if one is not None) - reads
        if fresh or writes:  # else it only looks at what is there
            places = [None if one is None else self.place(one) for one in results]
            covers = fresh | _covered(func, tree)
            args, kwargs = tree_map(self._kept, tree)
            self._advance(func, tree)
            default = torch.get_default_dtype()
            self._steps.append(_Step(func, args, kwargs, places, default, reads, fresh, covers))
            for key in fresh | writes:
                self._writers.setdefault(key, []).append(len(self._steps) - 1)
        return out

    def _advance(self, func: Any, tree: _Call) -> None:
        """Let a generator that is drawn from by hand go on as far as the draw takes it: that
        depends on the numbers, so they are made, and dropped."""
        if any(isinstance(one, torch.Generator) for one in tree_flatten(tree)[0]):
            args, kwargs = tree_map(self._real, tree)
            func(*args, **(kwargs | {"device": CPU} if "device" in kwargs else kwargs))

    def _kept(self, value: Any) -> Any:
        if isinstance(value, torch.Generator):
            return value.clone_state()
        if not isinstance(value, torch.Tensor):
            return value
        if value.is_meta:
            return self.place(value)
        small = value.numel() <= LARGE
        return _Constant(value.clone(), 0) if small else _Constant(value, value._version)

    def _real(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_meta:
            return self.read(self.place(value))
        return value

    def place(self, tensor: torch.Tensor) -> Place:
        """Where a tensor without numbers looks; it can be asked for after the tensor is gone."""
        storage = tensor.untyped_storage()
        self._storages.setdefault(storage._cdata, storage)
        return Place(
            storage._cdata,
            tensor.dtype,
            tuple(tensor.shape),
            tuple(tensor.stride()),
            int(tensor.storage_offset()),
        )

    # Replaying.

    def name(self, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Name the random steps by the first of these tensors that depends on them."""
        for name, tensor in named:
            if tensor.is_meta:
                drawn = [n for n in self._needed(self.place(tensor).storage) if self._draws(n)]
                for count, number in enumerate(drawn):
                    self._names.setdefault(number, f"{name}#{count}")

    def read(self, place: Place) -> torch.Tensor:
        """The tensor of this place with its numbers, made now, on the CPU."""
        return place.on(self.storage(place.storage))

    @torch.no_grad()
    def storage(self, key: int) -> torch.UntypedStorage:
        """A storage with its numbers, made now, on the CPU.

        Raises:
            DeferredError: a tensor that is needed was changed meanwhile, or was never written.
        """
        made: dict[int, torch.UntypedStorage] = {}
        for number in self._needed(key):
            self._take(number, made)
        return self._within(made, key)

    def _draws(self, number: int) -> bool:
        return self._steps[number].draws

    def _needed(self, storage: int) -> list[int]:
        """The steps that lead to what a storage holds in the end, in order."""
        needed: set[int] = set()
        waiting = [(storage, len(self._steps))]
        while waiting:
            key, before = waiting.pop()
            for number in reversed(self._writers.get(key, ())):
                if number >= before:
                    continue
                step = self._steps[number]
                if number not in needed:
                    needed.add(number)
                    waiting += [(one, number) for one in step.reads if one not in step.covers]
                if key in step.covers:
                    break
            else:
                raise DeferredError("a tensor is asked for that was not written as a whole")
        return sorted(needed)

    def _take(self, number: int, made: dict[int, torch.UntypedStorage]) -> None:
        step = self._steps[number]

        def real(value: Any) -> Any:
            if isinstance(value, Place):
                return value.on(self._within(made, value.storage))
            if isinstance(value, torch.Generator):
                return value.clone_state()
            return value.read() if isinstance(value, _Constant) else value

        args, kwargs = tree_map(real, (step.args, step.kwargs))
        if "device" in kwargs:
            kwargs["device"] = CPU
        with _default_dtype(step.default):
            if step.draws:
                name = self._names.setdefault(number, f"step {number}")
                out = _seeded(self._seeding(name), lambda: step.function(*args, **kwargs))
            else:
                out = step.function(*args, **kwargs)
        for place, result in zip(step.results, tree_flatten(out)[0], strict=True):
            if place is None or place.storage not in step.fresh:
                continue
            assert result.dtype == place.dtype, (step.function, result.dtype, place.dtype)
            if (place.stride, place.offset) == (result.stride(), result.storage_offset()):
                made[place.storage] = result.untyped_storage()
            else:
                place.on(self._within(made, place.storage)).copy_(result)

    def _within(self, made: dict[int, torch.UntypedStorage], key: int) -> torch.UntypedStorage:
        if key not in made:
            made[key] = _empty(self._storages[key].nbytes())
        return made[key]


def _seeded(seed: int, draw: Callable[[], Any]) -> Any:
    """What is drawn with this seed; torch's own generator is left as it was."""
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        return draw()
    finally:
        generator.set_state(before)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Within, torch's default dtype is this one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _empty(size: int) -> torch.UntypedStorage:
    return torch.empty(size, dtype=torch.uint8).untyped_storage()


def _key(tensor: torch.Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata
    return key


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [one for one in tree_flatten(tree)[0] if isinstance(one, torch.Tensor)]


def _bare(value: Any) -> Any:
    """A tensor's shape alone."""
    if isinstance(value, torch.Tensor) and not value.is_meta:
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META)
    return value


def _makes(func: Any) -> bool:
    """Whether an operation makes tensors from none, on a device that it is told."""
    arguments = func._schema.arguments
    tensor_in = any("Tensor" in str(one.type) for one in arguments)
    return not tensor_in and any(one.name == "device" for one in arguments)


def _puts_off(func: Any, tensors: Sequence[torch.Tensor], tree: _Call) -> bool:
    """Whether an operation on real tensors, or on none, is recorded rather than done."""
    args, kwargs = tree
    if kwargs.get("device") not in (None, CPU, META):
        return False
    if not tensors:
        # One without elements is about to be given a storage that is real, as by safetensors.
        return _makes(func) and args[:1] != ([0],)
    looks = any(one.alias_info is not None for one in func._schema.arguments)
    on_cpu = all(one.device == CPU for one in tensors)
    return on_cpu and not looks and max(one.numel() for one in tensors) > LARGE


def _wants_numbers(func: Any, tree: _Call, tensors: Sequence[torch.Tensor]) -> bool:
    """Whether an operation cannot do without numbers: it gives a Python number, brings a small
    tensor to the CPU to be looked at, or writes into a real tensor."""
    if func is torch.ops.aten._local_scalar_dense.default:
        return True
    if func is torch.ops.aten._to_copy.default and tree[1].get("device") == CPU:
        return tensors[0].numel() <= LARGE
    return any(not one.is_meta for one in _written(func, tree))


def _written(func: Any, tree: _Call) -> list[torch.Tensor]:
    """The tensors that an operation writes into."""
    return [
        tensor
        for argument, value in _arguments(func, tree)
        if argument.alias_info is not None and argument.alias_info.is_write
        for tensor in _tensors(value)
    ]


def _covered(func: Any, tree: _Call) -> frozenset[int]:
    """The storage that an operation writes from end to end, without having read it."""
    if func._schema.name not in OVERWRITES:
        return frozenset()
    target, *others = _tensors(tree)
    whole = target.is_contiguous() and target.nbytes == target.untyped_storage().nbytes()
    if not whole or not target.is_meta or any(_key(one) == _key(target) for one in others):
        return frozenset()
    return frozenset({_key(target)})


def _arguments(func: Any, tree: _Call) -> Iterator[tuple[Any, Any]]:
    args, kwargs = tree
    for number, argument in enumerate(func._schema.arguments):
        if number < len(args):
            yield argument, args[number]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name]
