"""One file from the hub into the cache: resumed where it was cut off, used if its hash fits."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from mmcore.fetching.hub import FetchError, Hub, HubFile, HubId, told

PARTIAL = ".mmcore-partial"
"""What an unfinished download ends in. huggingface_hub throws its own away when it is stopped."""

_BLOCK = 1 << 20


def cached(hub: Hub, hub_id: HubId, commit: str, name: str) -> Path | None:
    """The file in the cache's snapshot of this commit, if it is there."""
    path = hub.folder(hub_id.repository) / "snapshots" / commit / name
    return path if path.is_file() else None


def download(hub: Hub, hub_id: HubId, commit: str, file: HubFile) -> Path:
    """Bring a file into the cache, as huggingface_hub lays it out.

    Raises:
        FetchError: the hub cannot be reached, or what it sent is not what it had announced; then
            nothing of it is kept.
    """
    from huggingface_hub import hf_hub_download

    blob = hub.folder(hub_id.repository) / "blobs" / file.etag
    if not blob.is_file():
        _bring(hub, hub_id, commit, file, blob)
    with told(hub_id, hub.address):
        placed = Path(
            hf_hub_download(
                hub_id.repository,
                file.name,
                revision=commit,
                endpoint=hub.endpoint,
                cache_dir=hub.cache,
            )
        )
    if placed.resolve() != blob.resolve():  # copied, or not what we had brought
        _check(hub_id, file, placed)
    return placed


def _bring(hub: Hub, hub_id: HubId, commit: str, file: HubFile, blob: Path) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(hub_id.repository, file.name, revision=commit, endpoint=hub.endpoint)
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(blob.name + PARTIAL)
    with partial.open("ab") as target:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FetchError(f"{hub_id.written}: another process is fetching {file.name}") from None
        if target.tell() > file.size:
            target.truncate(0)
            target.seek(0)
        with told(hub_id, hub.address):
            http_get(
                url,
                target,
                resume_size=target.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.name,
            )
        target.flush()
        os.fsync(target.fileno())
        _check(hub_id, file, partial)
        partial.replace(blob)


def _check(hub_id: HubId, file: HubFile, path: Path) -> None:
    """
    Raises:
        FetchError: the content is not what the hub announced; it is removed.
    """
    found = sha256_of(path) if file.sha256 else git_blob_of(path)
    if found != file.etag:
        path.unlink()
        kind = "SHA-256" if file.sha256 else "git blob"
        raise FetchError(
            f"{hub_id.written}: what arrived as {file.name} has the {kind} {found}, the hub "
            f"announced {file.etag}; it was thrown away, fetch again"
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_of(path: Path) -> str:
    """The id that git gives to a file's content, in hex."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
