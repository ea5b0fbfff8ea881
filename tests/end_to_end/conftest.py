"""Whole runs as a user starts them: the command in a process of its own, in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from mmcore.cli.main import main
from mmcore_registry import discover

HERE = Path(__file__).parent


class Workplace:
    """A folder with the mini recipe, in which `mmcore` is typed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(HERE / "mini.toml", folder / "mini.toml")
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "200",
        }

    def start(self, *words: str) -> subprocess.Popen:
        """The command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "mmcore", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def typed(self, *words: str, fails: bool = False) -> str:
        """The command in a process of its own, waited for; what it printed."""
        process = self.start(*words)
        output, _ = process.communicate()
        assert (process.returncode != 0) == fails, output
        assert "Traceback" not in output, output
        return output

    def mmcore(self, *words: str, fails: bool = False) -> str:
        """The same within this process, which has torch already."""
        result = CliRunner().invoke(main, list(words))
        unexpected = result.exception is not None and not isinstance(result.exception, SystemExit)
        if unexpected:
            raise result.exception
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    def metrics(self, run: str = "mini") -> list[dict]:
        path = self.folder / "runs" / run / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if "loss" in line]  # evaluations have lines of their own

    def losses(self, run: str = "mini") -> dict[int, float]:
        return {line["step"]: line["loss"] for line in self.metrics(run)}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes have: other thread counts give other last digits
    yield Workplace(tmp_path)
    torch.set_num_threads(threads)


@pytest.fixture
def planted(workplace, monkeypatch):
    """``planted("nan", key)``: from here on, the objective `planted` does that at this sample. The
    stages of the mini recipe have that objective; ``planted("")`` lets all go well."""
    site = workplace.folder / "site"
    info = site / "strangers-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(HERE / "planted.py", site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmcore]\nplanted = planted\n")
    monkeypatch.syspath_prepend(site)
    before = workplace.environment.get("PYTHONPATH")
    workplace.environment["PYTHONPATH"] = os.pathsep.join(
        [str(site), *([before] if before else [])]
    )
    recipe = workplace.folder / "mini.toml"
    recipe.write_text(recipe.read_text().replace('use = "autoregressive"', 'use = "planted"'))
    discover.cache_clear()

    def plant(fault: str, **where: object) -> None:
        told = json.dumps({"fault": fault, **where})
        monkeypatch.setenv("PLANTED", told)
        workplace.environment["PLANTED"] = told

    plant("")
    yield plant
    discover.cache_clear()
    sys.modules.pop("planted", None)
