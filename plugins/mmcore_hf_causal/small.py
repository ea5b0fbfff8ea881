"""A small tokenizer for models with random weights: every byte a token, and a family's chat tokens.

The templates have the structure of the families' own (turns, tags, generation prompt, what they
refuse), without tools.
"""

from __future__ import annotations

import attrs
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing

from mmcore_hf_causal.text import TokenizerFiles

ROWS = 320
"""Rows of a model over a small tokenizer: its ids and the picture's, rounded up to a multiple
of 64."""


@attrs.frozen
class Chat:
    """How a family speaks.

    Attributes:
        tokens: its special tokens.
        bos: the one that begins every text, or empty.
        eos: the one that ends an answer.
        template: its chat template.
    """

    tokens: tuple[str, ...]
    bos: str
    eos: str
    template: str


CHATML = Chat(
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "",
    "<|im_end|>",
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
)
HEADERS = Chat(
    (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ),
    "<|begin_of_text|>",
    "<|eot_id|>",
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
)
GEMMA = Chat(
    ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
    "<bos>",
    "<eos>",
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
)
SEPARATED = Chat(
    ("<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"),
    "",
    "<|im_end|>",
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
)


def small_tokenizer(chat: Chat) -> TokenizerFiles:
    """The files of a small tokenizer that speaks as ``chat`` says; made anew, nothing is read."""
    alphabet = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={one: n for n, one in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in chat.tokens]
    )
    if chat.bos:
        tokenizer.post_processor = TemplateProcessing(
            single=f"{chat.bos} $A",
            special_tokens=[(chat.bos, tokenizer.token_to_id(chat.bos))],
        )
    names = {"eos_token": chat.eos} | ({"bos_token": chat.bos} if chat.bos else {})
    return TokenizerFiles(tokenizer.to_str(), chat.template, names, "the small tokenizer")


CHATS = {
    "llama": HEADERS,
    "qwen2": CHATML,
    "qwen3": CHATML,
    "gemma": GEMMA,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "phi3": SEPARATED,
}
"""How every family speaks."""
