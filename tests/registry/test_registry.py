"""Components by kind and name: what is refused, what clashes, and how a clash is settled."""

from typing import ClassVar

import attrs
import pytest

from mmcore_registry import (
    API,
    AmbiguousComponent,
    ApiMismatch,
    Plugin,
    Registry,
    RegistryError,
    Spec,
    UnknownComponent,
    doc,
    from_variant,
    nearest,
    one_of,
)


def spec(kind="encoder", name="eye", *, doc="An eye.", decorate=True, **extra):
    cls = type("Made", (Spec,), {"kind": kind, "name": name, "__doc__": doc, **extra})
    return attrs.frozen(kw_only=True)(cls) if decorate else cls


@pytest.fixture
def registry():
    registry = Registry()
    registry.add([spec(), spec(name="lens"), spec("llm", "mouth")], plugin="a", distribution="da")
    return registry


def test_lookup(registry):
    assert registry.kinds() == ["encoder", "llm"]
    assert registry.names("encoder") == ["eye", "lens"]
    assert registry.names("source") == []
    eye = registry.get("encoder", "eye")
    assert (eye.name, registry.get("encoder", "da:eye"), registry.use(eye)) == ("eye", eye, "eye")
    assert [one.name for one in registry.components()] == ["eye", "lens", "mouth"]
    assert registry.components("llm")[0].summary == "An eye."


def test_unknown_names_the_nearest_and_all(registry):
    with pytest.raises(UnknownComponent) as error:
        registry.get("encoder", "eyee")
    assert str(error.value) == (
        "no encoder is called 'eyee'; did you mean 'eye'? (known: eye, lens)"
    )
    with pytest.raises(UnknownComponent, match=r"no source is called 'eye' \(known: none\)"):
        registry.get("source", "eye")
    with pytest.raises(UnknownComponent, match="did you mean 'lens'"):
        registry.get("encoder", "another-distribution:lens")


def test_unknown_tells_of_plugins_that_are_not_loaded(registry):
    registry.record(Plugin("good", "m", "d", "1", "loaded"))
    registry.record(Plugin("bad", "m", "d", "1", "broken", "ImportError: x"))
    with pytest.raises(UnknownComponent, match=r"not loaded: bad \(broken\) - see `mmcore plug"):
        registry.get("encoder", "other")


def test_two_distributions_with_one_name(registry):
    rival = spec()
    registry.add([rival], plugin="b", distribution="db")
    with pytest.raises(AmbiguousComponent) as error:
        registry.get("encoder", "eye")
    assert str(error.value) == (
        'encoder \'eye\' is announced by da and db; write use = "da:eye" or use = "db:eye"'
    )
    assert registry.get("encoder", "db:eye") is rival
    for component in registry.components("encoder"):
        assert registry.get("encoder", registry.use(component.spec)) is component.spec
    assert registry.use(rival) == "db:eye"


def test_one_distribution_with_one_name_twice(registry):
    with pytest.raises(RegistryError, match="announced twice by da: by plugin a and by plugin c"):
        registry.add([spec(name="new"), spec()], plugin="c", distribution="da")
    assert "new" not in registry.names("encoder")  # all or none
    with pytest.raises(RegistryError, match="announced twice by dd"):
        registry.add([spec(), spec()], plugin="d", distribution="dd")


@attrs.frozen(kw_only=True)
class Undecorated(Spec):
    """A base that is decorated itself."""

    kind: ClassVar[str] = "encoder"
    name: ClassVar[str] = "base"


class Derived(Undecorated):
    """Forgot the decorator."""


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (int, "is no subclass of mmcore_registry.Spec"),
        (spec(), None),
        (spec(name=""), "has no name: set a class attribute"),
        (spec(kind=3), "has no kind"),
        (spec(name="a:b"), "':' separates the distribution"),
        (spec(doc="  "), "has no docstring"),
        (Derived, "is not decorated"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_malformed(bad, message):
    registry = Registry()
    if message is None:
        registry.add([bad], plugin="p", distribution="d")
        assert registry.names("encoder") == ["eye"]
        return
    with pytest.raises(RegistryError, match=message):
        registry.add([spec(name="fine"), bad], plugin="p", distribution="d")
    assert registry.components() == []


def test_another_api_is_refused_with_both_numbers():
    with pytest.raises(ApiMismatch, match=rf"api {API + 1}, this mmcore speaks api {API}$"):
        Registry().add([spec(api=API + 1, name="")], plugin="p", distribution="d")


@attrs.frozen
class Size:
    width: int


@attrs.frozen(kw_only=True)
class Sized(Spec):
    """A spec with presets."""

    kind: ClassVar[str] = "encoder"
    name: ClassVar[str] = "sized"

    variant: str = attrs.field(
        default="small", validator=one_of(["large", "small"]), metadata=doc("which", unit="px")
    )
    width: int = attrs.field(default=from_variant({"small": Size(1), "large": Size(2)}, "width"))


def test_variants_preset_keys():
    assert (Sized().width, Sized(variant="large").width) == (1, 2)
    assert Sized(variant="large", width=7).width == 7
    with pytest.raises(ValueError, match="variant is 'lrge', wanted one of 'large', 'small'; did"):
        Sized(variant="lrge")
    assert attrs.fields(Sized).variant.metadata == {"doc": "which", "unit": "px"}


def test_nearest():
    assert nearest("querys", ["queries", "depth"]) == "queries"
    assert nearest("zzz", ["queries"]) is None
