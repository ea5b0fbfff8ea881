"""A Sample becomes ids, loss mask and placeholders; later, its pictures become tiles.

Letters: T tokens of a sample, N views, C/H/W channels, height, width, P patches of a view, D
encoder width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Literal

import attrs
import numpy as np
import torch

from mmcore.data.feature_store import FeatureStore
from mmcore.data.fitting import Atom, Bounds, Picture, Words, join_end, shrink, split, truncate
from mmcore.data.images import decode, of_picture
from mmcore.data.instructions import instructions
from mmcore.data.pair_texts import PairTexts, paired
from mmcore.data.pairs import both_turns, check_pair, truncate_both
from mmcore.data.references import with_reference
from mmcore.data.rendered import Rendered
from mmcore.data.tokenized import PlannedPicture, TokenizedSample
from mmcore.interfaces import (
    ImageSlot,
    Part,
    Rejection,
    Sample,
    SampleKey,
    TextFormat,
    TextPart,
    TextRun,
    TilePlan,
    TilerSpec,
    Tiles,
    ViewFormat,
)

Overflow = Literal["split", "truncate", "reject"]


@attrs.frozen
class Preparer:
    """Turns samples into what packs are made of. It can be pickled if its text format can.

    Attributes:
        text: tokenizer and chat format.
        tiler: cuts pictures.
        view: what the encoder wants to be given.
        tokens_per_view: how many placeholders a view (or another group of patches that the tiler
            makes) takes; the token sampler's promise.
        max_tokens, max_views: what a pack holds, and so the most that a sample may have.
        fit: what happens to a sample with too many views: "shrink" gives its pictures fewer,
            down to one each; "reject" leaves it out, unless it can be split.
        instruction_tokens: how many tokens of a picture's own instruction the token sampler reads.
        pair_texts: how the texts of pictures are read, where an objective of the stage wants them.
        features: where what the encoder makes of the pictures is kept, to be read in place of them.
    """

    text: TextFormat
    tiler: TilerSpec
    view: ViewFormat
    tokens_per_view: int
    max_tokens: int
    max_views: int
    fit: Literal["shrink", "reject"] = "shrink"
    instruction_tokens: int = 0
    pair_texts: PairTexts | None = None
    features: FeatureStore | None = None

    def __attrs_post_init__(self) -> None:
        if self.max_views < 1:
            raise ValueError(f"max_views is {self.max_views}, wanted at least 1")
        if self.max_tokens <= self.tokens_per_view:
            raise ValueError(
                f"max_tokens is {self.max_tokens}; one view takes {self.tokens_per_view} tokens, "
                f"so wanted at least {self.tokens_per_view + 1}"
            )

    def tokenize(self, sample: Sample, overflow: Overflow) -> list[TokenizedSample]:
        """The sample, or the pieces of it, ready to be packed; of pictures only headers are read.

        A document that fits no pack is split, truncated or rejected, as ``overflow`` says. A
        conversation is not split: its later turns would lose their pictures; it is truncated.
        Pictures shrink first, also where that is not enough; but the pieces of a document keep
        theirs as large as they can be.

        A preference pair becomes one sample of two sequences that fits a pack as a whole, every
        picture cut in the same way for both. Where it is truncated, the question stays, and both
        answers end after the same number of tokens.

        Raises:
            Rejection: a picture's header cannot be read; ``too-long``, ``too-many-views`` or
                ``picture-too-large`` for a pack; ``nothing-to-learn``; ``equal-answers``; or
                ``other-tokens``, where a pair's reference is of other ones.
        """
        if sample.dispreferred:
            return [self._pair(sample, overflow)]
        rendered = self._read(self.text.render(sample.parts), sample.parts)
        natural, plans = self._plans(rendered)
        atoms = rendered.atoms(plans, self.tokens_per_view)
        document = all(part.role == "document" for part in sample.parts)
        truncated = False
        if self._bounds.fit(atoms):
            pieces = [atoms]
        elif overflow == "split" and document:
            sized = zip(rendered.sizes, natural, strict=True)
            plans = [self._alone(size, plan) for size, plan in sized]
            atoms = rendered.atoms(plans, self.tokens_per_view)
            pieces = split(join_end(atoms, self.text.end_id), self._bounds)
        else:
            self._check_truncation(natural, overflow, atoms)
            pieces, truncated = [truncate(atoms, self._bounds)], True
        return self._finish(
            sample, pieces, document=document, shrunk=plans != natural, truncated=truncated
        )

    def prompt(self, key: SampleKey, parts: Sequence[Part]) -> TokenizedSample:
        """A question, up to where the assistant begins to answer; nothing of it is learned.

        Raises:
            Rejection: a picture's header cannot be read; ``too-long`` for a pack.
        """
        rendered = self._read(self.text.prompt(parts), parts)
        _, plans = self._plans(rendered)
        atoms = rendered.atoms(plans, self.tokens_per_view)
        if not self._bounds.fit(atoms):
            raise self._too_long(atoms)
        unlearned = [Words(a.ids, learned=False) if isinstance(a, Words) else a for a in atoms]
        document = all(part.role == "document" for part in parts)
        return self._assemble(Sample(key, tuple(parts)), unlearned, None, document)

    def _pair(self, sample: Sample, overflow: Overflow) -> TokenizedSample:
        """Both sequences of a preference pair; a header is read once for both."""
        turns = both_turns(sample)
        rendered = self._read(self.text.render(turns[0]), turns[0])
        other = rendered.with_items(self.text.render(turns[1]))
        natural, plans = self._plans(rendered, other)
        whole = [one.atoms(plans, self.tokens_per_view) for one in (rendered, other)]
        check_pair(*whole)
        kept = whole
        if not self._beside(rendered.words + other.words, times=2)(plans):
            self._check_truncation(natural, overflow, *whole)
            kept = truncate_both(whole[0], whole[1], self._bounds)
            if not kept:
                raise self._too_long(*whole)
            check_pair(*kept)
        made = []
        for parts, atoms, before in zip(turns, kept, whole, strict=True):
            cut = _tokens(atoms) < _tokens(before)
            one = self._assemble(sample, atoms, None if cut else learned_turns(parts), False)
            made.append(attrs.evolve(one, shrunk=plans != natural, truncated=cut))
        preferred, dispreferred = made
        cut = preferred.truncated or dispreferred.truncated
        text = self._pair_text(turns[0])
        pair = paired(attrs.evolve(preferred, dispreferred=dispreferred, truncated=cut), text)
        return pair if sample.reference is None else with_reference(pair, sample.reference)

    def realise(self, sample: TokenizedSample) -> tuple[Tiles, ...]:
        """The views of each picture: decoded and cut as planned, or what the encoder makes of them.

        Raises:
            Rejection: a picture cannot be decoded.
            MissingFeatures: a picture is sound, and its features are not kept.
        """
        return tuple(map(self.views, sample.pictures))

    def views(self, picture: PlannedPicture) -> Tiles:
        """Of one picture; see ``realise``."""
        if self.features is None:
            return realise(picture, self.tiler, self.view)
        found = self.features.find(picture)
        if found is None:
            # What cannot be decoded has no features, and is rejected as it would be without them.
            realise(picture, self.tiler, self.view)
            raise self.features.missing(picture)
        return found

    @property
    def blank_features(self) -> torch.Tensor | None:
        """The features of a pack without pictures; None where pixels travel."""
        return None if self.features is None else self.features.blank_features(self.view)

    @property
    def _bounds(self) -> Bounds:
        return Bounds(self.max_tokens, self.max_views)

    def _pair_text(self, parts: Sequence[Part]) -> tuple[int, ...]:
        return () if self.pair_texts is None else self.pair_texts.of(parts)

    def _read(self, items: Sequence[TextRun | ImageSlot], parts: Sequence[Part]) -> Rendered:
        asked = instructions(self.text, parts, self.instruction_tokens)
        return Rendered.read(items, parts, asked)

    def _plans(self, *rendered: Rendered) -> tuple[list[TilePlan], list[TilePlan]]:
        """How the pictures would be cut alone, and how they are cut in one sample, which may be
        several sequences that show the same pictures."""
        sizes = rendered[0].sizes
        natural = [self.tiler.plan(width, height, self.view) for width, height in sizes]
        fits = self._beside(sum(one.words for one in rendered), times=len(rendered))
        if self.fit == "reject" or fits(natural):
            return natural, natural
        return natural, shrink(natural, sizes, self.tiler, self.view, fits)

    def _alone(self, size: tuple[int, int], plan: TilePlan) -> TilePlan:
        """The plan of a picture that must fit a pack with at least one token of text."""
        fits = self._beside(1)
        if fits([plan]):
            return plan
        if self.fit == "reject":
            raise Rejection(
                "picture-too-large",
                f"{plan.views} views and {plan.groups * self.tokens_per_view} tokens of one "
                f"picture, a pack holds {self.max_views} and {self.max_tokens}",
            )
        [smaller] = shrink([plan], [size], self.tiler, self.view, fits)
        return smaller

    def _beside(self, words: int, times: int = 1) -> Callable[[Sequence[TilePlan]], bool]:
        """Whether pictures fit a pack beside so many tokens of text, where so many sequences
        show them."""

        def fits(plans: Sequence[TilePlan]) -> bool:
            groups, views = sum(one.groups for one in plans), sum(one.views for one in plans)
            tokens = words + times * groups * self.tokens_per_view
            return tokens <= self.max_tokens and views <= self.max_views

        return fits

    def _check_truncation(
        self, plans: Sequence[TilePlan], overflow: Overflow, *sequences: Sequence[Atom]
    ) -> None:
        """Whether the recipe allows to cut the sample's end off; ``plans`` are unshrunk."""
        views = sum(plan.views for plan in plans)
        if self.fit == "reject" and views > self.max_views:
            raise Rejection("too-many-views", f"{views} views, a pack holds {self.max_views}")
        if overflow == "reject":
            raise self._too_long(*sequences)

    def _too_long(self, *sequences: Sequence[Atom]) -> Rejection:
        """For a sample of one sequence, or of several that show the same views."""
        tokens = sum(map(_tokens, sequences))
        views = sum(atom.views for atom in sequences[0])
        return Rejection(
            "too-long",
            f"{tokens} tokens and {views} views, a pack holds {self.max_tokens} and "
            f"{self.max_views}",
        )

    def _finish(
        self,
        sample: Sample,
        pieces: Sequence[Sequence[Atom]],
        *,
        document: bool,
        shrunk: bool,
        truncated: bool,
    ) -> list[TokenizedSample]:
        made = []
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            ends = int(last) if document else learned_turns(sample.parts)
            made.append(self._assemble(sample, piece, None if truncated else ends, document))
        taught = [one for one in made if one.labels]
        if not taught:
            raise Rejection("nothing-to-learn", "no learned token is left that something precedes")
        text = self._pair_text(sample.parts)
        return [
            attrs.evolve(
                paired(one, text),
                key=attrs.evolve(sample.key, piece=number) if len(pieces) > 1 else sample.key,
                shrunk=shrunk,
                truncated=truncated,
                pieces=len(taught),
                dropped=0 if number else len(made) - len(taught),
            )
            for number, one in enumerate(taught)
        ]

    def _assemble(
        self, sample: Sample, atoms: Sequence[Atom], ends: int | None, document: bool
    ) -> TokenizedSample:
        """Ids and loss mask in one pass, placeholders for every picture."""
        ids: list[int] = []
        learned: list[bool] = []
        pictures = []
        for atom in atoms:
            if isinstance(atom, Picture):
                pictures.append(PlannedPicture(atom.ref, atom.plan, len(ids), atom.instruction))
                ids += [self.text.image_id] * atom.tokens
                learned += [False] * atom.tokens
            else:
                ids += atom.ids
                learned += [atom.learned] * atom.tokens
        return TokenizedSample(
            key=sample.key,
            input_ids_T=np.array(ids, dtype=np.int64),
            learned_T=np.array(learned, dtype=np.bool_),
            pictures=tuple(pictures),
            ends=ends,
            document=document,
            group=sample.group,
        )


def _tokens(atoms: Sequence[Atom]) -> int:
    return sum(atom.tokens for atom in atoms)


def learned_turns(parts: Sequence[Part]) -> int:
    """How many turns of the assistant end in words that are learned."""
    turns = [list(turn) for role, turn in groupby(parts, lambda part: part.role)]
    last = [turn[-1] for turn in turns if turn[-1].role == "assistant"]
    return sum(isinstance(part, TextPart) and part.loss for part in last)


def realise(picture: PlannedPicture, tiler: TilerSpec, view: ViewFormat) -> Tiles:
    """The views of one picture: decoded, reduced if its tiler allows it, and cut as planned.

    Raises:
        Rejection: it cannot be decoded, or is not of the size that was planned for.
        ValueError: the tiler did not keep to its plan.
    """
    plan = picture.plan
    least_size = tiler.least_size(plan, view)
    image = of_picture(picture.ref, partial(decode, least_size=least_size))
    if image.size not in plan.decoded_sizes(least_size):
        raise Rejection(
            "image-changed", f"planned as {plan.width} x {plan.height}, is {image.size}"
        )
    tiles = tiler.cut(image, plan, view)
    grouped = plan.groups, plan.views * view.patches // plan.groups
    wanted = (plan.views, 3, view.size, view.size), grouped
    found = tiles.pixels_NCHW.shape, tiles.patch_mask_NP.shape
    if found != wanted or tiles.pixels_NCHW.dtype != np.uint8:
        raise ValueError(
            f"tiler {tiler.name!r} cut {found} of {tiles.pixels_NCHW.dtype}, "
            f"wanted {wanted} of uint8 for {plan}"
        )
    order = tiles.patch_order_NP
    if order is not None and order.shape != wanted[1]:
        raise ValueError(
            f"tiler {tiler.name!r} orders patches in {order.shape}, wanted {wanted[1]} for {plan}"
        )
    return tiles
