"""The records that pass from a source to the model: Sample, its parts, and the packed batch.

Letters: T packed tokens, N views, P patches of a view, I tokens of an instruction, K image tokens,
L labelled positions, S sequences of the pack, D encoder width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import attrs

from mmcore.interfaces.attention import PackedLayout

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

IGNORE = -100
"""Label of a position at which nothing is learned."""

Role = Literal["document", "system", "user", "assistant"]
"""Who speaks a part. "document" is text outside of any conversation."""

Row = Mapping[str, object]
"""One row of a shard as its reader gives it: column name to value."""


@attrs.frozen
class SampleKey:
    """Where a sample comes from; follows it into every message about it.

    Attributes:
        source: label of the source in the recipe, such as ``blip3-ocr`` or ``llava-json#2``.
        shard: name of the shard within the source.
        row: number of the row within the shard.
        piece: number of the piece where a long document was split, else -1.
    """

    source: str
    shard: str
    row: int
    piece: int = -1

    def __str__(self) -> str:
        tail = f"#{self.piece}" if self.piece >= 0 else ""
        return f"{self.source}:{self.shard}:{self.row}{tail}"


@attrs.frozen
class ImageRef:
    """A picture that has not been read yet: a file under a root, or bytes from a row. The kit's
    ``picture_bytes`` reads it.

    Attributes:
        path: path below ``root``, with forward slashes, as the dataset writes it.
        root: folder, or URL of one, that the path may not leave.
        data: the encoded bytes, where the row carries them itself; wins over ``path``.
        frame: which picture of a file that holds several, such as the pages of a TIFF.
    """

    path: str = ""
    root: str = ""
    data: bytes | None = attrs.field(default=None, repr=False)
    frame: int = 0


@attrs.frozen
class TextPart:
    """A run of text, who speaks it, and whether it is learned."""

    text: str
    role: Role = "document"
    loss: bool = True


@attrs.frozen
class ImagePart:
    """A picture at its place in the reading order, within the turn of ``role``."""

    ref: ImageRef
    role: Role = "document"


Part = TextPart | ImagePart


@attrs.frozen
class PairReference:
    """How likely a model that does not learn finds both answers of a preference pair.

    Attributes:
        preferred, dispreferred: the sum of the log-probabilities of the answer's tokens.
        tokens: fingerprint of the tokens that were looked at: of any other ones the numbers say
            nothing. Empty where whoever wrote them did not say.
    """

    preferred: float
    dispreferred: float
    tokens: str = ""


@attrs.frozen
class Sample:
    """Text and pictures in reading order: a caption, a web page, an OCR page, a conversation.

    A preference pair is a conversation whose last turn, the preferred answer, has a worse one
    beside it. The question is written once, so both answers have the same, and of it nothing is
    learned, earlier answers included.

    Attributes:
        key: where it comes from.
        parts: in reading order.
        group: what kind of question or content it is, for statistics and evaluation; may be empty.
        dispreferred: of a preference pair, the worse answer: what the assistant might have said
            instead of its last turn. Empty for any other sample.
        reference: of a preference pair, how likely its answers were found beforehand, if they were.
    """

    key: SampleKey
    parts: tuple[Part, ...]
    group: str = ""
    dispreferred: tuple[TextPart, ...] = ()
    reference: PairReference | None = None

    def __attrs_post_init__(self) -> None:
        assert self.dispreferred or self.reference is None, f"{self.key}: a reference is of a pair"
        if self.dispreferred:
            both = (*self.answer, *self.dispreferred)
            assert self.question, f"{self.key}: a pair has a question"
            assert self.answer, f"{self.key}: a pair ends with the assistant's preferred answer"
            assert all(isinstance(part, TextPart) and part.role == "assistant" for part in both), (
                f"{self.key}: the answers of a pair are text of the assistant"
            )

    @property
    def question(self) -> tuple[Part, ...]:
        """What comes before the assistant's last turn; everything, if that is not the end."""
        stop = len(self.parts)
        while stop and self.parts[stop - 1].role == "assistant":
            stop -= 1
        return self.parts[:stop]

    @property
    def answer(self) -> tuple[Part, ...]:
        """The assistant's last turn, if the sample ends with one."""
        return self.parts[len(self.question) :]


@attrs.frozen
class Segment:
    """One sample's place in a pack (host data, for statistics and messages).

    Attributes:
        key: of the sample; the two sequences of a preference pair have the same.
        source: label of its source.
        start, stop: its positions.
        views: how many views its pictures are; 0 for a dispreferred answer, whose pictures are
            the preferred one's.
        labels: at how many of its positions the next token is labelled.
        preference: which answer of a preference pair it ends with; None for any other sample.
        pictures: how many pictures those views were cut from.
        reference: of a preference pair, the log-probability of its answer that was computed
            beforehand; None where none was.
    """

    key: SampleKey
    source: str
    start: int
    stop: int
    views: int
    labels: int
    preference: Literal["preferred", "dispreferred"] | None = None
    pictures: int = 0
    reference: float | None = None


@attrs.frozen(eq=False)
class PackedBatch:
    """One pack: several samples end to end, no padding, bounded in tokens and in views.

    Attributes:
        input_ids_T: int64; image positions hold the text format's image id.
        position_ids_T: int64; counts from 0 within every sample.
        cu_seqlens: int32, S + 1 borders of the samples, from 0 to T. A preference pair is two
            sequences, each with the question and its pictures, whose views it has once.
        lengths: the S lengths, on the host.
        label_index_L: int64; positions whose *next* token is learned (the label shift is made
            here and nowhere else; a sample's first token is never a target).
        targets_L: int64; the tokens to be predicted at those positions.
        label_weight_L: float32; how much is learned of a position. One; zero for dispreferred
            answers, which are there to be compared with, and in a pack without labels, which
            still carries one row so that every rank enters the head once.
        pixels_NCHW: uint8 views; normalised on the device by the encoder.
        patch_mask_NP: bool; which patches show the picture rather than its border.
        patch_order_NP: int64; which patches the token sampler is given together, counted through
            all patches of the pack; the mask has the same shape and order. There are as many rows
            as groups, as many columns as the largest group has patches, and the mask hides what
            a smaller group has beyond its own. None: every view as it is.
        image_token_index_K: int64; where in T the views' tokens go, in reading order. Empty in a
            pack without pictures, which still carries one blank view for the same reason.
        image_token_source_K: int64; which of the views' tokens, counted through all of them, goes
            to each of these places: the two sequences of a preference pair show the same views.
            None: each to one place, in turn.
        instruction_ids_NI: int64; for every group of patches that becomes tokens, the user's own
            words in the turn that shows the picture, tokenised by themselves: what an
            instruction-aware token sampler reads beside the patches. Never a learned token, never
            an answer. As many columns as the longest has tokens. None: no sampler reads them, or
            no picture of the pack has any.
        instruction_mask_NI: bool; which of these are there.
        label_segment_L: int32; which segment a labelled position belongs to.
        segments: which samples, in order. Empty in a blank pack (a rank that ran out of lanes).
        lane: the lane that the pack was made in, or -1 for a blank pack.
        features_NPD: what the frozen encoder makes of the views, where it was computed beforehand;
            the encoder is not entered then, and ``pixels_NCHW`` has no views. None: pixels travel.
            All packs of a stage are of one kind.
        aux: further tensors by name, which a spec of the recipe asked for; ``interfaces.aux`` says
            what the names mean.
    """

    input_ids_T: torch.Tensor
    position_ids_T: torch.Tensor
    cu_seqlens: torch.Tensor
    lengths: tuple[int, ...]
    label_index_L: torch.Tensor
    targets_L: torch.Tensor
    label_weight_L: torch.Tensor
    pixels_NCHW: torch.Tensor
    patch_mask_NP: torch.Tensor
    image_token_index_K: torch.Tensor
    label_segment_L: torch.Tensor
    patch_order_NP: torch.Tensor | None = None
    image_token_source_K: torch.Tensor | None = None
    instruction_ids_NI: torch.Tensor | None = None
    instruction_mask_NI: torch.Tensor | None = None
    segments: tuple[Segment, ...] = ()
    lane: int = -1
    features_NPD: torch.Tensor | None = None
    aux: Mapping[str, torch.Tensor] = attrs.field(factory=dict)

    @property
    def tokens(self) -> int:
        """Positions that hold a real sample: 0 in a blank pack, else T."""
        return sum(segment.stop - segment.start for segment in self.segments)

    @property
    def views(self) -> int:
        """Views that show a picture; a blank view is not counted."""
        return sum(segment.views for segment in self.segments)

    @property
    def pictures(self) -> int:
        """Pictures that those views were cut from."""
        return sum(segment.pictures for segment in self.segments)

    @property
    def labels(self) -> int:
        """Positions at which something is learned; a dispreferred answer's are not counted."""
        return sum(one.labels for one in self.segments if one.preference != "dispreferred")

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Numbers of the segments of every preference pair: the preferred, the dispreferred."""
        return tuple(
            (number, number + 1)
            for number, segment in enumerate(self.segments)
            if segment.preference == "preferred"
        )

    @property
    def layout(self) -> PackedLayout:
        """What attention needs to know about the pack."""
        return PackedLayout(self.position_ids_T, self.cu_seqlens, self.lengths)

    def to(self, device: torch.device | str) -> PackedBatch:
        """The same pack on another device; copies do not block."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PackedBatch:
        """The same pack in page-locked memory, for copies that overlap with work."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> PackedBatch:
        def changed(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else change(tensor)

        return attrs.evolve(
            self,
            input_ids_T=change(self.input_ids_T),
            position_ids_T=change(self.position_ids_T),
            cu_seqlens=change(self.cu_seqlens),
            label_index_L=change(self.label_index_L),
            targets_L=change(self.targets_L),
            label_weight_L=change(self.label_weight_L),
            pixels_NCHW=change(self.pixels_NCHW),
            patch_mask_NP=change(self.patch_mask_NP),
            image_token_index_K=change(self.image_token_index_K),
            label_segment_L=change(self.label_segment_L),
            patch_order_NP=changed(self.patch_order_NP),
            image_token_source_K=changed(self.image_token_source_K),
            instruction_ids_NI=changed(self.instruction_ids_NI),
            instruction_mask_NI=changed(self.instruction_mask_NI),
            features_NPD=changed(self.features_NPD),
            aux={name: change(tensor) for name, tensor in self.aux.items()},
        )
