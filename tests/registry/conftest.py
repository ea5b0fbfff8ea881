"""Distributions on disk, as pip would have installed them, with entry points of group mmcore."""

import sys
import textwrap
from importlib.metadata import EntryPoint, distributions

import pytest


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a one-module distribution; ``install.entries()`` are the entry points of all."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def install(name, code, *, distribution="strangers", version="1.2"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{distribution}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        points = info / "entry_points.txt"
        old = points.read_text() if points.exists() else "[mmcore]\n"
        points.write_text(f"{old}{name} = {name}\n")

    def entries() -> list[EntryPoint]:
        found = distributions(path=[str(tmp_path)])
        points = [point for one in found for point in one.entry_points if point.group == "mmcore"]
        return sorted(points, key=lambda point: point.name)

    install.entries = entries
    install.folder = tmp_path
    yield install
    for name in set(sys.modules) - before:  # the next test may install another of this name
        del sys.modules[name]
