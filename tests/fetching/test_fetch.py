"""What a recipe wants of a hub arrives whole, as the lock says, or not at all."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from mmcore.fetching import FetchError, Hub, fetch, items, outline
from mmcore.fetching.download import PARTIAL
from mmcore.recipe import LockError, RecipeError, load_recipe, read_lock

WEIGHTS = bytes(range(256)) * 2048

RECIPE = """\
name = "small"
[model.encoder]
use = "siglip"
weights = "hf://own/er"
[model.token_sampler]
use = "perceiver"
queries = 8
[model.llm]
use = "phi3"
[data]
lanes = 2
[engine]
use = "torch"
precision = "fp32"
[[stages]]
name = "only"
train = ["token_sampler"]
steps = 1000
tiler = { use = "anyres" }
objectives = [{ use = "autoregressive" }]
batch = { max_tokens = 512, max_views = 16, packs_per_step = 4 }
optimizer = { use = "adamw", lr = 1e-3 }
[[stages.data]]
use = "llava-json"
path = "data/*.json"
synthetic = { rows = 8 }
"""


@pytest.fixture(autouse=True)
def _files(server):
    server.files = {
        "model.safetensors": WEIGHTS,
        "config.json": b'{"a": 1}',
        "pytorch_model.bin": b"a pickle",
        "onnx/model.safetensors": b"another form",
    }
    server.large = {"model.safetensors"}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def bring(hub, recipe):
    def bring(update=False):
        loaded = load_recipe(recipe, locked=False)
        return fetch(recipe, outline(loaded, recipe, hub=hub, update=update), hub=hub)

    return bring


def gets(server, name):
    return [span for verb, path, span in server.asked if verb == "GET" and path.endswith(name)]


def test_what_is_wanted_arrives_and_is_locked(server, hub, recipe, bring):
    done = bring()
    assert [item.name for item in done.items] == ["config.json", "model.safetensors"]
    snapshot = hub.folder("own/er") / "snapshots" / server.commit
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in snapshot.iterdir()) == ["config.json", "model.safetensors"]
    locked = read_lock(recipe)["hf://own/er"]
    assert locked.commit == server.commit
    assert locked.files["model.safetensors"].sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert locked.files["config.json"].sha256 == hashlib.sha256(b'{"a": 1}').hexdigest()
    assert locked.files["config.json"].size == 8
    assert (hub.folder("own/er") / "refs" / "main").read_text() == server.commit


def test_the_second_fetch_asks_nobody_and_changes_nothing(server, recipe, bring):
    bring()
    server.asked.clear()
    assert not bring().lock_changed
    assert server.asked == []


def test_a_locked_recipe_means_the_commit(server, hub, recipe, bring, monkeypatch):
    bring()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub.cache))
    loaded = load_recipe(recipe, machine=True)
    assert loaded.model.encoder.weights == f"hf://own/er@{server.commit}"
    assert load_recipe(recipe, locked=False).model.encoder.weights == "hf://own/er"


def test_an_outline_brings_nothing(server, hub, recipe):
    listed = items(hub, outline(load_recipe(recipe, locked=False), recipe, hub=hub))
    assert [(item.name, item.size, item.here) for item in listed] == [
        ("config.json", 8, False),
        ("model.safetensors", len(WEIGHTS), False),
    ]
    assert not hub.cache.exists()
    assert read_lock(recipe) == {}


def test_a_cut_off_download_goes_on_where_it_ended(server, hub, recipe, bring, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    server.cut["model.safetensors"] = 200_000
    with pytest.raises(FetchError, match=r"answered 500 .*; what arrived is kept"):
        bring()
    assert not (hub.folder("own/er") / "snapshots" / server.commit / "model.safetensors").exists()
    assert read_lock(recipe) == {}
    (partial,) = (hub.folder("own/er") / "blobs").glob(f"*{PARTIAL}")
    kept = partial.stat().st_size
    assert kept == 200_000
    server.down.clear()
    server.asked.clear()
    bring()
    assert gets(server, "model.safetensors") == [f"bytes={kept}-"]
    snapshot = hub.folder("own/er") / "snapshots" / server.commit
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert not partial.exists()


@pytest.mark.parametrize(
    ("name", "kind"), [("model.safetensors", "SHA-256"), ("config.json", "git blob")]
)
def test_what_does_not_have_its_hash_is_not_used(server, hub, recipe, bring, name, kind):
    server.damage.add(name)
    with pytest.raises(FetchError, match=f"{name} has the {kind} .*{server.etag(name)}"):
        bring()
    assert not (hub.folder("own/er") / "snapshots" / server.commit / name).exists()
    assert list((hub.folder("own/er") / "blobs").glob(f"*{PARTIAL}")) == []
    server.damage.clear()
    bring()
    assert (hub.folder("own/er") / "snapshots" / server.commit / name).exists()


@pytest.mark.parametrize(
    ("refuse", "message"),
    [
        ((404, "RepoNotFound"), "hf://own/er: .* has no such repository, or it is private"),
        ((401, "GatedRepo"), "hf://own/er is gated: accept its terms at http.*own/er, then `hf au"),
        ((403, ""), "hf://own/er: .* answered 403 Forbidden; if it is gated or private: terms at"),
        ((404, "RevisionNotFound"), "hf://own/er: the repository has no revision 'main'"),
    ],
)
def test_refusals_say_what_to_do(server, bring, refuse, message):
    server.refuse = refuse
    with pytest.raises(FetchError, match=message):
        bring()


def test_a_hub_that_cannot_be_reached_is_named(recipe, tmp_path):
    hub = Hub("http://127.0.0.1:9", tmp_path / "cache")
    with pytest.raises(FetchError, match=r"hf://own/er: http://127\.0\.0\.1:9 cannot be reached"):
        outline(load_recipe(recipe, locked=False), recipe, hub=hub)


def test_pickles_are_no_weights(server, bring):
    del server.files["model.safetensors"]
    with pytest.raises(FetchError, match=r"no file \*\.safetensors; it has pytorch_model\.bin"):
        bring()


def test_a_hub_that_changed_under_the_lock_is_refused_until_update(server, hub, recipe, bring):
    bring()
    before = read_lock(recipe)["hf://own/er"].files["model.safetensors"].sha256
    hub.folder("own/er").rename(hub.cache / "elsewhere")
    server.files["model.safetensors"] = WEIGHTS[::-1]
    after = hashlib.sha256(WEIGHTS[::-1]).hexdigest()
    with pytest.raises(FetchError, match=f"SHA-256 {after}, locked is {before}"):
        bring()
    assert read_lock(recipe)["hf://own/er"].files["model.safetensors"].sha256 == before
    assert bring(update=True).lock_changed
    assert read_lock(recipe)["hf://own/er"].files["model.safetensors"].sha256 == after


def test_a_cached_file_that_was_altered_is_named_with_both_hashes(server, hub, bring):
    bring()
    path = hub.folder("own/er") / "snapshots" / server.commit / "model.safetensors"
    path.resolve().write_bytes(WEIGHTS[::-1])
    ours, theirs = (hashlib.sha256(one).hexdigest() for one in (WEIGHTS[::-1], WEIGHTS))
    with pytest.raises(FetchError, match=f"{path.resolve()}.*{ours}, the lock says {theirs}"):
        bring()


def test_a_run_sees_a_file_that_is_not_as_locked(server, hub, recipe, bring, monkeypatch):
    bring()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub.cache))
    path = hub.folder("own/er") / "snapshots" / server.commit / "model.safetensors"
    path.resolve().write_bytes(b"short")
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe, machine=True)
    (fault,) = error.value.faults
    assert fault.key == "model.encoder.weights"
    assert "model.safetensors has 5 bytes, locked are 524,288" in fault.message
    assert fault.hint == f"`mmcore fetch {recipe}` completes it"
    assert f"`mmcore run {recipe} --rehearse`" in error.value.advice


def test_a_damaged_lock_is_named(recipe):
    recipe.with_suffix(".lock.toml").write_text('["hf://own/er"]\ncommit = 3\n')
    with pytest.raises(LockError, match=r"small\.lock\.toml is no lock file"):
        load_recipe(recipe)


def test_the_verb(server, recipe, tmp_path):
    def typed(*words):
        program = [sys.executable, "-m", "mmcore", "fetch", "small.toml", *words]
        environment = {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "home"),
            "PATH": "",
            "COLUMNS": "100",
        }
        done = subprocess.run(
            program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    text = typed("--dry-run")
    assert "524.3 kB to fetch, 524.3 kB in all" in text
    assert not Path(tmp_path / "small.lock.toml").exists()
    text = typed()
    assert "fetching hf://own/er model.safetensors (524,288 bytes)" in text
    assert "2 files checked, written to small.lock.toml" in text
    assert "2 files checked, as small.lock.toml says" in typed()
