"""The recipe tables of preference pairs: questions with a better and a worse answer."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import doc, one_of

_NAMES = doc("names of files below `images`, looked at after `image_columns`")


@attrs.frozen(kw_only=True)
class PreferencesSpec(FilesSpec):
    """Questions about pictures with two answers, of which one is preferred."""

    learn: Literal["pairs", "preferred"] = attrs.field(
        default="pairs",
        validator=one_of(["pairs", "preferred"]),
        metadata=doc(
            "pairs, for an objective that reads them, or the preferred answers alone, as any "
            "conversation is learned"
        ),
    )
    images: str = attrs.field(
        default="",
        metadata=doc(
            "folder below which the pictures lie; empty for the folder of each file of `path`"
        ),
    )

    @property
    def gives_pairs(self) -> bool:
        return self.learn == "pairs"


@attrs.frozen(kw_only=True)
class VlFeedbackSpec(PreferencesSpec):
    """Instructions with several answers rated by GPT-4V, as in VLFeedback (parquet, JSON).

    Preferred is the answer with the highest mean rating, dispreferred the one with the lowest; of
    equal ones the first. How BLIP-3 chose among equal ones was not found. A row whose answers are
    all equal, or of which fewer than two are rated in every aspect, is rejected.

    The columns are those of the dataset's page. Its revisions differ in how a picture is kept:
    in `image`, as bytes and path, or below a folder under the name that `img_path` gives. Both
    are read.
    """

    name: ClassVar[str] = "vlfeedback"
    origin: ClassVar[str] = "https://huggingface.co/datasets/MMInstruction/VLFeedback"

    prompt_column: str = attrs.field(default="prompt", metadata=doc("column of the instruction"))
    completions_column: str = attrs.field(
        default="completions",
        metadata=doc("column of the answers: `response` and `annotations` of each"),
    )
    aspects: tuple[str, ...] = attrs.field(
        default=("Helpfulness", "Visual Faithfulness", "Ethical Considerations"),
        validator=attrs.validators.min_len(1),
        metadata=doc("annotations whose `Rating` counts"),
    )
    image_columns: tuple[str, ...] = attrs.field(
        default=("image",),
        validator=attrs.validators.min_len(1),
        metadata=doc("columns of the picture; the first that holds one counts"),
    )
    name_columns: tuple[str, ...] = attrs.field(default=("img_path",), metadata=_NAMES)

    def open(self) -> Source:
        from mmcore_blip3.vlfeedback import VlFeedback

        return VlFeedback(
            path=self.path,
            images=self.images,
            image_columns=self.image_columns,
            name_columns=self.name_columns,
            prompt_column=self.prompt_column,
            completions_column=self.completions_column,
            aspects=self.aspects,
            pairs=self.gives_pairs,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_preferences import make_up_vlfeedback

        make_up_vlfeedback(
            folder,
            content,
            prompt_column=self.prompt_column,
            completions_column=self.completions_column,
            image_column=self.image_columns[0],
            aspects=self.aspects,
        )

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.parquet"), images="")


@attrs.frozen(kw_only=True)
class PreferencePairsSpec(PreferencesSpec):
    """Prompt, chosen and rejected answer, as TRL, RLHF-V and RLAIF-V have them (JSON, parquet).

    Each of the three is text, or a list of messages. Where `chosen` and `rejected` are whole
    conversations, they begin alike and the prompt is not looked at.
    """

    name: ClassVar[str] = "preference-pairs"
    origin: ClassVar[str] = "your own choice of preference pairs, such as openbmb/RLAIF-V-Dataset"

    prompt_column: str = attrs.field(
        default="prompt", metadata=doc('column of the question, such as "question" in RLAIF-V')
    )
    chosen_column: str = attrs.field(
        default="chosen", metadata=doc("column of the preferred answer")
    )
    rejected_column: str = attrs.field(
        default="rejected", metadata=doc("column of the dispreferred answer")
    )
    packed_column: str = attrs.field(
        default="",
        metadata=doc('column of JSON text that holds the three, such as "text" in RLHF-V'),
    )
    image_columns: tuple[str, ...] = attrs.field(
        default=("images", "image"),
        validator=attrs.validators.min_len(1),
        metadata=doc("columns of pictures; the first that holds any counts"),
    )
    name_columns: tuple[str, ...] = attrs.field(default=(), metadata=_NAMES)

    def open(self) -> Source:
        from mmcore_blip3.preference_pairs import PreferencePairs

        return PreferencePairs(
            path=self.path,
            images=self.images,
            image_columns=self.image_columns,
            name_columns=self.name_columns,
            prompt_column=self.prompt_column,
            chosen_column=self.chosen_column,
            rejected_column=self.rejected_column,
            packed_column=self.packed_column,
            pairs=self.gives_pairs,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_preferences import make_up_pairs

        make_up_pairs(
            folder,
            content,
            prompt_column=self.prompt_column,
            chosen_column=self.chosen_column,
            rejected_column=self.rejected_column,
            packed_column=self.packed_column,
            image_column=self.image_columns[0],
        )

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.jsonl"), images="")
