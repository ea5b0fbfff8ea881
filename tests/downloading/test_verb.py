"""What is told and asked: the verb's words, the sources' hints, the environment's errors."""

import shlex
import sys
from pathlib import Path
from typing import ClassVar

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mmcore.cli.main import main
from mmcore.downloading import EnvironmentFault, environment, installed, links_of, provided
from mmcore.interfaces import Links
from mmcore.kit.files_spec import FilesSpec
from mmcore.recipe import RecipeError, load_recipe
from mmcore_registry import Registry, discover

FAKE = Path(__file__).with_name("fake_img2dataset.py")


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "img2dataset"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def typed(*words):
    return CliRunner().invoke(main, ["data", "download", *map(str, words)])


def test_the_verb_tells_what_became_of_the_links(web, published, program, tmp_path):
    web.picture("a.png")
    urls = ["http://web/a.png", "http://web/gone", "http://web/lost", "mailto:x"]
    path = published({"url": urls, "caption": ["c"] * 4})
    done = typed("blip3-kale", path, "-o", tmp_path / "out", "--img2dataset", program)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"4 rows in 1 file of {tmp_path / 'out'}, with ")
    assert [line.split() for line in lines[1:5]] == [
        ["links", "4"],
        ["alive", "1", "25.00%"],
        ["dead:", "HTTP", "404", "2", "50.00%"],
        ["dead:", "no", "web", "address", "1", "25.00%"],
    ]
    assert "x-00000.parquet: 4 rows, 4 links, 25% of them alive" in done.stderr


def test_a_misspelt_pattern_is_told_before_anything_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = typed("blip3-kale", tmp_path / "none*.parquet", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "no file matches" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_options_reach_img2dataset(web, published, program, tmp_path):
    web.picture("a")
    path = published({"link": ["http://web/a"], "caption": ["c"]})
    done = typed(
        "blip3-kale", path, "-o", tmp_path / "out", "--img2dataset", program, "--links", "link",
        "--processes", 3, "--threads", 5, "--timeout", 7, "--retries", 2, "--resize-mode",
        "keep_ratio", "--image-size", 640, "--user-agent-token", "tok", "--ignore-opt-outs",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = web.calls[0]["said"]
    wanted = {
        "processes_count": "1",  # for one link
        "thread_count": "5",
        "timeout": "7",
        "retries": "2",
        "resize_mode": "keep_ratio",
        "image_size": "640",
        "disable_all_reencoding": "False",
        "user_agent_token": '"tok"',
        "disallowed_header_directives": "[]",
    }
    assert {key: said[key] for key in wanted} == wanted


def test_bytes_and_opt_outs_are_kept_by_default(web, published, program, tmp_path):
    web.picture("a")
    path = published({"url": ["http://web/a"], "caption": ["c"]})
    typed("blip3-kale", path, "-o", tmp_path / "out", "--img2dataset", program)
    said = web.calls[0]["said"]
    assert (said["resize_mode"], said["disable_all_reencoding"]) == ("no", "True")
    assert "disallowed_header_directives" not in said  # its own default respects them


@pytest.mark.parametrize(
    "source", ["mint1t-pdf", "mint1t-arxiv", "visual-genome", "idl", "llava-json"]
)
def test_sources_without_links_are_refused(source, tmp_path):
    done = typed(source, "x", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert f"source {source!r} has no links to fetch" in done.stderr
    assert "blip3-kale, blip3-ocr" in done.stderr
    assert not (tmp_path / "out").exists()


LINKED = ("obelics", "mint1t-html", "blip3-kale", "datacomp", "cc12m", "cc3m", "sbu",
          "blip3-ocr", "blip3-ocr-hd", "blip3-grounding")  # fmt: skip


@pytest.mark.parametrize("source", LINKED)
def test_an_unprepared_path_is_an_error_with_the_command(source, tmp_path):
    links = links_of(source)
    columns = {name: ["x"] for name in ("texts", "caption", "text", "captions", links.column)}
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "x.parquet")
    pattern = str(folder / "*.parquet")
    opened = discover().get("source", source)(path=pattern).open()
    (shard,) = opened.shards()
    command = f"mmcore data download {source} {shlex.quote(pattern)} -o {folder}-prepared"
    with pytest.raises(ValueError, match="image_bytes") as error:
        next(opened.rows(shard, 0, 1))
    assert f"`{command}`" in str(error.value)


@attrs.frozen(kw_only=True)
class StrangersSpec(FilesSpec):
    """A stranger's pictures, by links in a column of his own."""

    name: ClassVar[str] = "strange"

    where: str = "picture_at"

    @property
    def links(self):
        return Links(column=self.where, bytes_column="held", tsv=("id", self.where))

    def open(self):
        raise NotImplementedError

    synthesize = relocated = open


def test_a_strangers_source_is_downloaded(web, program, tmp_path, monkeypatch):
    registry = Registry()
    registry.add([StrangersSpec], plugin="strange", distribution="strangers")
    monkeypatch.setattr("mmcore.downloading.sources.discover", lambda: registry)
    held = web.picture("a")
    (tmp_path / "x.tsv").write_text("7\thttp://web/a\n8\thttp://web/b\n")
    out = tmp_path / "out"
    done = typed("strangers:strange", tmp_path / "x.tsv", "-o", out, "--img2dataset", program)
    assert done.exit_code == 0, done.output
    assert pq.read_table(out / "x-00000.parquet").to_pylist() == [
        {"id": "7", "picture_at": "http://web/a", "held": held},
        {"id": "8", "picture_at": "http://web/b", "held": None},
    ]


@pytest.mark.parametrize(
    ("source", "path", "hint"),
    [
        ("obelics", "data/obelics/*.parquet",
         "; its pictures come by `mmcore data download obelics FILES -o data/obelics`"),
        ("datacomp", "data/dc/*.tar", ""),
        ("mint1t-pdf", "data/pdf/*.tar", ""),
    ],
)  # fmt: skip
def test_check_says_how_the_pictures_of_missing_data_come(source, path, hint, tmp_path):
    recipe = tmp_path / "recipe.toml"
    tiny = (Path(__file__).parents[2] / "recipes" / "blip3_tiny.toml").read_text()
    recipe.write_text(
        f'{tiny}\n[[stages]]\nname = "more"\nsteps = 1\ntrain = ["token_sampler"]\n'
        'tiler = { use = "single" }\nobjectives = [{ use = "autoregressive" }]\n'
        "batch = { max_tokens = 512, max_views = 8, packs_per_step = 4 }\n"
        'optimizer = { use = "adamw", lr = 1e-4 }\n'
        f'[[stages.data]]\nuse = "{source}"\npath = "{path}"\n'
    )
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe, machine=True)
    (told,) = [fault.hint for fault in error.value.faults if fault.key.endswith("path")]
    origin = discover().get("source", source).origin
    assert told == f"{source!r} comes from {origin}{hint}"


def test_a_command_that_is_not_there_is_named(published, tmp_path):
    with pytest.raises(ValueError, match=r"--img2dataset: '/no/such' is no command"):
        installed("/no/such")


def test_version_is_that_of_the_environment_around_a_command(tmp_path, program):
    assert installed(program).version is None
    python = Path(program).with_name("python")
    python.write_text("#!/bin/sh\necho 1.2.3\n")
    python.chmod(0o755)
    assert installed(program).version == "1.2.3"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mmcore" / f"img2dataset-{environment.VERSION}"


def test_environment_that_cannot_be_made_is_an_error_with_the_commands(cache, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EnvironmentFault) as error:
        provided(lambda _: None)
    text = str(error.value)
    assert f"/bin/false -m venv {cache}\n" in text
    assert f"{cache}/bin/python -m pip install" in text
    assert "webdataset==0.2.111" in text
    assert f"--img2dataset {cache}/bin/img2dataset" in text


def test_environment_is_made_once_and_a_half_made_one_anew(cache, monkeypatch):
    ran, said = [], []

    class Done:
        returncode = 0

    def run(words, **_):
        ran.append(words)
        assert not (cache / "half").exists()
        cache.mkdir(parents=True, exist_ok=True)
        return Done()

    cache.mkdir(parents=True)
    (cache / "half").write_text("")
    monkeypatch.setattr(environment.subprocess, "run", run)
    first = provided(said.append)
    assert first.command == (str(cache / "bin" / "img2dataset"),)
    assert [words[1:3] for words in ran] == [["-m", "venv"], ["-m", "pip"]]
    assert said == [
        f"installing img2dataset {environment.VERSION} into an environment of its own, {cache}"
    ]
    assert provided(said.append) == first
    assert len(ran) == 2
    monkeypatch.setattr(environment, "REQUIREMENTS", ("img2dataset==0",))
    provided(said.append)
    assert len(ran) == 4
