"""The recipe table of Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FolderSpec
from mmcore.kit.store import is_url
from mmcore_registry import Problem, doc
from mmcore_sources.columns_spec import ColumnsSpec

INSTALL = "pip install 'mmcore[hf]'"


@attrs.frozen(kw_only=True)
class HfSpec(FolderSpec, ColumnsSpec):
    """Captions, conversations or questions about pictures, in any Hugging Face dataset.

    `path` is a folder that `save_to_disk` wrote; or, where `load_dataset` has prepared it on this
    machine, the name of a dataset or a folder laid out like one. With `streaming = true` it is
    such a folder or a URL of one, whose parquet or Arrow files are read where they lie. Nothing
    is fetched from the Hub.
    """

    name: ClassVar[str] = "hf"

    path: str = attrs.field(
        metadata=doc("a saved folder, a folder laid out like a dataset, or a dataset's name")
    )
    split: str = attrs.field(
        default="train",
        # A slice such as train[:10%] would be of the whole dataset, and shards are its files.
        validator=attrs.validators.matches_re(r"\w+(\.\w+)*"),
        metadata=doc("which split is read, by its plain name"),
    )
    config: str = attrs.field(
        default="", metadata=doc("which configuration, of a dataset that has several")
    )
    streaming: bool = attrs.field(
        default=False,
        metadata=doc("read a folder's own files, without the copy that `load_dataset` makes"),
    )

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not is_installed():
            yield Problem("use", "needs the package datasets", INSTALL, machine=True)
        elif self.synthetic is None and not self._is_in_a_store:
            from mmcore_sources.hf_files import files_of

            try:
                files_of(self.path, self.config, self.split, streaming=self.streaming)
            except (OSError, ValueError) as error:
                yield Problem("path", str(error), machine=True)

    def has_files(self) -> bool:
        return True  # it may be a name; ``problems`` looks, and can say what is wrong

    @property
    def _is_in_a_store(self) -> bool:
        """Whether only the run will see what is there: a store may be long in answering."""
        return self.streaming and is_url(self.path) and not self.path.startswith("hf://")

    def open(self) -> Source:
        check_installed()
        from mmcore_sources.hf_source import HfSource

        return HfSource(
            path=self.path,
            split=self.split,
            config=self.config,
            streaming=self.streaming,
            columns=self.columns,
            images=self.images,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        check_installed()
        from mmcore_sources.made_up_columns import make_up_dataset

        make_up_dataset(
            folder,
            content,
            self.name,
            self.columns,
            turns=self.turns,
            split=self.split,
            saved=not self.streaming,
        )

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder), config="", images="")


def is_installed() -> bool:
    """Whether the package datasets is there; it is not imported."""
    return find_spec("datasets") is not None


def check_installed() -> None:
    """To be asked before the package is used.

    Raises:
        ValueError: it is missing; says how to install it.
    """
    if not is_installed():
        raise ValueError(f"source 'hf' needs the package datasets: {INSTALL}")
