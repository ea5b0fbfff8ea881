"""A stranger's encoder, installed from a folder, trains in our recipe; our code is as it was."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "third_party" / "clsvit"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The stranger's distribution, built and installed into a folder of its own."""
    copy = tmp_path_factory.mktemp("source") / "clsvit"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(target), str(copy)]
    subprocess.run(command, check=True)
    return target


def test_it_is_listed_and_trains_and_answers(workplace, installed):
    workplace.environment["PYTHONPATH"] = str(installed)
    assert "clsvit" in workplace.typed("list", "--kind", "encoder")
    plugins = workplace.typed("plugins")
    assert "0.3.0" in next(line for line in plugins.splitlines() if line.startswith("clsvit"))
    workplace.typed("run", "mini.toml", "--set", "model.encoder.use=clsvit")
    assert len(workplace.losses()) == 12
    picture = next((workplace.folder / "data" / "held-out").rglob("*.png"))
    workplace.typed("generate", "runs/mini", "--image", str(picture), "What does it say?")


def test_it_passes_the_conformance_kit(workplace, installed):
    program = (
        "from mmcore.testing import check_encoder; from clsvit.spec import ClsVitSpec;"
        "check_encoder(ClsVitSpec())"
    )
    environment = {**workplace.environment, "PYTHONPATH": str(installed)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_blocked_it_is_left_alone(workplace, installed):
    workplace.environment["PYTHONPATH"] = str(installed)
    workplace.environment["MMCORE_BLOCK_PLUGINS"] = "clsvit"
    assert "blocked" in workplace.typed("plugins")
    output = workplace.typed("check", "mini.toml", "--set", "model.encoder.use=clsvit", fails=True)
    assert "clsvit (blocked)" in output
