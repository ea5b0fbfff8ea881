"""Golden any-res numbers of the official BLIP-3 code, and the pictures they were made of."""

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from mmcore.interfaces import ViewFormat


@pytest.fixture(scope="session")
def golden(request):
    """``golden("anyres_base28")`` -> (description, tensors)."""
    folder = request.config.rootpath / "tests" / "golden" / "anyres"

    def load(name):
        tensors = load_file(folder / f"{name}.safetensors")
        return json.loads((folder / f"{name}.json").read_text()), tensors

    return load


@pytest.fixture(scope="session")
def selection_table(request):
    path = request.config.rootpath / "tests" / "golden" / "anyres" / "selection_table.json"
    table = json.loads(path.read_text())
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


@pytest.fixture(scope="session")
def draw():
    """The picture of index ``k`` by the formula of the golden files."""

    def formula(width, height, k):
        y, x, c = np.ogrid[:height, :width, :3]
        checks = 64 * (((x // 8) + (y // 8)) % 2)
        values = x * (3 + c) + y * (5 + 2 * c) + checks + 31 * c + 17 * k
        return Image.fromarray((values % 256).astype(np.uint8))

    return formula


@pytest.fixture(scope="session")
def view_of():
    """The view format of a golden file: squares of ``base`` pixels in patches of 14."""

    def make(base):
        return ViewFormat(size=base, patch_rows=base // 14, patch_cols=base // 14, patch_size=14)

    return make
