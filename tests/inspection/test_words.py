"""Ids become words without losing any, and what is learned stays what it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.data.tokenized import PlannedPicture
from mmcore.inspection.words import PicturePlace, Run, prompt, spell
from mmcore.interfaces import ImageRef, TextPart, TextRun, TilePlan
from mmcore_registry import discover


class ByteText:
    """Bytes are ids, so most characters take several; 256 is special."""

    def decode(self, ids):
        return bytes(one for one in ids if one < 256).decode(errors="replace")

    def special(self, token):
        return "<end>" if token == 256 else ""


@pytest.fixture(scope="module")
def phi():
    return discover().get("llm", "phi3")().text()


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_characters_of_several_tokens_are_whole(text):
    ids = list(text.encode())
    words = [word for word, _ in spell(ByteText(), ids, [True] * len(ids))]
    assert [word.text for word in words] == list(text)
    assert [one for word in words for one in word.ids] == ids


@given(st.lists(st.tuples(st.integers(0, 256), st.booleans()), max_size=60))
def test_no_id_is_lost_whatever_the_bytes(pairs):
    ids, learned = [one for one, _ in pairs], [one for _, one in pairs]
    spelled = list(spell(ByteText(), ids, learned))
    assert [one for word, _ in spelled for one in word.ids] == ids
    assert [flag for word, flag in spelled for _ in word.ids] == learned
    assert [word.ids for word, _ in spelled if word.special] == [(256,)] * ids.count(256)


@given(text=st.text("aA é中🙂\n\t<|>e nd", max_size=60))
def test_phis_words_put_together_are_its_text(phi, text):
    runs = phi.render([TextPart(text, "user", loss=False), TextPart(f"x{text}", "assistant")])
    ids = [one for run in runs for one in run.ids]
    words = [word for word, _ in spell(phi, ids, [False] * len(ids))]
    plain = [word for word in words if not word.special]
    assert [one for word in words for one in word.ids] == ids
    assert "".join(word.text for word in plain).replace(" ", "") == phi.decode(ids).replace(" ", "")
    names = [word.text for word in words if word.special]
    assert names == ["<|user|>", "<|end|>", "<|assistant|>", "<|end|>"]


def test_a_document_with_pictures_is_runs_and_places(phi):
    [text] = phi.render([TextPart("two cats")])
    assert isinstance(text, TextRun)
    plan = TilePlan(width=9, height=9, cols=1, rows=2, views=3)
    ids = np.array([phi.image_id] * 12 + [*text.ids[:1]] + [phi.image_id] * 12 + [*text.ids[1:]])
    learned = ids != phi.image_id
    pictures = [PlannedPicture(ImageRef(), plan, 0), PlannedPicture(ImageRef(), plan, 13)]
    items = prompt(phi, ids, learned, pictures, tokens_per_view=4)
    assert [type(one) for one in items] == [PicturePlace, Run, PicturePlace, Run]
    assert items[2] == PicturePlace(number=1, groups=3, tokens=4)
    assert items[3].learned
    assert items[3].words[-1].text == "<|endoftext|>"
