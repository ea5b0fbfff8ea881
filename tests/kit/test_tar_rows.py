"""Rows of webdataset tars: any range, the right bytes, and tars that are cut, odd or no tars."""

import gzip
import io
import os
import tarfile
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcore.interfaces import Rejection
from mmcore.kit import store, tar_rows
from mmcore.kit.tar_rows import CUT, KEY, check_whole, count_rows, read_rows, split_name

QUICK = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tar_bytes(members, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(members, name="0.tar"):
        path = tmp_path / name
        path.write_bytes(members if isinstance(members, bytes) else tar_bytes(members))
        return str(path)

    return write


def all_rows(path):
    return list(read_rows(path, 0, count_rows(path)))


@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["json", "seg.png", "txt"]), st.binary(max_size=1500)),
        max_size=7,
    ),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    deep=st.booleans(),
    data=st.data(),
)
@QUICK
def test_any_range_of_any_tar(rows, form, deep, data, tmp_path_factory):
    rows = [row for row in rows if row]
    folder = "folder.d/" * (20 if deep else 1)
    named = [{KEY: f"{folder}é{n}".encode(), **row} for n, row in enumerate(rows)]
    members = [
        (f"{row[KEY].decode()}.{suffix}", content)
        for row in named
        for suffix, content in row.items()
        if suffix != KEY
    ]
    path = tmp_path_factory.mktemp("tar") / "0.tar"
    path.write_bytes(tar_bytes(members, form))
    assert count_rows(str(path)) == len(rows)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert list(read_rows(str(path), start, stop)) == named[start:stop]


@pytest.mark.parametrize(
    ("name", "divided"),
    [
        ("a.b/7.seg.PNG", ("a.b/7", "seg.png")),
        ("/abs/7.x", ("/abs/7", "x")),
        ("../../7.x", ("../../7", "x")),
        ("./7.tar.gz", ("./7", "tar.gz")),
    ],
)
def test_names_are_divided_at_the_first_dot_of_the_file_name(name, divided):
    assert split_name(name) == divided


@pytest.mark.parametrize("name", ["README", "a.b/README", ".hidden", "a/.hidden"])
def test_names_without_suffix_are_no_rows(name, write):
    assert all_rows(write([(name, b"x"), ("0.txt", b"y")])) == [{KEY: b"0", "txt": b"y"}]


def test_members_need_not_stand_together_nor_keys_be_different(write):
    path = write(
        [("0.jpg", b"a"), ("1.jpg", b"b"), ("0.TXT", b"c"), ("0.jpg", b"d"), ("1.txt", b"e")]
    )
    assert all_rows(path) == [
        {KEY: b"0", "jpg": b"a", "txt": b"c"},
        {KEY: b"1", "jpg": b"b", "txt": b"e"},
        {KEY: b"0", "jpg": b"d"},
    ]


def test_folders_and_links_are_no_members(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, kind in (("d.x", tarfile.DIRTYPE), ("l.x", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert count_rows(str(tmp_path / "0.tar")) == 0


def test_names_that_leave_the_folder_are_keys_like_any_other(write, tmp_path):
    path = write([("../../evil.txt", b"x"), ("/etc/passwd.txt", b"y")])
    assert all_rows(path) == [
        {KEY: b"../../evil", "txt": b"x"},
        {KEY: b"/etc/passwd", "txt": b"y"},
    ]
    assert os.listdir(tmp_path) == ["0.tar"]


MEMBERS = [(f"{n}.{suffix}", bytes([n]) * 700) for n in range(3) for suffix in ("json", "jpg")]
WHOLE = tar_bytes(MEMBERS, tarfile.USTAR_FORMAT)
MEMBER = 512 + 1024  # header and padded bytes of each


@given(length=st.integers(512, len(MEMBERS) * MEMBER - 1))
@QUICK
def test_rows_before_a_cut_are_whole_and_one_is_marked(length, tmp_path_factory):
    path = tmp_path_factory.mktemp("tar") / "0.tar"
    path.write_bytes(WHOLE[:length])
    between_members = length % MEMBER == 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = all_rows(str(path))
        all_rows(str(path))
    assert len(caught) == (0 if between_members else 1)
    marked = [number for number, row in enumerate(rows) if CUT in row]
    assert marked == ([] if between_members else [len(rows) - 1])
    # What is not marked has all its members; without a mark the last may lack some.
    for number, row in enumerate(rows[:-1]):
        content = bytes([number]) * 700
        assert row == {KEY: b"%d" % number, "json": content, "jpg": content}
        check_whole(row)
    # No row that lay before the cut is missing.
    assert len(rows) >= length // (2 * MEMBER)
    if marked:
        with pytest.raises(Rejection, match=r"tar-cut: .*byte"):
            check_whole(rows[-1])


def test_cut_first_member_of_a_row_spoils_that_row_alone(write):
    path = write(WHOLE[: 2 * MEMBER + 600])
    with pytest.warns(UserWarning, match=r"0\.tar ends at byte .*'1\.json'; row 1 is rejected"):
        first, second = all_rows(path)
    check_whole(first)
    assert second.keys() == {KEY, CUT}


def test_damage_in_the_middle_is_said(write):
    damaged = WHOLE[: 2 * MEMBER] + b"\xff" * 512 + WHOLE[2 * MEMBER + 512 :]
    path = write(damaged)
    with pytest.warns(UserWarning, match=f"damaged at byte {2 * MEMBER}"):
        (row,) = all_rows(path)
    with pytest.raises(Rejection, match="tar-cut"):
        check_whole(row)


def test_empty_tar_has_no_rows(write):
    assert count_rows(write([])) == 0


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "cannot be read as tar: empty file"),
        (b"no tar" * 200, "cannot be read as tar"),
        (WHOLE[:300], "cannot be read as tar: truncated header"),
        (gzip.compress(WHOLE), "is compressed with gzip; wanted a plain tar"),
    ],
)
def test_no_plain_tar(raw, message, write):
    with pytest.raises(ValueError, match=r"0\.tar " + message):
        count_rows(write(raw))


def test_rewritten_file_is_indexed_again(write):
    assert count_rows(write(MEMBERS)) == 3
    path = write(MEMBERS[:2])
    os.utime(path, ns=(1, 1))
    assert count_rows(path) == 1


def test_only_the_bytes_of_the_range_are_read(write):
    path = write(WHOLE)
    assert count_rows(path) == 3
    status = os.stat(path)
    spoiled = b"\xff" * (2 * MEMBER) + WHOLE[2 * MEMBER : 4 * MEMBER]
    write(spoiled + b"\xff" * (len(WHOLE) - len(spoiled)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (row,) = read_rows(path, 1, 2)
    assert row == {KEY: b"1", "json": b"\1" * 700, "jpg": b"\1" * 700}


def test_members_that_spell_our_own_keys_are_no_part_of_a_row(write):
    path = write([("a.txt", b"x"), ("a.__cut__", b"\xff"), ("a.__key__", b"other")])
    assert all_rows(path) == [{KEY: b"a", "txt": b"x"}]


def test_a_header_with_a_negative_size_ends_the_tar(write):
    whole = bytearray(tar_bytes([("a.txt", b"x"), ("b.txt", b"y")], tarfile.GNU_FORMAT))
    header = whole[1024:1536]
    header[124:136] = b"\xff" * 12  # -1 in base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    whole[1024:1536] = header
    with pytest.warns(UserWarning, match="damaged"):
        assert [row["txt"] for row in all_rows(write(bytes(whole)))][:1] == [b"x"]


def watched_reads(monkeypatch):
    """Where and how much is read of a store."""
    reads = []
    whole = store.RemoteFile.read

    def watched(self, size=-1):
        begin = self.tell()
        data = whole(self, size)
        reads.append((begin, len(data)))
        return data

    monkeypatch.setattr(store.RemoteFile, "read", watched)
    return reads


def test_members_that_stand_together_are_read_together(monkeypatch):
    import fsspec

    members = [(f"{n}.{suffix}", bytes([n]) * 700) for n in range(6) for suffix in ("jpg", "txt")]
    fsspec.filesystem("memory").pipe("/tars/0.tar", tar_bytes(members, tarfile.USTAR_FORMAT))
    path = "memory://tars/0.tar"
    assert count_rows(path) == 6
    reads = watched_reads(monkeypatch)
    monkeypatch.setattr(tar_rows, "READ_AT_ONCE", 3 * 1400)
    rows = list(read_rows(path, 1, 6))
    assert [row["txt"][0] for row in rows] == [1, 2, 3, 4, 5]
    assert all(row["jpg"] == row["txt"] and len(row["jpg"]) == 700 for row in rows)
    # Three rows, then two; the padding and header behind a portion's last member are left.
    assert reads == [(2 * MEMBER + 512, 5 * MEMBER + 700), (8 * MEMBER + 512, 3 * MEMBER + 700)]


def test_members_far_apart_are_read_alone(monkeypatch):
    import fsspec

    members = [("0.jpg", b"a"), ("1.jpg", bytes(200_000)), ("0.txt", b"b"), ("0.e", b"")]
    fsspec.filesystem("memory").pipe("/tars/1.tar", tar_bytes(members, tarfile.USTAR_FORMAT))
    path = "memory://tars/1.tar"
    count_rows(path)
    reads = watched_reads(monkeypatch)
    (row,) = read_rows(path, 0, 1)
    assert row == {KEY: b"0", "jpg": b"a", "txt": b"b", "e": b""}
    assert [size for _, size in reads] == [1, 1024]


def test_headers_of_a_store_are_read_in_few_requests(monkeypatch):
    import fsspec

    members = [(f"{n}.txt", b"x" * 100) for n in range(2000)]
    fsspec.filesystem("memory").pipe("/tars/2.tar", tar_bytes(members))
    reads = watched_reads(monkeypatch)
    assert count_rows("memory://tars/2.tar") == 2000
    assert len(reads) <= 2


@given(
    name=st.lists(st.sampled_from(["a", "B", ".", "1234", "/", "5678", "v2", "é"]), max_size=8),
)
@QUICK
def test_a_name_is_its_key_a_dot_and_its_suffix(name):
    name = "".join(name)
    for pattern in (tar_rows.FIRST_DOT, r"\d{4}\.\d{4,5}(v\d+)?|[^.]+"):
        key, suffix = split_name(name, pattern)
        if suffix:
            assert f"{key}.{suffix}" == name[: len(key) + 1] + name[len(key) + 1 :].lower()
            assert "/" not in suffix
        else:
            assert key == name


def test_an_index_is_small(write):
    path = write([(f"{n:05}.{suffix}", b"x") for n in range(500) for suffix in ("jpg", "txt")])
    index = tar_rows._index(path, tar_rows.FIRST_DOT)
    assert index.nbytes <= 1000 * 20 + 500 * (5 + 8) + 16
