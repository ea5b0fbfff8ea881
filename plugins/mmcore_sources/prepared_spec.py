"""The recipe table of preference pairs that `mmcore data prepare-dpo` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import doc


@attrs.frozen(kw_only=True)
class PreparedPairsSpec(FilesSpec):
    """Preference pairs with the log-probabilities of a reference (from `mmcore data prepare-dpo`).

    A row whose numbers are of other tokens than the stage makes of it is rejected.
    """

    name: ClassVar[str] = "prepared-pairs"
    origin: ClassVar[str] = "`mmcore data prepare-dpo`, which makes it of other preference pairs"

    path: str = attrs.field(
        metadata=doc(
            "files of the prepared folder, as FOLDER/*.jsonl; given-*.jsonl are the pairs that it "
            "was made of, noised-*.jsonl those with answers to noised pictures"
        )
    )

    @property
    def gives_pairs(self) -> bool:
        return True

    @property
    def gives_references(self) -> bool:
        return True

    def open(self) -> Source:
        from mmcore_sources.prepared_source import PreparedPairs

        return PreparedPairs(self.path)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_sources.made_up_prepared import make_up_prepared

        make_up_prepared(folder, content, self.name)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.jsonl"))
