"""A source reads one dataset in its true on-disk format and parses rows into samples."""

from __future__ import annotations

import glob
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

import attrs

from mmcore.interfaces.links import Links, download_command
from mmcore.interfaces.records import Row, Sample, SampleKey
from mmcore_registry import Spec, doc, one_of


@attrs.frozen
class Shard:
    """A file (or part) of a source.

    Attributes:
        name: unique within the source and stable over machines; goes into sample keys.
        path: where it is, as the source's reader takes it.
    """

    name: str
    path: str


class Source(Protocol):
    """An opened dataset. Shuffling, mixing, splitting, resuming and rejecting are the core's."""

    def shards(self) -> Sequence[Shard]:
        """All shards in a stable order; cheap: lists files, opens none.

        Raises:
            FileNotFoundError: nothing matches the path; the message says the pattern.
        """

    def length(self, shard: Shard) -> int:
        """Number of rows; reads no more than a footer or an index where the format has one."""

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        """Rows ``start`` (included) to ``stop`` (excluded), in order, without reading the rest."""

    def parse(self, row: Row, key: SampleKey) -> Sample:
        """The row as a sample; pure.

        Raises:
            Rejection: the row cannot be used; the reason is a short fixed word.
        """


@attrs.frozen(kw_only=True)
class SyntheticContent:
    """What ``synthesize`` makes up where a source's files do not exist.

    The same content always gives the same files. Words, numbers and arrangements of
    ``held_out = true`` never occur where it is false.
    """

    rows: int = attrs.field(
        validator=attrs.validators.ge(1), metadata=doc("how many rows are made up")
    )
    seed: int = attrs.field(default=0, metadata=doc("seed of everything that is drawn"))
    held_out: bool = attrs.field(
        default=False, metadata=doc("draw from the content that is kept for evaluation")
    )
    topics: tuple[str, ...] = attrs.field(
        default=(), metadata=doc("which kinds of content; empty means the source's own choice")
    )


@attrs.frozen(kw_only=True)
class SourceSpec(Spec):
    """Describes one data source of a stage: where it is, and how much of the mixture it is."""

    kind: ClassVar[str] = "source"
    origin: ClassVar[str] = ""
    """Where the dataset comes from, said when its files are missing: a page, or a command."""

    path: str = attrs.field(metadata=doc("files of the dataset: a path or a glob pattern"))
    share: float = attrs.field(
        default=1.0,
        validator=attrs.validators.gt(0),
        metadata=doc("share of the samples drawn, relative to the stage's other sources"),
    )
    limit: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.ge(1)),
        metadata=doc("use only so many rows, the first in the order of the files", unit="rows"),
    )
    overflow: Literal["split", "truncate", "reject"] = attrs.field(
        default="split",
        validator=one_of(["split", "truncate", "reject"]),
        metadata=doc("what happens to a sample that does not fit a pack; pictures are never cut"),
    )
    synthetic: SyntheticContent | None = attrs.field(
        default=None, metadata=doc("made up under `path` on first use, where it does not exist")
    )
    features: str | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.min_len(1)),
        metadata=doc(
            "folder in which `mmcore data cache` has put what the frozen encoder makes of the "
            "pictures; read in place of them"
        ),
    )

    @property
    def gives_pairs(self) -> bool:
        """Whether its samples are preference pairs."""
        return False

    @property
    def gives_references(self) -> bool:
        """Whether its preference pairs carry the log-probabilities of their answers."""
        return False

    def has_files(self) -> bool:
        """Whether anything is there at ``path``, which is no URL; asked before a run."""
        local = self.path.removeprefix("file://")
        return Path(local).exists() or next(glob.iglob(local, recursive=True), None) is not None

    @abstractmethod
    def open(self) -> Source:
        """The dataset, ready to be read."""

    @abstractmethod
    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        """Write made-up rows into ``folder``, in the dataset's true on-disk format.

        A source that has no files, since it makes its rows as they are read, writes nothing, and
        ``open`` goes by ``synthetic``.
        """

    @abstractmethod
    def relocated(self, folder: Path) -> Self:
        """This spec, reading what ``synthesize`` wrote into ``folder``; ``synthetic`` is added to
        it by who asks."""

    @property
    def links(self) -> Links | None:
        """How published rows name their pictures, which `mmcore data download` then fetches.

        None where the published files hold the pictures themselves.
        """
        return None

    @property
    def prepare_command(self) -> str:
        """What is typed where ``path`` holds rows as they are published, with links alone."""
        folder = self.folder
        name = f"{folder.name}-prepared" if folder.name else "prepared"
        return download_command(self.name, self.path, str(folder.parent / name))

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder under which ``path`` and its pictures lie: where ``synthesize`` writes."""
