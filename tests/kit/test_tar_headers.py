"""Headers are read as tarfile reads them, whatever writes them and wherever the tar ends."""

import io
import tarfile

from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.kit.tar_headers import TarHeaders, plain_member

QUICK = settings(deadline=None, max_examples=60)

NAMES = st.text(st.sampled_from("ab./é\udcff日"), min_size=1, max_size=40) | st.sampled_from(
    ["x/" * 60 + "7.jpg", "n" * 150 + ".txt", "folder/"]
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 6 + [tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE]
)
FORMS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def written(members, form, pax_headers=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, pax_headers=pax_headers) as tar:
        for name, kind, size in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, size, "target"
            info.mtime = 1e9 + 0.5 if size == 3 else 7
            try:
                tar.addfile(info, io.BytesIO(bytes(size)))
            except (ValueError, UnicodeError):  # USTAR cannot say every name
                continue
    return buffer.getvalue()


def by_tarfile(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return [(one.name, one.offset_data, one.size) for one in tar if one.isreg()]


@given(
    members=st.lists(st.tuples(NAMES, KINDS, st.integers(0, 1200)), max_size=5).map(
        lambda some: [("first.x", tarfile.REGTYPE, 1), *some]
    ),
    form=FORMS,
    comment=st.booleans(),
)
@QUICK
def test_the_members_that_tarfile_finds(members, form, comment, tmp_path_factory):
    everywhere = {"comment": "for all"} if comment and form == tarfile.PAX_FORMAT else None
    data = written(members, form, everywhere)
    path = tmp_path_factory.mktemp("tar") / "0.tar"
    path.write_bytes(data)
    headers = TarHeaders(str(path), len(data))
    assert list(headers) == by_tarfile(data)
    assert headers.cut == ""


@given(length=st.integers(513, 4 * 1536 - 1))
@QUICK
def test_a_cut_is_found_wherever_it_is(length, tmp_path_factory):
    whole = written([(f"{n}.x", tarfile.REGTYPE, 700) for n in range(4)], tarfile.USTAR_FORMAT)
    path = tmp_path_factory.mktemp("tar") / "0.tar"
    path.write_bytes(whole[:length])
    headers = TarHeaders(str(path), length)
    found = [member.name for member in headers]
    assert found == [f"{n}.x" for n in range(4) if n * 1536 + 512 + 700 <= length]
    assert bool(headers.cut) == (length % 1536 != 0)


def test_most_headers_are_plain():
    data = written([("a/b.jpg", tarfile.REGTYPE, 5)], tarfile.USTAR_FORMAT)
    assert plain_member(data[:512], 1024) == ("a/b.jpg", 1536, 5)
    assert plain_member(data[:511], 0) is None
    assert plain_member(bytes(512), 0) is None
    assert plain_member(b"b" + data[1:512], 0) is None, "the checksum is another"
