"""Messages and pictures as the tensors that the model takes, and ids as text.

Letters: B prompts, T tokens of the longest.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from huggingface_hub import snapshot_download
from PIL import Image
from transformers import BatchFeature, PreTrainedTokenizerFast

from mmcore.data.collate import collate
from mmcore.data.prepare import Preparer
from mmcore.data.tokenized import TokenizedSample
from mmcore.hf.configuration import MMCoreConfig
from mmcore.interfaces import ImagePart, ImageRef, Part, Rejection, Role, SampleKey, TextPart
from mmcore.kit.weights import TOKENIZER
from mmcore.loading import preparer_of

FILES = ["*.json", "llm/*"]
MARK = "<image>"
"""Where a picture goes in a plain text."""


class MMCoreProcessor:
    """Shows prompts to a model as mmcore does: its chat format, its tiles.

    Args:
        preparer: turns messages into ids and views.
        tokenizer: transformers' reading of the LLM's tokenizer; None where it has no such files.
        folder: the files that it was made of.
    """

    def __init__(
        self, preparer: Preparer, tokenizer: PreTrainedTokenizerFast | None, folder: Path
    ) -> None:
        self.preparer, self.tokenizer, self._folder = preparer, tokenizer, folder

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, **keywords: Any
    ) -> Self:
        """The processor of an exported folder, or of one on a hub.

        Raises:
            ValueError: the configuration describes no model.
        """
        folder = Path(name)
        if not folder.is_dir():
            asked = ("cache_dir", "token", "local_files_only", "force_download")
            kept: dict[str, Any] = {key: keywords[key] for key in asked if key in keywords}
            folder = Path(
                snapshot_download(str(name), revision=revision, allow_patterns=FILES, **kept)
            )
        file = MMCoreConfig.from_pretrained(folder).file(folder)
        has_tokenizer = (folder / TOKENIZER).is_file()
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder) if has_tokenizer else None
        return cls(preparer_of(file), tokenizer, folder)

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Copy what ``from_pretrained`` reads, the model's configuration included."""
        target = Path(folder)
        (target / "llm").mkdir(parents=True, exist_ok=True)
        for pattern in FILES:
            for file in self._folder.glob(pattern):
                if not file.name.endswith(".index.json"):
                    (target / file.relative_to(self._folder)).write_bytes(file.read_bytes())

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        *,
        add_generation_prompt: bool = True,
        tokenize: bool = True,
        return_dict: bool = True,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """One conversation, or several, up to where the assistant begins to answer.

        Args:
            conversation: messages as transformers' chat templates take them; a picture is
                ``{"type": "image", "image": a PIL image}`` or ``{"type": "image", "path": "..."}``.
            add_generation_prompt, tokenize, return_dict, return_tensors: only as the defaults say.

        Raises:
            ValueError: a message is malformed, a picture cannot be read, or it is all too long.
        """
        asked = (add_generation_prompt, tokenize, return_dict, return_tensors)
        if asked != (True, True, True, "pt"):
            raise ValueError(
                "this chat format is made of ids, not of text: wanted add_generation_prompt=True, "
                'tokenize=True, return_dict=True, return_tensors="pt"'
            )
        several = bool(conversation) and not isinstance(conversation[0], Mapping)
        return self._shown([_turns(one) for one in (conversation if several else [conversation])])

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] = "",
        *,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Plain texts without any chat format, to be gone on with.

        Args:
            images: pictures (PIL images or paths) in the order of the marks in all texts.
            text: one or several; each ``<image>`` in them is a picture's place.
            return_tensors: "pt".

        Raises:
            ValueError: there are not as many pictures as marks, one cannot be read, or it is all
                too long.
        """
        if return_tensors != "pt":
            raise ValueError(f"return_tensors is {return_tensors!r}, wanted 'pt'")
        texts = [text] if isinstance(text, str) else list(text)
        several = isinstance(images, Sequence) and not isinstance(images, str)
        pictures = [] if images is None else list(images) if several else [images]
        marks = sum(one.count(MARK) for one in texts)
        if marks != len(pictures):
            raise ValueError(f"the texts have {marks} marks {MARK!r} for {len(pictures)} pictures")
        rest = iter(pictures)
        rows = []
        for one in texts:
            first, *others = one.split(MARK)
            row: list[Part] = [TextPart(first, "document")] if first else []
            for words in others:
                row.append(ImagePart(_ref(next(rest)), "document"))
                row += [TextPart(words, "document")] if words else []
            rows.append(row)
        return self._shown(rows)

    def decode(self, token_ids: Any, skip_special_tokens: bool = False) -> str:
        """The text of ids, with or without the tags of the chat format; pictures have no text."""
        ids = [int(one) for one in token_ids if int(one) != self.preparer.text.image_id]
        if skip_special_tokens or self.tokenizer is None:
            return self.preparer.text.decode(ids)
        return cast("str", self.tokenizer.decode(ids))  # of one row

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False) -> list[str]:
        """``decode`` of several."""
        return [self.decode(one, skip_special_tokens) for one in sequences]

    def _shown(self, rows: Sequence[Sequence[Part]]) -> BatchFeature:
        prompts = [self._prompt(row, number) for number, row in enumerate(rows)]
        ids_BT, mask_BT = _padded(prompts, self.preparer.text.end_id)
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        if any(prompt.pictures for prompt in prompts):
            inputs |= self._views(prompts)
        return BatchFeature(inputs)

    def _prompt(self, parts: Sequence[Part], number: int) -> TokenizedSample:
        try:
            return self.preparer.prompt(SampleKey("messages", "", number), tuple(parts))
        except Rejection as rejection:
            raise _unshowable(number, rejection) from rejection

    def _views(self, prompts: Sequence[TokenizedSample]) -> dict[str, torch.Tensor]:
        tiles = []
        for number, prompt in enumerate(prompts):
            try:
                tiles.append(self.preparer.realise(prompt))
            except Rejection as rejection:
                raise _unshowable(number, rejection) from rejection
        batch = collate(
            prompts,
            tiles,
            view=self.preparer.view,
            tokens_per_view=self.preparer.tokens_per_view,
            lane=-1,
        )
        views = {"pixel_values": batch.pixels_NCHW, "patch_mask": batch.patch_mask_NP}
        if batch.patch_order_NP is not None:
            views["patch_order"] = batch.patch_order_NP
        if batch.instruction_ids_NI is not None and batch.instruction_mask_NI is not None:
            views["instruction_ids"] = batch.instruction_ids_NI
            views["instruction_mask"] = batch.instruction_mask_NI
        return views


def _padded(prompts: Sequence[TokenizedSample], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, ends aligned."""
    longest = max(prompt.tokens for prompt in prompts)
    ids_BT = torch.full((len(prompts), longest), pad)
    mask_BT = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - prompt.tokens :] = torch.from_numpy(prompt.input_ids_T)
        mask_BT[row, longest - prompt.tokens :] = 1
    return ids_BT, mask_BT


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[Part]:
    parts: list[Part] = []
    for number, message in enumerate(messages):
        content = message["content"]
        pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content
        parts += [_part(message["role"], piece, number) for piece in pieces]
    return parts


def _part(role: Role, piece: Mapping[str, Any], number: int) -> Part:
    match piece:
        case {"type": "text", "text": str(text)}:
            return TextPart(text, role, loss=False)
        case {"type": "image", "image": picture} | {"type": "image", "path": picture}:
            return ImagePart(_ref(picture), role)
        case _:
            raise ValueError(
                f"message {number} has a piece {dict(piece)!r}; wanted "
                '{"type": "text", "text": ...}, {"type": "image", "image": a PIL image} or '
                '{"type": "image", "path": ...}'
            )


def _ref(picture: Any) -> ImageRef:
    if isinstance(picture, Image.Image):
        content = io.BytesIO()
        kept = picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA")
        (picture if kept else picture.convert("RGB")).save(content, "PNG")
        return ImageRef(data=content.getvalue())
    if isinstance(picture, str | Path):
        file = Path(picture).resolve()
        return ImageRef(path=file.name, root=str(file.parent))
    raise ValueError(f"a picture is a {type(picture).__name__}, wanted a PIL image or a path")


def _unshowable(number: int, rejection: Rejection) -> ValueError:
    return ValueError(
        f"prompt {number} cannot be shown to the model: {rejection.detail} ({rejection.reason})"
    )
