"""What a hub has under an id: the commit, and of every file its size and its hash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

HUB = "hf://"

_COMMIT = re.compile(r"[0-9a-f]{40}")


class FetchError(ValueError):
    """Something cannot be fetched; the message says what, why, and what can be done."""


@attrs.frozen
class HubId:
    """``hf://owner/name[@revision]``, taken apart; no revision means ``main``."""

    written: str
    repository: str
    revision: str

    @classmethod
    def parse(cls, written: str) -> HubId:
        repository, _, revision = written.removeprefix(HUB).partition("@")
        return cls(written, repository, revision or "main")

    @property
    def is_commit(self) -> bool:
        """Whether the revision can never mean something else."""
        return _COMMIT.fullmatch(self.revision) is not None


@attrs.frozen
class HubFile:
    """One file of a repository.

    Attributes:
        name: path in the repository.
        size: bytes.
        blob: its git object id.
        sha256: of the content, where the hub knows it (large files).
    """

    name: str
    size: int
    blob: str
    sha256: str | None

    @property
    def etag(self) -> str:
        """What the cache calls the content."""
        return self.sha256 or self.blob


@attrs.frozen
class Hub:
    """A hub and the cache that its files go to; by default those of huggingface_hub's own
    settings (``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_TOKEN``)."""

    endpoint: str | None = None
    cache: Path | None = None

    @property
    def address(self) -> str:
        from huggingface_hub import constants

        return self.endpoint or constants.ENDPOINT

    def folder(self, repository: str) -> Path:
        """Where the cache keeps a repository."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        cache = self.cache or Path(constants.HF_HUB_CACHE)
        return cache / repo_folder_name(repo_id=repository, repo_type="model")

    def listing(self, hub_id: HubId, revision: str) -> tuple[str, dict[str, HubFile]]:
        """The commit that ``revision`` means now, and its files by name.

        Raises:
            FetchError: the hub cannot be reached, or does not give it to us.
        """
        from huggingface_hub import HfApi

        with told(hub_id, self.address):
            info = HfApi(endpoint=self.endpoint).model_info(
                hub_id.repository, revision=revision, files_metadata=True
            )
        if info.sha is None:
            raise FetchError(f"{hub_id.written}: {self.address} does not say its commit")
        files = {}
        for one in info.siblings or ():
            if one.size is None or one.blob_id is None:
                raise FetchError(
                    f"{hub_id.written}: {self.address} does not say size and hash of "
                    f"{one.rfilename}"
                )
            sha256 = one.lfs.sha256 if one.lfs is not None else None
            files[one.rfilename] = HubFile(one.rfilename, one.size, one.blob_id, sha256)
        return info.sha, files


@contextmanager
def told(hub_id: HubId, address: str) -> Iterator[None]:
    """The hub library's errors in a sentence each.

    Raises:
        FetchError: instead of them.
    """
    import httpx2
    from huggingface_hub import errors

    here, page = hub_id.written, f"{address}/{hub_id.repository}"
    login = "`hf auth login` (or set HF_TOKEN)"
    try:
        yield
    except errors.HFValidationError as error:
        raise FetchError(f"{here} is no hub id: {error}") from None
    except errors.GatedRepoError:
        raise FetchError(
            f"{here} is gated: accept its terms at {page}, then {login} and fetch again"
        ) from None
    except errors.RepositoryNotFoundError:
        raise FetchError(
            f"{here}: {address} has no such repository, or it is private: check the spelling, or "
            f"{login} with an account that may read it"
        ) from None
    except errors.RevisionNotFoundError:
        raise FetchError(f"{here}: the repository has no revision {hub_id.revision!r}") from None
    except errors.OfflineModeIsEnabled:
        raise FetchError(
            f"{here} is not complete in the local cache, and HF_HUB_OFFLINE forbids to fetch it"
        ) from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        access = f"; if it is gated or private: terms at {page}, then {login}"
        raise FetchError(
            f"{here}: {address} answered {code} {error.response.reason_phrase}"
            f"{access if code in (401, 403) else '; what arrived is kept, fetch again to go on'}"
        ) from None
    except httpx2.HTTPError as error:
        raise FetchError(
            f"{here}: {address} cannot be reached ({str(error) or type(error).__name__}); what "
            "arrived is kept, fetch again to go on"
        ) from None
