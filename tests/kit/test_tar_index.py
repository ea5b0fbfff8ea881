"""An index beside a tar says what its headers say, and is not believed where it does not fit."""

import io
import tarfile

import pytest
from click.testing import CliRunner

from mmcore.cli.main import main
from mmcore.kit import tar_headers, tar_index
from mmcore.kit.tar_index import index_path, read_index, write_index
from mmcore.kit.tar_rows import count_rows, read_rows

MEMBERS = [
    ("d.x/0.jpg", b"a" * 700),
    ("d.x/0.seg.png", b"b"),
    ("1.json", b""),
    ("README", b"r"),
    ("n" * 150 + ".txt", b"long"),
    ("0.jpg", b"c" * 512),
    ("1.txt", b"late"),
]


def write_tar(path, members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_rows_are_those_of_the_headers(form, tmp_path, monkeypatch):
    plain = write_tar(tmp_path / "plain.tar", MEMBERS, form)
    path = write_tar(tmp_path / "0.tar", MEMBERS, form)
    assert read_index(path) is None
    assert write_index(path) == len(MEMBERS)
    wanted = list(read_rows(plain, 0, count_rows(plain)))
    monkeypatch.setattr(tar_headers.TarHeaders, "__iter__", lambda self: pytest.fail("read"))
    assert list(read_rows(path, 0, count_rows(path))) == wanted
    assert len(wanted) == 4


def test_the_form_is_that_of_dali(tmp_path):
    path = write_tar(tmp_path / "0.tar", [("0.jpg", b"abc"), ("0.cls", b"1"), ("1.jpg", b"")])
    write_index(path)
    assert (tmp_path / "0.idx").read_text() == (
        "v1.2 2\njpg 512 3 0.jpg cls 1536 1 0.cls\njpg 2560 0 1.jpg\n"
    )


def other_tar(path):
    write_tar(path, [("0.jpg", b"a" * 900), *MEMBERS[1:]])


def longer_tar(path):
    write_tar(path, [*MEMBERS, ("2.txt", b"more")])


def cut_index(path):
    index = path.with_suffix(".idx")
    index.write_text(index.read_text()[:-5])


def old_index(path):
    index = path.with_suffix(".idx")
    index.write_text(index.read_text().replace("v1.2", "v1.1"))


def empty_index(path):
    path.with_suffix(".idx").write_text("")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_tar, r"0\.idx is not the index of .*0\.tar, which has no 'd\.x/0\.jpg' at byte 512"),
        (longer_tar, r"which goes on after byte \d+; delete it, or .* `mmcore data index`"),
        (cut_index, r"which has no|0\.idx cannot be read"),
        (
            old_index,
            r"0\.idx cannot be read as an index: it begins with 'v1\.1 6' .* wanted 'v1\.2 6'",
        ),
        (empty_index, r"0\.idx cannot be read as an index"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(change, message, tmp_path):
    path = tmp_path / "0.tar"
    write_tar(path, MEMBERS)
    write_index(str(path))
    change(path)
    with pytest.raises(ValueError, match=message):
        count_rows(str(path))


def test_what_gets_no_index(tmp_path):
    path = write_tar(tmp_path / "0.tar", [("a b.txt", b"x")])
    with pytest.raises(ValueError, match=r"has a member 'a b\.txt', wanted names without spaces"):
        write_index(path)
    whole = (tmp_path / "0.tar").read_bytes()
    (tmp_path / "0.tar").write_bytes(whole[:513])
    with pytest.raises(ValueError, match="wanted a whole tar"):
        write_index(path)
    assert [one.name for one in tmp_path.iterdir()] == ["0.tar"]


def test_in_a_store_the_tar_is_not_read_through(tmp_path, monkeypatch):
    import fsspec

    files = fsspec.filesystem("memory")
    path = write_tar(tmp_path / "0.tar", [(f"{n}.bin", bytes(3000)) for n in range(2000)])
    write_index(path)
    for name in ("0.tar", "0.idx"):
        files.pipe(f"/indexed/{name}", (tmp_path / name).read_bytes())
    read = []
    whole = type(files).cat_file

    def watched(self, inner, start=None, end=None, **options):
        data = whole(self, inner, start=start, end=end, **options)
        read.append(len(data))
        return data

    monkeypatch.setattr(type(files), "cat_file", watched)
    assert count_rows("memory://indexed/0.tar") == 2000
    assert sum(read) < 100_000
    assert len(read) == 4


def test_the_verb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.tar", "in/b.tar"):
        write_tar(tmp_path / name, MEMBERS)
    result = CliRunner().invoke(main, ["data", "index", "**/*.tar"])
    assert (result.exit_code, result.output) == (0, "2 indexes of 14 members written\n")
    assert index_path("in/b.tar") == "in/b.idx"
    assert len(read_index("in/b.tar")) == 7
    result = CliRunner().invoke(main, ["data", "index", "s3://b/*.tar"])
    assert result.exit_code
    assert tar_index.VERSION == "v1.2"
