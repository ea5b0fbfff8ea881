"""The wheel alone: built, installed into a folder, and used without the checkout on the path."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_wheel_lists_checks_and_trains(request, tmp_path):
    root = request.config.rootpath
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(wheels)]
    subprocess.run([*build, str(root)], check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)], check=True
    )
    mini = (root / "tests" / "end_to_end" / "mini.toml").read_text()
    (tmp_path / "mini.toml").write_text(mini)
    program = (
        "import sys; sys.path[:] = [p for p in sys.path if p not in sys.argv[1].split(':')];"
        "import mmcore, mmcore_registry; print(mmcore.__file__);"
        "from mmcore.cli.main import main; main(sys.argv[2:])"
    )
    checkout = f"{root}:{root / 'registry'}:{root / 'plugins'}"
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def typed(*words):
        done = subprocess.run(
            [sys.executable, "-c", program, checkout, *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert str(site) in done.stdout.splitlines()[0]
        return done.stdout

    assert "perceiver" in typed("list")
    assert "ok" in typed("check", "mini.toml")
    assert "samples in preview.html" in typed("data", "preview", "mini.toml", "--samples", "1")
    assert "finished" in typed("run", "mini.toml")
