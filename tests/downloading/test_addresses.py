"""Links become addresses that a server can be asked for, and only web addresses do."""

import urllib.request

import pyarrow as pa
import pytest

from mmcore.downloading.addresses import LONGEST, UNUSABLE, addresses_of, web_address
from mmcore.downloading.causes import cause_of


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("http://a.org/x.jpg?w=1&h=2", "http://a.org/x.jpg?w=1&h=2"),
        ("  https://a.org/x.jpg\n", "https://a.org/x.jpg"),
        ("http://a.org/a b.jpg", "http://a.org/a%20b.jpg"),
        ("http://a.org/a%20b.jpg", "http://a.org/a%20b.jpg"),
        ("http://a.org/größe.png?q=ü", "http://a.org/gr%C3%B6%C3%9Fe.png?q=%C3%BC"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("http://A.org:8080/X#part", "http://a.org:8080/X"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://a.org", "http://a.org"),
        ("//a.org/x.jpg", None),
        ("file:///etc/passwd", None),
        ("data:image/png;base64,AAAA", None),
        ("ftp://a.org/x", None),
        ("http://", None),
        ("http://[::1/x", None),
        ("http://a.org:port/x", None),
        ("http://me:secret@a.org/x", None),
        ("http://a b.org/x", None),
        ("http://a..org\u00fc/x", None),
        ("", None),
        ("http://a.org/" + "x" * LONGEST, None),
    ],
)
def test_web_address(link, address):
    found = web_address(link.encode())
    assert found == address
    if found is not None:
        urllib.request.Request(found).host.encode("ascii")  # what img2dataset does first


def test_bad_utf8_is_no_address():
    assert web_address(b"http://a.org/\xff") is None


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_links_and_lists_of_links(kind):
    one, two = "http://a/1", "http://a/2"
    column = pa.chunked_array([pa.array([one, None], kind), pa.array([two, one, "x"], kind)])
    found = addresses_of(column, "url")
    assert found.distinct == [one, two]
    assert found.slots == [[0], [None], [1], [0], [UNUSABLE]]
    assert not found.listed
    lists = pa.chunked_array([pa.array([[one, None, one], None, [], [two]], pa.list_(kind))])
    found = addresses_of(lists, "images")
    assert found.slots == [[0, None, 0], None, [], [1]]
    assert found.listed


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("HTTP Error 404: Not Found", "HTTP 404"),
        ("HTTP Error 503: Service Unavailable (timed out)", "HTTP 503"),
        ("<urlopen error timed out>", "timed out"),
        ("The read operation timed out", "timed out"),
        ("<urlopen error [Errno -2] Name or service not known>", "no such host"),
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", "name service failed"),
        ("<urlopen error [Errno 111] Connection refused>", "connection refused"),
        ("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: x>",
         "certificate refused"),
        ("<urlopen error [SSL: WRONG_VERSION_NUMBER] wrong version number>", "encryption failed"),
        ("IncompleteRead(136 bytes read, 100 more expected)", "connection broken"),
        ("Remote end closed connection without response", "connection broken"),
        ("Use of image disallowed by X-Robots-Tag directive", "opted out (X-Robots-Tag)"),
        ("HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite "
         "loop.", "redirected for ever"),
        ("Image decoding error", "no picture"),
        ("something new", "other"),
    ],
)  # fmt: skip
def test_causes(message, cause):
    assert cause_of(message) == cause
