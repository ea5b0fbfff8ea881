"""`incidents.jsonl` keeps every line across lives of the run, but for one that was torn."""

import json

from mmcore.interfaces import Incident, RunInfo
from mmcore.run_folder.incident_log import IncidentLog


def test_lines_stay_and_a_torn_one_goes(tmp_path):
    log, path = IncidentLog(tmp_path), tmp_path / "incidents.jsonl"
    log.mmcore_run_start(RunInfo("mini", tmp_path, 0, ""))
    assert not path.exists()
    keys = ("a:überlang\u2028.tar:7",)
    log.mmcore_incident(
        Incident(step=9, kind="not-finite", detail="x", keys=keys, sources={"a": float("nan")})
    )
    log.mmcore_incident(Incident(step=5, kind="rolled-back", detail="y"))
    whole = path.read_text(encoding="utf-8")
    path.write_bytes(whole.encode() + '{"step": 12, "detail": "é'.encode()[:-1])
    log.mmcore_run_start(RunInfo("mini", tmp_path, 5, ""))  # also those of steps to come again
    assert path.read_text(encoding="utf-8") == whole
    first, second = map(json.loads, whole.split("\n")[:-1])
    assert (first["step"], first["keys"], first["sources"]) == (9, list(keys), {"a": None})
    assert (second["kind"], second["keys"]) == ("rolled-back", [])
    assert first["time"] <= second["time"]
