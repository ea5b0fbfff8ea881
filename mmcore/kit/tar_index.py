"""An index beside a tar, so that its rows are found without reading a header of it.

``0.idx`` lies beside ``0.tar`` and has the form of NVIDIA DALI's ``wds2idx``: a line with version
and number of samples, then a line a sample with suffix, first byte, length and name of each member.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final

from mmcore.kit import store
from mmcore.kit.tar_headers import Member, TarHeaders, plain_member

VERSION: Final = "v1.2"

_BLOCK: Final = tarfile.BLOCKSIZE
_NAME: Final = tarfile.LENGTH_NAME


def index_path(tar: str) -> str:
    """Where the index of a tar would be."""
    return tar.removesuffix(".tar") + ".idx"


def write_index(tar: str) -> int:
    """Write the index of a local tar, and say how many members it has.

    Raises:
        ValueError: the tar is cut, compressed or none, or has a name with a space.
    """
    headers = TarHeaders(tar, store.size(tar))
    members = list(headers)
    if headers.cut:
        raise ValueError(f"{tar} {headers.cut}; wanted a whole tar")
    for member in members:
        if len(member.name.split()) != 1:
            raise ValueError(f"{tar} has a member {member.name!r}, wanted names without spaces")
    samples = [list(some) for _, some in groupby(members, lambda member: _divided(member)[0])]
    lines = [f"{VERSION} {len(samples)}", *map(_line, samples)]
    target = Path(store.local(index_path(tar)))
    scratch = target.with_name(f".{target.name}-{os.getpid()}")
    text = "".join(f"{line}\n" for line in lines)
    scratch.write_bytes(text.encode(errors="surrogateescape"))
    scratch.rename(target)
    return len(members)


def read_index(tar: str) -> list[Member] | None:
    """The members of a tar in its order, as the index beside it says; None where there is none.

    Raises:
        ValueError: the index is damaged, or that of another tar.
    """
    path = index_path(tar)
    if path == tar or not store.is_file(path):
        return None
    try:
        members = _parse(store.read_bytes(path).decode(errors="surrogateescape"))
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} cannot be read as an index: {error}") from error
    _check_fit(tar, path, members)
    return members


def _parse(text: str) -> list[Member]:
    head, *samples = text.splitlines() or [""]
    if head.split() != [VERSION, str(len(samples))]:
        raise ValueError(
            f"it begins with {head!r} and has {len(samples)} samples, wanted "
            f"'{VERSION} {len(samples)}'"
        )
    words = [word for sample in samples for word in sample.split()]
    places = zip(words[3::4], words[1::4], words[2::4], strict=True)
    members = [Member(name, int(begin), int(size)) for name, begin, size in places]
    return sorted(members, key=lambda member: member.begin)


def _check_fit(tar: str, path: str, members: list[Member]) -> None:
    """Look at the headers of the first and the last member, and at what follows the last."""
    with store.open_binary(tar) as file:
        for member in members[:1] + members[-1:]:
            file.seek(max(0, member.begin - _BLOCK))
            found = plain_member(file.read(_BLOCK), member.begin - _BLOCK)
            # Names that are long or not ASCII stand in a header before this one.
            short = len(member.name) <= _NAME and member.name.isascii()
            wanted = member.name if short or found is None else found.name
            if found is None or (found.name, found.size) != (wanted, member.size):
                raise _unfit(tar, path, f"has no {member.name!r} at byte {member.begin}")
        end = members[-1].begin + -(-members[-1].size // _BLOCK) * _BLOCK if members else 0
        file.seek(end)
        if any(file.read(_BLOCK)):
            raise _unfit(tar, path, f"goes on after byte {end}")


def _unfit(tar: str, path: str, found: str) -> ValueError:
    return ValueError(
        f"{path} is not the index of {tar}, which {found}; delete it, or write it anew with "
        "`mmcore data index`"
    )


def _line(members: Iterable[Member]) -> str:
    return " ".join(
        f"{_divided(member)[1]} {member.begin} {member.size} {member.name}" for member in members
    )


def _divided(member: Member) -> tuple[str, str]:
    """Name without suffix, and suffix; a name without one gets a dash, for no field is empty."""
    folder, slash, name = member.name.rpartition("/")
    stem, _, suffix = name.partition(".")
    return folder + slash + stem, suffix or "-"
