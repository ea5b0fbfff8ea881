"""The tiny recipe of the repository, with keys changed."""

import pytest

from mmcore import load_recipe


@pytest.fixture
def tiny(request):
    path = request.config.rootpath / "recipes" / "blip3_tiny.toml"
    return lambda *overrides: load_recipe(path, overrides)
