"""The page is whole, asks for nothing from outside, and lets no text of a dataset become markup."""

import base64
import hashlib
from html.parser import HTMLParser

import pytest

from mmcore.inspection.preview import preview
from mmcore.inspection.rendering import colour, render, visible

HOSTILE = '</script><script>alert("x")</script><img src=https://example.org/a.png onerror=alert(1)>'


class Page(HTMLParser):
    """All tags with their attributes, and the text within."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.open = [], [], []
        self.within = {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        where = self.open[-1] if self.open else ""
        self.within.setdefault(where, []).append(data)
        if where not in ("script", "style"):
            self.text.append(data)

    def of_class(self, name):
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


@pytest.fixture
def page(look):
    """``page({"stage": [...]}, samples=3)`` -> what was gathered, and the page of it."""

    def make(stages, samples=3, **options):
        shown = preview(look(stages, **options), samples)
        return shown, Page(render("some <b>recipe</b>", shown, ["a note"]))

    return make


def test_text_of_a_dataset_stays_text(page, captions, png):
    rows = [(HOSTILE, png()), ("<b>bold</b>", png()), ("bad picture", b"<script>1</script>")]
    _, found = page({"one": [("cc3m", captions("h<x>", rows))]})
    scripts = [attrs for tag, attrs in found.tags if tag == "script"]
    assert len(scripts) == 1
    assert not any(key.startswith("on") for _, attrs in found.tags for key in attrs)
    text = "".join(found.text)
    for said in (HOSTILE, "<b>bold</b>", "some <b>recipe</b>", "<script>1</scrip"):
        assert said in text


def test_nothing_is_asked_of_a_server_and_only_its_own_script_may_run(page, captions, png):
    _, found = page({"one": [("cc3m", captions("rows", [(HOSTILE, png())] * 3))]})
    links = [attrs[key] for _, attrs in found.tags for key in ("src", "href") if key in attrs]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert not [tag for tag, _ in found.tags if tag in ("link", "iframe", "object", "form")]
    assert "url(" not in "".join(found.within["style"])
    [policy] = [attrs["content"] for tag, attrs in found.tags if "http-equiv" in attrs]
    script = "".join(found.within["script"]).encode()
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_samples_show_what_the_model_gets(page, captions, png):
    rows = [(f"cat {n}", png()) for n in range(6)]
    [stage], found = page({"one": [("cc3m", captions("rows", rows), "share = 3")]}, samples=2)
    [source] = stage.sources
    assert len(source.samples) == 2
    sample = source.samples[0]
    [sequence] = sample.sequences
    assert sequence.tokens == sample.tokens
    assert (sequence.learned, sequence.picture_tokens) == (sample.learned, 4 * sample.views)
    assert sequence.other == 0
    [picture] = sample.pictures
    assert (picture.width, picture.height, picture.cols * picture.rows) == (64, 40, 4)
    assert len(found.of_class("sample")) == 2
    assert len(found.of_class("place")) == 1 + 2  # the legend has one
    assert len(found.of_class("hidden-patch")) >= 2  # 64 x 40 pixels do not fill 2 x 2 tiles
    views = [attrs for tag, attrs in found.tags if tag == "img"]
    assert len(views) == sum(sample.views for sample in source.samples)


def test_learned_text_is_told_from_what_is_only_read(page, tmp_path):
    """Counted on the page itself, for a conversation."""
    [stage], found = page(
        {"one": [("llava-json", f"{tmp_path}/made/*.json", "synthetic.rows = 4")]}
    )
    sample = stage.sources[0].samples[0]
    assert sample.kind == "conversation"
    ids = [one["data-ids"].split() for one in found.of_class("run") if "data-ids" in one]
    learned = [one["data-ids"].split() for one in found.of_class("learned") if "data-ids" in one]
    samples = stage.sources[0].samples
    assert sum(map(len, learned)) == sum(one.learned for one in samples)
    pictures = sum(one.sequences[0].picture_tokens for one in samples)
    assert sum(map(len, ids)) + pictures == sum(one.tokens for one in samples)


def test_changed_samples_are_preferred_and_said(page, captions, png):
    rows = [("short", png())] * 20
    rows[11] = (" ".join(["word"] * 300), png())
    [stage], found = page({"one": [("cc3m", captions("rows", rows))]}, samples=4)
    shown = stage.sources[0].samples
    assert len(shown) == 4
    assert sum(bool(one.changes) for one in shown) == 2
    assert len(found.of_class("changed")) == 2
    assert any("split in" in text for text in found.text)


def test_packs_are_bars_of_their_samples(page, captions, png):
    rows = [(f"cat {n}", png()) for n in range(30)]
    path = captions("rows", rows)
    [stage], found = page({"one": [("cc3m", path), ("sbu", path)]})
    for pack in stage.packs:
        assert sum(one.tokens for one in pack) <= 128
        assert sum(one.views for one in pack) <= 16
    segments = [a for t, a in found.tags if t == "span" and "data-source" in a]
    assert len(segments) == 2 * sum(map(len, stage.packs))
    assert {one["data-source"] for one in segments} == {"cc3m", "sbu"}


def test_broken_and_empty_sources_are_on_the_page(page, captions, png, tmp_path):
    good = captions("good", [("cat", png()), ("dog", b"no picture")])
    empty = captions("empty", [])
    [stage], found = page(
        {"one": [("cc3m", f"{tmp_path}/gone/*.tar"), ("sbu", good), ("cc12m", empty)]}
    )
    text = "".join(found.text)
    assert "no file matches" in text
    assert "It holds no rows." in text
    assert "sbu:000.parquet:1" in text
    assert "image-unreadable" in text
    assert [len(one.samples) for one in stage.sources] == [0, 1, 0]


def test_samples_do_not_come_from_one_corner(page, captions, png):
    rows = [(f"cat {n}", png()) for n in range(200)]
    [stage], _ = page({"one": [("cc3m", captions("rows", rows, shards=5))]}, samples=3)
    shards = {one.key.split(":")[1] for one in stage.sources[0].samples}
    assert len(shards) == 3


def test_white_space_and_controls_are_visible():
    assert visible("a\n\tb") == "a⏎\n⇥\tb"
    assert visible("") == "∅"
    assert visible("\u202e\x00") == "␦␦"


def test_colours_differ():
    assert len({colour(number) for number in range(40)}) == 40
