"""A picture's bytes from below a folder or URL, and what is said where there are none."""

import errno
from pathlib import Path

import pytest

from mmcore.interfaces import ImageRef, Rejection
from mmcore.kit import store
from mmcore.kit.picture_bytes import picture_bytes


@pytest.fixture(params=["disk", "store"])
def root(request, tmp_path):
    """A folder with a picture and one below it, beside a file that is none of its own."""
    import fsspec

    for name in ("in/a.png", "in/b/c d.png", "out.png", "in2/a.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/{name}", name.encode())
    return str(tmp_path / "in") if request.param == "disk" else f"memory://{tmp_path.name}/in"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.png", b"in/a.png"),
        ("./b/c d.png", b"in/b/c d.png"),
        ("b/../a.png", b"in/a.png"),
        ("b/./../b/c d.png", b"in/b/c d.png"),
    ],
)
def test_what_lies_below_the_root_is_read(path, found, root):
    assert picture_bytes(ImageRef(path=path, root=root)) == found
    assert picture_bytes(ImageRef(path=path, root=f"{root}/")) == found


@pytest.mark.parametrize(
    "path", ["../out.png", "b/../../out.png", "../in2/a.png", "/etc/passwd", ".."]
)
def test_what_leaves_the_root_is_not(path, root):
    with pytest.raises(Rejection, match="image-outside-root") as caught:
        picture_bytes(ImageRef(path=path, root=root))
    assert repr(path) in caught.value.detail


@pytest.mark.parametrize("path", ["gone.png", "gone/a.png", "nul\0.png", "a.png/b"])
def test_what_is_not_there_is_missing(path, root):
    with pytest.raises(Rejection, match="image-missing"):
        picture_bytes(ImageRef(path=path, root=root))


def test_links_do_not_lead_out_of_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "secret")
    with pytest.raises(Rejection, match="image-outside-root"):
        picture_bytes(ImageRef(path="a.png", root=str(tmp_path / "in")))


def test_bytes_of_the_row_go_first():
    assert picture_bytes(ImageRef(data=b"x", path="y", root="/nowhere")) == b"x"


@pytest.mark.parametrize("path", ["b", "x" * 300])
def test_what_can_be_no_picture_is_unreadable(path, tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(Rejection, match="image-unreadable"):
        picture_bytes(ImageRef(path=path, root=str(tmp_path)))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENFILE, errno.ETIMEDOUT])
def test_what_the_disk_cannot_do_is_no_fault_of_the_row(number, tmp_path, monkeypatch):
    def fail(self):
        raise OSError(number, "as it is")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OSError, match="as it is"):
        picture_bytes(ImageRef(path="a.png", root=str(tmp_path)))


def test_access_that_a_store_denies_is_no_fault_of_the_row(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    def fail(self, path, **_):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    with pytest.raises(PermissionError):
        picture_bytes(ImageRef(path="a.png", root="memory://x"))


def test_details_of_rejections_are_short_and_can_be_written():
    detail = Rejection("malformed-row", "x" * 501).detail
    assert (len(detail), detail[-1]) == (501, "…")
    assert Rejection("malformed-row", "x" * 500).detail == "x" * 500
    assert Rejection("image-missing", "a\udcff").detail == "a\\udcff"
    assert str(Rejection("malformed-row", "short")) == "malformed-row: short"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("a/b.png", "a/b.png"),
        ("%2e%2e/secret", "%252e%252e/secret"),
        ("a b?x#y.png", "a%20b%3Fx%23y.png"),
    ],
)
def test_names_are_escaped_for_web_servers_only(monkeypatch, path, asked):
    seen = []
    monkeypatch.setattr(store, "read_bytes", lambda url: seen.append(url) or b"x")
    assert picture_bytes(ImageRef(path=path, root="https://h/pics")) == b"x"
    assert picture_bytes(ImageRef(path=path, root="s3://bucket/pics")) == b"x"
    assert seen == [f"https://h/pics/{asked}", f"s3://bucket/pics/{path}"]
    with pytest.raises(Rejection, match="image-outside-root"):
        picture_bytes(ImageRef(path="../secret", root="https://h/pics"))
