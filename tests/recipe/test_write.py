"""The resolved text of any recipe loads back to an equal recipe."""

import tomllib
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcore.interfaces import SyntheticContent
from mmcore.recipe import (
    BatchTable,
    CheckpointTable,
    DataTable,
    ModelTable,
    Recipe,
    Stage,
    TrainablePart,
    load_recipe,
    to_toml,
)
from mmcore_registry import Registry

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
POSITIVE = st.floats(min_value=1e-12, max_value=1e12)
SIZES = st.integers(1, 10**6)


def test_everything_is_filled_in(write, registry):
    recipe = load_recipe(write(), registry=registry)
    plain = tomllib.loads(to_toml(recipe, registry=registry))
    assert plain["model"]["encoder"]["feature_width"] == 32
    assert plain["checkpoints"] == {
        "every_steps": 500,
        "keep_last": 2,
        "keep_stages": True,
        "background": True,
    }
    assert plain["guards"]["stall_seconds"] == 600
    assert plain["trackers"] == [{"use": "jsonl"}]
    assert plain["stages"][0]["train"] == ["token_sampler", {"part": "llm", "lr": 1e-5}]
    assert "steps" not in plain["stages"][0]
    assert plain["stages"][0]["optimizer"]["betas"] == [0.9, 0.95]


def test_what_toml_cannot_say_is_refused(write, registry, specs):
    encoder = specs["eye"](variant="small")
    object.__setattr__(encoder, "weights", None)
    recipe = load_recipe(write(), registry=registry)
    object.__setattr__(recipe.model, "encoder", encoder)
    with pytest.raises(ValueError, match=r"Eye.weights is None"):
        to_toml(recipe, registry=registry)


def test_rival_components_are_written_with_their_owner(write, registry, specs):
    rivals = Registry()
    known = [spec for name, spec in specs.items() if name != "synthetic"]
    rivals.add(known, plugin="parts", distribution="parts-dist")

    other = attrs.frozen(kw_only=True)(type("Pool", (specs["pool"],), {"__doc__": "Another."}))
    rivals.add([other], plugin="other", distribution="other-dist")
    path = write()
    recipe = load_recipe(path, ["model.token_sampler.use=other-dist:pool"], registry=rivals)
    text = to_toml(recipe, registry=rivals)
    assert tomllib.loads(text)["model"]["token_sampler"]["use"] == "other-dist:pool"


@st.composite
def sources(draw, specs):
    synthetic = st.builds(
        SyntheticContent,
        rows=SIZES,
        seed=st.integers(-(2**62), 2**62),
        held_out=st.booleans(),
        topics=st.lists(TEXTS, max_size=3).map(tuple),
    )
    return specs["pages"](
        path=draw(TEXTS),
        share=draw(POSITIVE),
        overflow=draw(st.sampled_from(["split", "truncate", "reject"])),
        synthetic=draw(st.none() | synthetic),
        columns=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        root=draw(st.none() | st.sampled_from([Path("a b"), Path("ü/x")])),
        limit=draw(SIZES | TEXTS),
    )


@st.composite
def stages(draw, specs, name, lanes):
    unit = draw(st.sampled_from(["tokens", "steps", "epochs"]))
    parts = draw(st.sets(st.sampled_from(["encoder", "token_sampler", "llm"]), min_size=1))
    rule = draw(st.sampled_from(["slope", "hill"]))
    grids = st.tuples(st.integers(1, 2), st.integers(1, 2))
    return Stage(
        name=name,
        train=tuple(
            TrainablePart(part=part, lr=draw(st.none() | POSITIVE)) for part in sorted(parts)
        ),
        **{unit: draw(SIZES if unit == "steps" else POSITIVE)},
        tiler=specs["grids"](grids=tuple(draw(st.lists(grids, min_size=1, max_size=3)))),
        fit=draw(st.sampled_from(["shrink", "reject"])),
        objectives=(specs["talk"](weight=draw(POSITIVE)),),
        batch=BatchTable(
            max_tokens=draw(st.integers(321, 512)),
            max_views=draw(SIZES),
            packs_per_step=lanes * draw(st.integers(1, 9)),
        ),
        optimizer=specs[rule](lr=draw(POSITIVE), clip_norm=draw(st.just(float("inf")) | POSITIVE)),
        data=tuple(draw(st.lists(sources(specs), min_size=1, max_size=3))),
    )


@st.composite
def recipes(draw, specs):
    lanes = draw(st.integers(1, 64))
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    widths = st.integers(1, 50).map(lambda half: 2 * half)
    quiz = st.builds(specs["quiz"], data=sources(specs), stage=st.sampled_from(["", *names]))
    variant = draw(st.sampled_from(["small", "large"]))
    eye = specs["eye"]
    return Recipe(
        name=draw(NAMES),
        seed=draw(st.integers(0, 2**62)),
        model=ModelTable(
            attention=draw(st.sampled_from(["auto", "sdpa", "xformers"])),
            encoder=draw(
                st.just(eye(variant=variant)) | st.builds(eye, feature_width=widths, weights=TEXTS)
            ),
            token_sampler=draw(
                st.builds(specs["resampler"], queries=st.integers(1, 64))
                | st.builds(specs["pool"], factor=st.sampled_from([1, 2, 4]))
            ),
            llm=specs["mouth"](),
        ),
        data=DataTable(lanes=lanes, max_rejected_share=draw(st.floats(0, 1))),
        stages=tuple(draw(stages(specs, name, lanes)) for name in names),
        evaluations=tuple(draw(st.lists(quiz, max_size=2))),
        engine=specs["motor"](zero=draw(st.sampled_from([1, 2, 3]))),
        trackers=(specs["jsonl"](),) * draw(st.integers(0, 2)),
        checkpoints=CheckpointTable(every_steps=draw(SIZES)),
    )


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_round_trip(data, specs, registry, tmp_path):
    recipe = data.draw(recipes(specs))
    text = to_toml(recipe, registry=registry)
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8", newline="")
    loaded = load_recipe(path, registry=registry)
    assert loaded == recipe
    assert to_toml(loaded, registry=registry) == text
