"""Sources in an object store give what the same files give on a disk; its hiccups are waited for.

The store is moto's server on this machine, and is found by the environment, as users do it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import torch
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from mmcore.data import faults
from mmcore.data.faults import DataFault, Patience
from mmcore.data.loader import PackLoader, StepData
from mmcore.interfaces import ImageRef, PackedBatch, Rejection, SourceSpec, SyntheticContent
from mmcore.kit import store
from mmcore.kit.files import find_shards
from mmcore.kit.picture_bytes import picture_bytes
from mmcore_blip3.annotations_spec import VisualGenomeSpec
from mmcore_blip3.captions_spec import Blip3KaleSpec, Cc12mSpec
from mmcore_blip3.documents_spec import Mint1tArxivSpec, ObelicsSpec
from mmcore_blip3.spec import LlavaJsonSpec
from mmcore_sources.folder_spec import CaptionedFolderSpec
from mmcore_sources.hf_spec import HfSpec

SPECS = {
    "parquet": ObelicsSpec(path="x"),
    "captions": Blip3KaleSpec(path="x"),
    "tar": Mint1tArxivSpec(path="x"),
    "pairs": Cc12mSpec(path="x"),
    "json": LlavaJsonSpec(path="x"),
    "regions": VisualGenomeSpec(path="x", boxes=True),
    "photos": CaptionedFolderSpec(path="x"),
    "hub": HfSpec(path="x", streaming=True),
}

SLOW = b"<Error><Code>ServiceUnavailable</Code><Message>come again</Message></Error>"


class Server:
    """An object store that can be told to answer some requests with 503.

    Attributes:
        refused: what is said of a request, method and path; such requests are answered with 503.
        failures: how many more of them are.
        requests: all that were answered.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.failures, self.refused = 0, ""
        self.requests: list[str] = []

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        if self.failures and self.refused in request:
            self.failures -= 1
            start_response("503 Service Unavailable", [("Content-Type", "application/xml")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [SLOW]
        self.requests.append(request)
        return self._app(environ, start_response)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    import s3fs

    app = Server()
    running = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.server_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "user")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # what is tried again is tried by us
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield app
        s3fs.S3FileSystem.clear_instance_cache()
    running.shutdown()


@pytest.fixture(scope="module")
def both(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A source on the disk and the same in the store."""
    import s3fs

    root = tmp_path_factory.mktemp("disk")
    for name, spec in SPECS.items():
        spec.synthesize(root / name, SyntheticContent(rows=24))
    s3fs.S3FileSystem().put(f"{root}/", "bucket/data/", recursive=True)

    def both(name: str) -> tuple[SourceSpec, SourceSpec]:
        here = SPECS[name].relocated(root / name)
        return here, attrs.evolve(here, path=here.path.replace(str(root), "s3://bucket/data"))

    return both


@pytest.fixture
def load(preparer: Callable[..., Any]) -> Any:
    def load(spec: SourceSpec, **changes: Any) -> PackLoader:
        settings = {"seed": 1, "lanes": 2, "packs_per_step": 2, "look_ahead": 3, "block_rows": 4}
        big = preparer(max_tokens=700, max_views=12)
        return PackLoader(sources=[("x", spec)], preparer=big, **{**settings, **changes})

    return load


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; nobody waits in fact."""
    waits: list[float] = []
    monkeypatch.setattr(faults, "PATIENCE", Patience(sleep=waits.append))
    return waits


def content(steps: list[StepData]) -> list[Any]:
    fields = [field.name for field in attrs.fields(PackedBatch)]
    values = [[getattr(batch, name) for name in fields] for step in steps for batch in step.batches]
    return [[v.tolist() if isinstance(v, torch.Tensor) else v for v in one] for one in values]


def steps_of(loader: PackLoader, count: int) -> list[StepData]:
    steps = [loader.next_step() for _ in range(count)]
    loader.close()
    return steps


@pytest.mark.parametrize("name", SPECS)
def test_the_same_samples_as_from_the_disk(name: str, both: Any, load: Any) -> None:
    here, there = both(name)
    assert there.path.startswith("s3://bucket/data/")
    wanted, found = steps_of(load(here), 4), steps_of(load(there), 4)
    assert content(found) == content(wanted)
    assert sum(len(batch.segments) for step in found for batch in step.batches) >= 8
    assert any(batch.views for step in found for batch in step.batches)
    assert [step.rejected for step in found] == [step.rejected for step in wanted]


def test_a_run_goes_on_in_the_store_where_it_stopped(both: Any, load: Any) -> None:
    """Even where it began on a disk: names of shards do not depend on where they lie."""
    here, there = both("parquet")
    wanted = content(steps_of(load(here), 4))
    first = load(here)
    begun = content(steps_of(first, 2))
    assert begun + content(steps_of(load(there, state=first.state()), 2)) == wanted


def test_in_worker_processes(both: Any, load: Any) -> None:
    here, there = both("tar")
    found = steps_of(load(there, workers=1), 2)
    assert content(found) == content(steps_of(load(here), 2))


@pytest.mark.parametrize(
    "refused", ["GET /bucket/data/json/pictures", "GET /bucket/data/tar", "HEAD"]
)
def test_a_server_that_is_busy_is_asked_again(
    refused: str,
    both: Any,
    load: Any,
    server: Server,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, there = both("tar" if "tar" in refused else "json")
    wanted = content(steps_of(load(here), 2))
    store._info.cache_clear()
    server.failures, server.refused = 2, refused
    assert content(steps_of(load(there), 2)) == wanted
    assert server.failures == 0
    told = [record for record in caplog.records if record.name == "mmcore.data"]
    assert len(waits) == len(told) == 2
    assert "try 2 of 6 in" in caplog.text


def test_a_server_that_stays_busy_stops_the_run(
    both: Any, load: Any, server: Server, waits: list[float]
) -> None:
    _, there = both("json")
    server.failures, server.refused = 1000, "GET /bucket/data/json/pictures"
    try:
        with pytest.raises(DataFault, match=r"^sample x:.*tried 6 times$"):
            steps_of(load(there), 1)
    finally:
        server.failures = 0
    assert len(waits) == 5


def test_what_is_not_there_is_no_matter_of_patience(server: Server, waits: list[float]) -> None:
    with pytest.raises(FileNotFoundError, match="no file matches 's3://no-such-bucket/"):
        find_shards("s3://no-such-bucket/*.tar")
    gone = ImageRef(path="gone.png", root="s3://bucket/data/json")
    with pytest.raises(
        Rejection, match=r"image-missing: no file 's3://bucket/data/json/gone\.png'"
    ):
        picture_bytes(gone)
    assert waits == []


def test_a_picture_takes_one_request_and_may_be_empty(both: Any, server: Server) -> None:
    import s3fs

    s3fs.S3FileSystem().pipe("bucket/empty.png", b"")
    assert picture_bytes(ImageRef(path="empty.png", root="s3://bucket")) == b""
    server.requests.clear()
    picture = picture_bytes(ImageRef(path="pictures/000001-0.png", root="s3://bucket/data/json"))
    assert picture.startswith(b"\x89PNG")
    assert server.requests == ["GET /bucket/data/json/pictures/000001-0.png"]


def test_members_of_a_row_come_in_one_request(both: Any, server: Server) -> None:
    _, there = both("tar")
    source = there.open()
    shard = source.shards()[0]
    rows = source.length(shard)
    server.requests.clear()
    assert len(list(source.rows(shard, 1, rows))) == rows - 1
    assert [one for one in server.requests if one.startswith("GET")] == [
        f"GET {shard.path.removeprefix('s3:/')}"
    ]


def test_pictures_that_may_lie_in_two_folders_are_listed_not_asked_for(
    both: Any, server: Server
) -> None:
    _, there = both("regions")
    source = there.open()
    (shard,) = source.shards()
    rows = source.length(shard)
    list(source.rows(shard, 0, 1))
    server.requests.clear()
    assert all(row["picture"] for row in source.rows(shard, 0, rows))
    assert len(server.requests) < 5
