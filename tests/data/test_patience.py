"""What the machine does wrong is tried again, a bounded number of times; what a row does is not."""

from __future__ import annotations

import errno
import http.client
import urllib.error
from pathlib import Path
from typing import Any

import attrs
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from fsspec.exceptions import FSTimeoutError

from mmcore.data import faults
from mmcore.data.faults import DataFault, MachineFault, Patience, patiently
from mmcore.data.images import decode, image_size, of_picture
from mmcore.data.reader import SourceReader
from mmcore.data.transient import is_transient
from mmcore.interfaces import ImageRef, Rejection, SourceSpec


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; nobody waits in fact."""
    waits: list[float] = []
    patience = Patience(sleep=waits.append, chance=lambda: 0.5)
    monkeypatch.setattr(faults, "PATIENCE", patience)
    return waits


def answered(status: int, code: str = "") -> OSError:
    """What s3fs makes of an answer: any that it does not know is an EIO."""
    error = OSError(errno.EIO, "as S3 says")
    answer = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}
    error.__cause__ = ClientError(answer, "GetObject")
    return error


class ServerTimeoutError(Exception):
    """As aiohttp's, which need not be installed."""


MACHINE = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.ETIMEDOUT, "timed out"),
    BlockingIOError(errno.EAGAIN, "again"),
    ConnectionResetError(),
    TimeoutError(),
    FSTimeoutError(),
    EndpointConnectionError(endpoint_url="http://x"),
    http.client.IncompleteRead(b""),
    urllib.error.HTTPError("http://x", 503, "busy", None, None),  # type: ignore[arg-type]
    ServerTimeoutError(),
    answered(503, "SlowDown"),
    answered(500),
    answered(400, "RequestTimeout"),
]

OTHERS = [
    FileNotFoundError(errno.ENOENT, "No such file"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError("a damaged page"),
    ValueError("no parquet"),
    KeyError("caption"),
    NoCredentialsError(),
    urllib.error.HTTPError("http://x", 404, "gone", None, None),  # type: ignore[arg-type]
    answered(403, "AccessDenied"),
    answered(418, "Teapot"),
    Rejection("image-missing", "no file"),
    MachineFault("tried 6 times"),
]


@pytest.mark.parametrize("error", MACHINE, ids=repr)
def test_faults_of_the_machine(error: Exception) -> None:
    assert is_transient(error)
    wrapped = ValueError("shard cannot be read")
    wrapped.__cause__ = error
    assert is_transient(wrapped)


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_other_faults(error: Exception, waits: list[float]) -> None:
    assert not is_transient(error)

    def act() -> None:
        raise error

    with pytest.raises(type(error)):
        patiently("it", act)
    assert waits == []


def failing(times: int, error: Exception) -> Any:
    left = [error] * times

    def act() -> str:
        if left:
            raise left.pop()
        return "read"

    return act


def test_waits_double_and_are_said(waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    assert patiently("shard 'a'", failing(3, OSError(errno.EIO, "broken"))) == "read"
    assert waits == [1, 2, 4]
    assert [record.getMessage() for record in caplog.records] == [
        f"shard 'a': OSError: [Errno 5] broken; try {n} of 6 in {n_wait} s"
        for n, n_wait in ((2, "1.0"), (3, "2.0"), (4, "4.0"))
    ]


def test_patience_ends(waits: list[float]) -> None:
    with pytest.raises(MachineFault, match=r"^TimeoutError: slow; tried 6 times$") as caught:
        patiently("it", failing(99, TimeoutError("slow")))
    assert waits == [1, 2, 4, 8, 16]
    assert isinstance(caught.value.__cause__, TimeoutError)
    with pytest.raises(MachineFault):
        patiently("more", lambda: patiently("it", failing(99, TimeoutError("slow"))))
    assert len(waits) == 10, "who waits for somebody that waited does not wait again"


def test_waits_are_scattered() -> None:
    waits: list[float] = []
    for chance in (0.0, 1.0):
        Patience(sleep=waits.append, chance=lambda chance=chance: chance).pause("x", OSError(), 3)
    assert waits == [2, 6]
    assert 0 <= Patience().chance() < 1


@attrs.define
class Flaky:
    """A source whose file system fails now and then.

    Attributes:
        broken: what fails: "shards", "length", or a row's number.
        times: how often.
    """

    inner: Any
    broken: str | int
    times: int
    error: Exception
    asked: list[tuple[int, int]] = attrs.field(factory=list)

    def _fail(self, what: str | int) -> None:
        if what == self.broken and self.times:
            self.times -= 1
            raise self.error

    def shards(self) -> Any:
        self._fail("shards")
        return self.inner.shards()

    def length(self, shard: Any) -> int:
        self._fail("length")
        return int(self.inner.length(shard))

    def rows(self, shard: Any, start: int, stop: int) -> Any:
        self.asked.append((start, stop))
        for number, row in enumerate(self.inner.rows(shard, start, stop), start):
            self._fail(number)
            yield row


@pytest.fixture
def flaky(memory: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def flaky(broken: str | int, times: int, error: Exception) -> tuple[SourceReader, Flaky]:
        spec: SourceSpec = memory()
        source = Flaky(spec.open(), broken, times, error)
        monkeypatch.setattr(type(spec), "open", lambda self: source)
        return SourceReader("pages", spec), source

    return flaky


@pytest.mark.parametrize("broken", ["shards", "length", 2, 5])
def test_a_reader_waits_and_goes_on_at_the_very_row(
    broken: str | int, flaky: Any, waits: list[float]
) -> None:
    reader, source = flaky(broken, 2, OSError(errno.ESTALE, "Stale file handle"))
    shard = reader.shard("s0")
    assert reader.length(shard) == 40
    rows = list(reader.rows(shard, 2, 9))
    assert [number for number, _ in rows] == [row["number"] for _, row in rows] == list(range(2, 9))
    assert waits == [1, 2]
    again = [] if isinstance(broken, str) else [(broken, 9)] * 2
    assert source.asked == [(2, 9), *again]


@pytest.mark.parametrize(
    ("broken", "place"),
    [
        ("shards", r"path 'memory'"),
        ("length", r"shard 's0' \(memory/s0\)"),
        (5, r"shard 's0' \(memory/s0\), row 5"),
    ],
)
def test_a_reader_gives_up_and_says_where(
    broken: str | int, place: str, flaky: Any, waits: list[float]
) -> None:
    reader, _ = flaky(broken, 99, TimeoutError("slow"))
    said = rf"^source 'pages', {place}: TimeoutError: slow; tried 6 times$"
    with pytest.raises(DataFault, match=said):
        list(reader.rows(reader.shard("s0"), 2, 2 + reader.length(reader.shard("s0")) - 2))
    assert len(waits) == 5


def test_other_faults_of_a_source_stop_at_once(flaky: Any, waits: list[float]) -> None:
    reader, _ = flaky(5, 1, KeyError("caption"))
    with pytest.raises(DataFault, match=r"row 5: KeyError: 'caption'$"):
        list(reader.rows(reader.shard("s0"), 2, 9))
    assert waits == []


@pytest.mark.parametrize("read", [image_size, decode])
def test_a_picture_is_not_dropped_for_a_hiccup(
    read: Any, encoded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(5, 4, 0))
    left = [OSError(errno.EIO, "Input/output error")] * 2
    whole = Path.read_bytes

    def hiccup(self: Path) -> bytes:
        if left:
            raise left.pop()
        return whole(self)

    monkeypatch.setattr(Path, "read_bytes", hiccup)
    ref = ImageRef(path="a.png", root=str(tmp_path))
    found: Any = of_picture(ref, read)
    assert (found if read is image_size else found.size) == (5, 4)
    assert waits == [1, 2]
    left += [OSError(errno.EIO, "Input/output error")] * 99
    with pytest.raises(MachineFault, match=r"\[Errno 5\] Input/output error; tried 6 times"):
        of_picture(ref, read)
