"""Ids against transformers' own apply_chat_template; spans; text never becomes a special token."""

from __future__ import annotations

import json
import pickle

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    ImageSlot,
    Rejection,
    TextPart,
    TextRun,
    WeightsError,
)
from mmcore.testing import check_text_format
from mmcore_hf_causal.small import CHATML, GEMMA, HEADERS, ROWS, SEPARATED, small_tokenizer
from mmcore_hf_causal.text import ChatTextFormat, TokenizerFiles, read_files

SMALL = {"chatml": CHATML, "headers": HEADERS, "gemma": GEMMA, "separated": SEPARATED}

# The structures of published templates, without tools.
DEFAULT_SYSTEM = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role != 'system' or not loop.first %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
THINKING = (
    "{%- set ns = namespace(last=-1) %}"
    "{%- for message in messages %}{%- if message.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' and loop.index0 > ns.last %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{{- message.content.lstrip('\\n') + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
DATED = (
    "{{- bos_token }}"
    "{%- if messages[0]['role'] == 'system' %}"
    "{%- set said = messages[0]['content']|trim %}{%- set messages = messages[1:] %}"
    "{%- else %}{%- set said = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}"
    "{{- 'Today Date: 26 Jul 2024\\n\\n' }}{{- said }}{{- '<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
PREFIXED = (
    "{{ bos_token }}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set first = messages[0]['content'] + '\\n\\n' -%}{%- set rest = messages[1:] -%}"
    "{%- else -%}{%- set first = '' -%}{%- set rest = messages -%}{%- endif -%}"
    "{%- for message in rest -%}"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{ '<start_of_turn>' + role + '\\n' + (first if loop.first else '') }}"
    "{{ message['content'] | trim }}{{ '<end_of_turn>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"
)
PUBLISHED = {
    "chatml-default-system": (CHATML, DEFAULT_SYSTEM),
    "headers-dated": (HEADERS, DATED),
    "gemma-prefixed": (GEMMA, PREFIXED),
}
FILES = {name: small_tokenizer(chat) for name, chat in SMALL.items()} | {
    name: attrs.evolve(small_tokenizer(chat), template=template)
    for name, (chat, template) in PUBLISHED.items()
}


def format_of(files: TokenizerFiles, **settings: object) -> ChatTextFormat:
    return ChatTextFormat(files, **({"rows": ROWS, "system_prompt": ""} | settings))


FORMATS = {name: format_of(files) for name, files in FILES.items()}
TURNS = [
    ("user", "  What is it?\n"),
    ("assistant", " A red\n\nboat. "),
    ("user", "\nAnd now?"),
    ("assistant", "Gone."),
]
SYSTEM = ("system", "Be brief.")


def parts_of(turns):
    return [TextPart(words, role) for role, words in turns]


def flat(format_, pieces):
    ids, labels = [], []
    for piece in pieces:
        if isinstance(piece, ImageSlot):
            ids, labels = [*ids, format_.image_id], [*labels, -100]
        else:
            ids += piece.ids
            labels += piece.ids if piece.learned else [-100] * len(piece.ids)
    return ids, labels


def theirs(files, turns, **more):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(files.tokenizer), **files.names
    )
    messages = [{"role": role, "content": words} for role, words in turns]
    return tokenizer.apply_chat_template(
        messages, chat_template=files.template, return_dict=False, **more
    )


@pytest.mark.parametrize("name", FILES)
def test_contract(name):
    check_text_format(FORMATS[name])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("system", [False, True])
def test_ids_are_those_of_transformers(name, system):
    files, format_ = FILES[name], FORMATS[name]
    turns = [SYSTEM, *TURNS] if system else TURNS
    if system and name == "gemma":
        pytest.skip("its template refuses a system turn; see below")
    ids, _ = flat(format_, format_.render(parts_of(turns)))
    assert ids == theirs(files, turns, add_generation_prompt=False)
    prompt, labels = flat(format_, format_.prompt(parts_of(turns[:-1])))
    assert prompt == theirs(files, turns[:-1], add_generation_prompt=True)
    assert set(labels) == {-100}
    assert ids[: len(prompt)] == prompt, "the prompt is the beginning of the whole"


@pytest.mark.parametrize("name", FILES)
def test_exactly_the_answers_and_their_ends_are_learned(name):
    format_ = FORMATS[name]
    _, labels = flat(format_, format_.render(parts_of(TURNS)))
    answers = ["A red\n\nboat.", "Gone."]
    if name.startswith(("chatml", "separated")):
        answers[0] = " A red\n\nboat. "  # nothing is stripped
    wanted = [
        one
        for answer in answers
        for one in (*format_.tokenizer.encode(answer, add_special_tokens=False).ids, 0)
    ]
    wanted = [one or format_.turn_end_id for one in wanted]
    assert 0 not in format_.tokenizer.encode(" A red\n\nboat. Gone.").ids
    assert [one for one in labels if one >= 0] == wanted


def test_pictures_stand_where_they_were_said():
    format_ = FORMATS["headers"]
    image = ImagePart(ImageRef(path="a.png"), "user")
    parts = [TextPart(" Here ", "user"), image, TextPart(" and ", "user"), image]
    pieces = format_.render([*parts, TextPart("Two.", "assistant")])
    shown = [one.index if isinstance(one, ImageSlot) else format_.decode(one.ids) for one in pieces]
    assert shown[1:4] == [0, " and ", 1]
    assert shown[0].endswith("Here "), "stripped at the turn's ends only"


def test_a_refused_system_turn_is_said_by_the_user():
    """Before its first words, as Gemma 3's template does."""
    format_, turns = FORMATS["gemma"], [("user", "What is it?"), *TURNS[1:]]
    ids, _ = flat(format_, format_.render(parts_of([SYSTEM, *turns])))
    assert ids == theirs(FILES["gemma-prefixed"], [SYSTEM, *turns])
    told = format_of(FILES["gemma"], system_prompt="Be brief.")
    assert flat(told, told.render(parts_of(turns)))[0] == ids


def test_what_a_template_refuses_rejects_the_sample():
    with pytest.raises(Rejection, match=r"chat-template.*must alternate"):
        FORMATS["gemma"].render(parts_of(TURNS[1:]))
    with pytest.raises(Rejection, match="mixed-roles"):
        FORMATS["gemma"].render([TextPart("a"), TextPart("b", "user")])


def test_an_answer_is_rendered_as_it_stands_in_history():
    """Qwen3's template writes the last answer unlike the others: no stable beginning."""
    files = attrs.evolve(small_tokenizer(CHATML), template=THINKING)
    format_ = format_of(files)
    check_text_format(format_)
    ids, _ = flat(format_, format_.render(parts_of(TURNS)))
    assert "<think>" in Tokenizer.from_str(files.tokenizer).decode(theirs(files, TURNS))
    later = theirs(files, [*TURNS, ("user", "x")])
    assert later[: len(ids)] == ids
    assert flat(format_, format_.prompt(parts_of(TURNS[:3])))[0] == theirs(
        files, TURNS[:3], add_generation_prompt=True
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (CHATML.template.replace("messages %}", "messages[-2:] %}", 1), "once each"),
        ("{{ messages|length }}" + CHATML.template, "differently when another follows"),
        (CHATML.template.replace("{{ '<|im_start|>assistant\\n' }}", "x"), "opens an answer"),
        (
            "{% for message in messages %}{{ message.content + '.' }}{% endfor %}",
            "no special token at which",
        ),
        ("{% for %}", "cannot be read"),
        ("{{ messages.__class__.__mro__[1].x }}" + CHATML.template, "fails on"),
    ],
)
def test_templates_that_cannot_be_rendered_exactly_are_refused(template, message):
    def use():
        format_ = format_of(attrs.evolve(small_tokenizer(CHATML), template=template))
        format_.prompt(parts_of(TURNS[:3]))
        format_.render(parts_of(TURNS))

    with pytest.raises(WeightsError, match=message):
        use()


def test_without_a_template_documents_are_rendered_and_conversations_are_not():
    format_ = format_of(attrs.evolve(small_tokenizer(HEADERS), template=""))
    pieces = format_.render([TextPart("a boat")])
    assert pieces[0] == TextRun((format_.controls["<|begin_of_text|>"].id,), False)
    assert pieces[-1].ids[-1] == format_.end_id
    with pytest.raises(WeightsError, match="has no chat template, so it renders documents only"):
        format_.render(parts_of(TURNS))


def test_a_long_conversation_is_no_deep_recursion():
    turns = [("user", "a"), ("assistant", "b")] * 200
    format_ = format_of(small_tokenizer(CHATML))
    ids, _ = flat(format_, format_.render(parts_of(turns)))
    assert ids.count(format_.turn_end_id) == 400


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<|im_end|>", "<|eot_id|>", "<bos>", "<end_of_turn>", "\ue0000\ue001"])
        | st.text(max_size=8),
        min_size=1,
        max_size=5,
    ).map("".join)
)
def test_text_never_becomes_a_special_token(text):
    for name, format_ in FORMATS.items():
        special = {one.id for one in format_.controls.values()} | {format_.image_id}
        ids, _ = flat(format_, format_.render([TextPart(text)]))
        begin = 1 if SMALL.get(name, CHATML).bos or "gemma" in name or "headers" in name else 0
        assert special.isdisjoint(ids[begin:-1])
        said, _ = flat(format_, format_.render(parts_of([("user", text), ("assistant", "b")])))
        plain, _ = flat(format_, format_.render(parts_of([("user", "a"), ("assistant", "b")])))
        assert [one for one in said if one in special] == [one for one in plain if one in special]


def changed(files, *, flags=None, more=()):
    """Files whose tags have these flags too, and that have more added tokens, not special."""
    content = json.loads(files.tokenizer)
    for token in content["added_tokens"]:
        token.update(flags or {})
    size = 1 + max(token["id"] for token in content["added_tokens"])
    plain = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word", "special"), False)
    content["added_tokens"] += [
        {"id": size + number, "content": spelled} | plain for number, spelled in enumerate(more)
    ]
    return attrs.evolve(files, tokenizer=json.dumps(content))


@pytest.mark.parametrize("flags", [{"rstrip": True}, {"lstrip": True, "rstrip": True}])
@pytest.mark.parametrize("name", FILES)
def test_tags_that_swallow_white_space_do(name, flags):
    """Phi-3's do on the right, Phi-4's on both sides."""
    files = changed(FILES[name], flags=flags)
    format_ = format_of(files)
    assert flat(format_, format_.render(parts_of(TURNS)))[0] == theirs(files, TURNS)


@pytest.mark.parametrize("name", FILES)
def test_added_tokens_for_white_space_are_text_and_tags_are_not(name):
    """Gemma's tokenizer has one token for a run of newlines; Qwen's has tags that are not marked
    as special."""
    files = changed(FILES[name], more=("\n\n", "<|tool|>"))
    format_ = format_of(files)
    ids, _ = flat(format_, format_.render(parts_of(TURNS)))
    assert ids == theirs(files, TURNS)
    assert format_.tokenizer.token_to_id("\n\n") in ids
    spelled, _ = flat(format_, format_.render([TextPart("a <|tool|>")]))
    assert format_.tokenizer.token_to_id("<|tool|>") not in spelled


def test_the_picture_has_a_row_that_no_text_uses():
    files = small_tokenizer(CHATML)
    assert format_of(files).image_id == 259, "the first row without a token"
    with pytest.raises(WeightsError, match="a larger `vocabulary` appends some"):
        format_of(files, rows=259)
    content = json.loads(files.tokenizer)
    content["added_tokens"][0]["content"] = "<|reserved_special_token_0|>"
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 259, "content": "</s>"})
    reserved = attrs.evolve(files, tokenizer=json.dumps(content))
    assert format_of(reserved, rows=260).image_id == 256
    assert format_of(reserved, rows=261).image_id == 260


def test_files_of_a_tokenizer():
    small = small_tokenizer(HEADERS)
    config = {"bos_token": {"content": "<b>"}, "eos_token": "<e>", "chat_template": "inside"}
    read = {"tokenizer.json": small.tokenizer, "tokenizer_config.json": json.dumps(config)}
    files = read_files(read, "here")
    assert (files.names, files.template) == ({"bos_token": "<b>", "eos_token": "<e>"}, "inside")
    assert read_files(read | {"chat_template.jinja": "beside"}, "here").template == "beside"
    assert read_files(read, "here", template="mine").template == "mine"
    named = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    read["tokenizer_config.json"] = json.dumps(config | {"chat_template": named})
    assert read_files(read, "here").template == "b"
    with pytest.raises(WeightsError, match=r"tokenizer_config.json of here is no JSON"):
        read_files(read | {"tokenizer_config.json": "{"}, "here")
    with pytest.raises(WeightsError, match="here is no tokenizer"):
        format_of(TokenizerFiles("{}", "", {}, "here"))


def test_it_survives_the_way_to_a_worker():
    format_ = FORMATS["headers-dated"]
    again = pickle.loads(pickle.dumps(format_))
    spelled = [TextPart("<|eot_id|>", "user"), TextPart("b", "assistant")]
    assert again.render(spelled) == format_.render(spelled)
