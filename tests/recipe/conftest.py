"""Small components of every kind, a registry that holds them, and a recipe that uses them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import attrs
import pytest

from mmcore.interfaces import (
    EncoderSpec,
    EngineSpec,
    LLMSpec,
    ObjectiveSpec,
    OptimizerSpec,
    PatchGrid,
    SourceSpec,
    SyntheticContent,
    TaskSpec,
    TilerSpec,
    TokenSamplerSpec,
    TrackerSpec,
    ViewFormat,
)
from mmcore_registry import Problem, Registry, Spec, doc, from_variant, one_of

ge = attrs.validators.ge


class _NeverBuilt:
    """What specs owe the core beyond their keys; no recipe test comes to it."""

    def build(self, *args: object, **kwargs: object) -> object:
        raise NotImplementedError

    load = text = open = synthesize = relocated = plan = cut = memory = moments = build

    def tiny(self) -> Self:
        return self

    thin = tiny


@attrs.frozen
class Preset:
    width: int


PRESETS = {"small": Preset(width=8), "large": Preset(width=32)}


@attrs.frozen(kw_only=True)
class Eye(_NeverBuilt, EncoderSpec):
    """An encoder with variants."""

    name: ClassVar[str] = "eye"

    variant: str = attrs.field(
        default="small", validator=one_of(PRESETS), metadata=doc("preset of the widths")
    )
    feature_width: int = attrs.field(
        default=from_variant(PRESETS, "width"), validator=ge(1), metadata=doc("width of features")
    )
    patch_size: int = attrs.field(default=8, validator=ge(1), metadata=doc("side of a patch"))
    weights: str = attrs.field(default="random", metadata=doc("a folder, or random"))

    @property
    def view(self) -> ViewFormat:
        return ViewFormat(size=32, patch_rows=4, patch_cols=4, patch_size=8)

    def problems(self) -> Iterator[Problem]:
        if self.feature_width % 2:
            yield Problem("feature_width", f"is {self.feature_width}, wanted an even number")


@attrs.frozen(kw_only=True)
class Resampler(_NeverBuilt, TokenSamplerSpec):
    """A sampler with latent queries."""

    name: ClassVar[str] = "resampler"
    provides: ClassVar[frozenset[str]] = frozenset({"pooled"})

    queries: int = attrs.field(default=4, validator=ge(1), metadata=doc("tokens of a view"))
    depth: int = attrs.field(default=2, validator=ge(1), metadata=doc("layers"))

    def tokens_per_view(self, grid: PatchGrid) -> int:
        return self.queries


@attrs.frozen(kw_only=True)
class Pool(_NeverBuilt, TokenSamplerSpec):
    """A sampler that pools squares of patches."""

    name: ClassVar[str] = "pool"

    factor: int = attrs.field(default=2, validator=ge(1), metadata=doc("patches per token"))

    def tokens_per_view(self, grid: PatchGrid) -> int:
        if grid.patches % self.factor:
            raise ValueError(f"factor is {self.factor}, wanted a divisor of {grid.patches}")
        return grid.patches // self.factor


@attrs.frozen(kw_only=True)
class Mouth(_NeverBuilt, LLMSpec):
    """A language model."""

    name: ClassVar[str] = "mouth"

    embedding_width: int = attrs.field(default=16, metadata=doc("width"))
    context: int = attrs.field(default=512, metadata=doc("longest sequence"))


@attrs.frozen(kw_only=True)
class Grids(_NeverBuilt, TilerSpec):
    """A tiler."""

    name: ClassVar[str] = "grids"

    grids: tuple[tuple[int, int], ...] = attrs.field(
        default=((1, 2), (2, 1)), metadata=doc("columns and rows")
    )
    whole: bool = attrs.field(default=False, metadata=doc("all views as one group of patches"))

    @property
    def max_views(self) -> int:
        return 1 + max(cols * rows for cols, rows in self.grids)

    @property
    def regroups(self) -> bool:
        return self.whole

    def group_sizes(self, view: ViewFormat) -> tuple[int, ...]:
        return (view.patches * self.max_views,) if self.whole else (view.patches,)


@attrs.frozen(kw_only=True)
class Talk(_NeverBuilt, ObjectiveSpec):
    """Next tokens."""

    name: ClassVar[str] = "talk"


@attrs.frozen(kw_only=True)
class Contrast(_NeverBuilt, ObjectiveSpec):
    """Needs pooled features and a text tower."""

    name: ClassVar[str] = "contrast"
    needs: ClassVar[frozenset[str]] = frozenset({"pooled", "tower"})


@attrs.frozen(kw_only=True)
class Slope(_NeverBuilt, OptimizerSpec):
    """An optimizer of its own key."""

    name: ClassVar[str] = "slope"

    betas: tuple[float, float] = attrs.field(default=(0.9, 0.95), metadata=doc("decay rates"))


@attrs.frozen(kw_only=True)
class Hill(_NeverBuilt, OptimizerSpec):
    """Another optimizer."""

    name: ClassVar[str] = "hill"

    nesterov: bool = attrs.field(default=False, metadata=doc("look ahead"))


@attrs.frozen(kw_only=True)
class Pages(_NeverBuilt, SourceSpec):
    """A source."""

    name: ClassVar[str] = "pages"

    columns: dict[str, str] = attrs.field(factory=dict, metadata=doc("names of columns"))
    root: Path | None = attrs.field(default=None, metadata=doc("folder of the pictures"))
    limit: int | str = attrs.field(default="all", metadata=doc("rows, or all"))
    crop: int | tuple[int, int] = attrs.field(default=0, metadata=doc("one side, or two"))

    @property
    def folder(self) -> Path:
        return Path(self.path).parent


@attrs.frozen(kw_only=True)
class Quiz(_NeverBuilt, TaskSpec):
    """A task over a source of its own."""

    name: ClassVar[str] = "quiz"

    data: SourceSpec = attrs.field(metadata=doc("where the questions come from"))


@attrs.frozen(kw_only=True)
class Motor(_NeverBuilt, EngineSpec):
    """An engine."""

    name: ClassVar[str] = "motor"
    multi_process: ClassVar[bool] = False

    zero: Literal[1, 2, 3] = attrs.field(default=3, metadata=doc("what is sharded"))


@attrs.frozen(kw_only=True)
class Lines(_NeverBuilt, TrackerSpec):
    """Writes lines."""

    name: ClassVar[str] = "jsonl"


SPECS: list[type[Spec]] = [
    Eye, Resampler, Pool, Mouth, Grids, Talk, Contrast, Slope, Hill, Pages, Quiz, Motor, Lines,
]  # fmt: skip

RECIPE = """\
format = 1
name = "demo"
seed = 7

[model]
attention = "sdpa"

[model.encoder]
use = "eye"
variant = "large"
weights = "hf://some/eye"

[model.token_sampler]
use = "resampler"
queries = 8
depth = 3

[model.llm]
use = "mouth"

[data]
lanes = 4

[[stages]]
name = "base"
train = ["token_sampler", { part = "llm", lr = 1e-5 }]
tokens = 100e9
tiler = { use = "grids" }
objectives = [{ use = "talk" }]
batch = { max_tokens = 256, max_views = 8, packs_per_step = 8 }
optimizer = { use = "slope", lr = 1e-4, warmup_steps = 10 }

[[stages.data]]
use = "pages"
path = "data/*.json"
share = 2
synthetic = { rows = 10 }

[[stages]]
name = "sft"
train = ["llm"]
epochs = 2
tiler = { use = "grids", grids = [[1, 2], [2, 2]] }
objectives = [{ use = "talk" }]
batch = { max_tokens = 512, max_views = 8, packs_per_step = 4 }
optimizer = { use = "slope", lr = 1e-5 }
data = [
    { use = "pages", path = "data/*.json", synthetic = { rows = 10 } },
    { use = "pages", path = "more/*.json", synthetic = { rows = 20, topics = ["words"] } },
]

[[evaluations]]
use = "quiz"
stage = "sft"
data = { use = "pages", path = "held/*.json", synthetic = { rows = 5, held_out = true } }

[engine]
use = "motor"
"""


@pytest.fixture(scope="session")
def registry() -> Registry:
    registry = Registry()
    registry.add(SPECS, plugin="parts", distribution="parts-dist")
    return registry


@pytest.fixture
def text() -> str:
    return RECIPE


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a recipe into the current directory; further arguments are (old, new) replacements."""
    monkeypatch.chdir(tmp_path)

    def write(text: str = RECIPE, *changes: Sequence[str], name: str = "demo.toml") -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


@pytest.fixture
def specs() -> dict[str, type]:
    return {spec.name: spec for spec in SPECS} | {"synthetic": SyntheticContent}
