"""Rejected rows are written down, and dropped again where a resumed run reads them anew."""

import json
from pathlib import Path

from mmcore.interfaces import RunInfo
from mmcore.run_folder.rejected_log import RejectedLog


def test_going_on_keeps_what_lies_behind_whatever_the_files_are_called(tmp_path: Path) -> None:
    log = RejectedLog(tmp_path)
    names = ["plain", "with\u2028separator", "with\x85another", "later"]
    for step, name in enumerate(names):
        log.mmcore_sample_rejected(step, f"source:{name}:0", "image-missing", "no file")
    path = tmp_path / "rejected.jsonl"
    with path.open("ab") as file:
        file.write('{"step": 1, "key": "é'.encode()[:-1])  # killed while it wrote
    RejectedLog(tmp_path).mmcore_run_start(RunInfo("name", tmp_path, 2, ""))
    kept = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [line["key"] for line in kept] == [f"source:{name}:0" for name in names[:3]]
