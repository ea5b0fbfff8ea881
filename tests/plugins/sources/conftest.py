"""Small pictures, and all samples of a source."""

import io

import pytest
from PIL import Image

from mmcore.interfaces import ImagePart, Rejection, SampleKey, TextPart
from mmcore.kit.picture_bytes import picture_bytes


def png(colour):
    out = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def pictures():
    """Three encoded pictures that differ."""
    return [png(colour) for colour in ("red", "green", "blue")]


@pytest.fixture
def read():
    """All rows of a spec's source in order: what ``told`` makes of the sample, or the reason."""

    def read(spec):
        source, found = spec.open(), []
        for shard in source.shards():
            for number, row in enumerate(source.rows(shard, 0, source.length(shard))):
                try:
                    sample = source.parse(row, SampleKey(spec.name, shard.name, number))
                except Rejection as rejection:
                    found.append(rejection.reason)
                else:
                    found.append(told(sample))
        return found

    return read


def told(sample):
    """A sample's parts: a picture as its bytes, text as itself, with + where it is learned."""
    parts = []
    for part in sample.parts:
        if isinstance(part, ImagePart):
            parts.append(picture_bytes(part.ref))
        else:
            assert isinstance(part, TextPart)
            parts.append(f"{part.role}{'+' if part.loss else ''}: {part.text}")
    return parts
