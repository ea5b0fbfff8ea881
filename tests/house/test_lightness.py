"""Light verbs stay light: they import no torch, whatever the plugins import when they build."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "transformers",
    "timm",
    "torchvision",
    "deepspeed",
    "xformers",
    "datasets",
    "matplotlib",
)

PROGRAM = """
import json, sys
from mmcore.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
heavy = [name for name in {heavy!r} if name in sys.modules]
print(json.dumps([code or 0, heavy]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list"],
        ["plugins"],
        ["show", "perceiver"],
        ["run", "--help"],
        ["generate", "--help"],
        ["report", "--help"],
        ["data", "check", "--help"],
        ["data", "preview", "--help"],
        ["data", "stats", "--help"],
        ["data", "download", "--help"],
        ["check", "recipes/blip3_tiny.toml"],
        ["show", "recipes/blip3_tiny.toml"],
    ],
    ids=" ".join,
)
def test_verb_imports_nothing_heavy(words, request):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(heavy=HEAVY), *words],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=True,
    )
    code, heavy = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert heavy == []


def test_interfaces_and_registry_import_no_torch():
    program = (
        "import mmcore, mmcore.interfaces, mmcore_registry, mmcore.recipe, sys;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
