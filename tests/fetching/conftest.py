"""A hub on this machine: what it serves, how it misbehaves, and which requests it was sent."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmcore.fetching import Hub

COMMIT = "a" * 40


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class LocalHub(ThreadingHTTPServer):
    """Plays the endpoints that a download uses; large files carry a SHA-256, small ones do not."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.commit = COMMIT
        self.files: dict[str, bytes] = {}
        self.large: set[str] = set()
        self.refuse: tuple[int, str] | None = None
        self.cut: dict[str, int] = {}
        self.down: set[str] = set()
        self.damage: set[str] = set()
        self.asked: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def etag(self, name: str) -> str:
        content = self.files[name]
        return hashlib.sha256(content).hexdigest() if name in self.large else git_blob(content)

    def info(self) -> dict:
        siblings = []
        for name, content in self.files.items():
            one = {"rfilename": name, "size": len(content), "blobId": git_blob(content)}
            if name in self.large:
                one["lfs"] = {"sha256": self.etag(name), "size": len(content), "pointerSize": 9}
            siblings.append(one)
        return {"id": "own/er", "sha": self.commit, "siblings": siblings}


class Handler(BaseHTTPRequestHandler):
    server: LocalHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body: bool):
        hub, span = self.server, self.headers.get("Range")
        hub.asked.append((self.command, self.path, span))
        if hub.refuse:
            status, code = hub.refuse
            self.send(status, b"", {"X-Error-Code": code})
            return
        if self.path.startswith("/api/models/"):
            self.send(200, json.dumps(hub.info()).encode(), {})
            return
        name = self.path.partition("/resolve/")[2].partition("/")[2]
        if name not in hub.files:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        if body and name in hub.down:
            self.send(500, b"", {})
            return
        facts = {"ETag": f'"{hub.etag(name)}"', "X-Repo-Commit": hub.commit}
        content = hub.files[name]
        if body and name in hub.damage:
            content = b"?" * len(content)
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        if span:
            facts["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        sent = content[start:]
        if body and name in hub.cut:
            sent = sent[: hub.cut.pop(name)]
            hub.down.add(name)
        self.send(206 if span else 200, sent if body else b"", facts, len(content) - start)

    def send(self, status, content, headers, length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server():
    hub = LocalHub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    yield hub
    hub.shutdown()
    hub.server_close()


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """The way to it, with a cache of its own; nobody waits between attempts."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    return Hub(server.url, tmp_path / "cache")
