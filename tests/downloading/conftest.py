"""A web of made-up answers, and published files that link to it."""

import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.downloading import Fetching, Img2dataset, Plan, download, links_of

FAKE = Path(__file__).with_name("fake_img2dataset.py")


class Web:
    """What is to be had at which address."""

    def __init__(self, path):
        self.path, self.pages = path, {}

    def put(self, **pages):
        self.pages.update(pages)
        self.path.write_text(json.dumps(self.pages))

    def picture(self, name, colour=None, size=(8, 6), kind="png"):
        """A picture at http://web/NAME, and its bytes."""
        out = io.BytesIO()
        Image.new("RGB", size, colour or hash_colour(name)).save(out, kind)
        self.put(**{f"http://web/{name}": out.getvalue().hex()})
        return out.getvalue()

    @property
    def calls(self):
        """Every call of the command: what was said, and the addresses in their order."""
        path = self.path.with_suffix(".calls")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Heard:
    """A listener that remembers."""

    def __init__(self):
        self.files, self.parts, self.bytes = [], [], []

    def file(self, name, number, files, rows, done):
        self.files.append((name, number, files, rows, done))

    def fetching(self, links, arrived):
        self.bytes.append((links, arrived))

    def part(self, name, record):
        self.parts.append(name)


def hash_colour(name):
    return tuple(sum(map(ord, name)) * factor % 256 for factor in (7, 31, 101))


@pytest.fixture
def web(tmp_path, monkeypatch):
    web = Web(tmp_path / "web.json")
    web.put()
    monkeypatch.setenv("WEB", str(web.path))
    return web


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def fake_command():
    return (sys.executable, str(FAKE))


@pytest.fixture
def published(tmp_path):
    """Write a published file; return its path."""

    def write(columns, name="x.parquet", schema=None, **options):
        path = tmp_path / "published" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns, schema), path, **options)
        return str(path)

    return write


@pytest.fixture
def fetch(tmp_path, fake_command, heard):
    """Download into OUT with the fake command; return the records."""

    def fetch(source, pattern, *, processes=2, threads=1, patience=300.0, **keys):
        plan = Plan(
            source=source,
            links=links_of(source),
            pattern=pattern,
            folder=tmp_path / "out",
            fetching=Fetching(processes=processes, threads=threads, patience=patience),
            **{"max_dead_share": 1.0, **keys},
        )
        return download(plan, Img2dataset(fake_command, "fake"), heard)

    return fetch
