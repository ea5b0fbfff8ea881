"""What a machine lacks is found without torch, all at once, with what can be done."""

import pytest

from mmcore.recipe import RecipeError, load_recipe
from mmcore.recipe import gpus as gpus_module
from mmcore.recipe.gpus import Gpu, visible_gpus

H100, V100 = Gpu("H100", (9, 0)), Gpu("V100", (7, 0))


@pytest.fixture
def driver(monkeypatch):
    """Pretend that the driver tells of these GPUs."""

    def driver(*gpus, visible=None):
        monkeypatch.setattr(gpus_module, "_all_gpus", lambda: gpus)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return driver


@pytest.fixture
def lacking(write, registry):
    """Faults of the demo recipe on this machine, after overrides."""

    def lacking(*overrides):
        try:
            load_recipe(write(), overrides, registry=registry, machine=True)
        except RecipeError as error:
            return {fault.key: f"{fault.message}; {fault.hint}" for fault in error.faults}
        return {}

    return lacking


@pytest.mark.parametrize(
    ("visible", "seen"),
    [(None, "HV"), ("", ""), ("-1", ""), ("1", "V"), ("1,0", "VH"), ("5", ""), ("GPU-ab", "HV")],
)
def test_visible_gpus(driver, visible, seen):
    driver(H100, V100, visible=visible)
    assert "".join(gpu.name[0] for gpu in visible_gpus()) == seen


def test_a_machine_without_the_driver_has_no_gpu(monkeypatch):
    monkeypatch.setattr(gpus_module, "_LIBRARY", "libno-such-driver.so.1")
    gpus_module._all_gpus.cache_clear()
    assert gpus_module._all_gpus() == ()
    gpus_module._all_gpus.cache_clear()


def test_xformers_needs_a_gpu(driver, lacking):
    driver()
    fault = lacking("model.attention=xformers")["model.attention"]
    assert fault.startswith("is 'xformers', which runs on CUDA only, and no NVIDIA GPU")
    driver(H100)
    assert "no NVIDIA GPU" not in str(lacking("model.attention=xformers"))
    driver()
    assert lacking("model.attention=auto") == {}


def test_bf16_needs_a_gpu_that_has_it(driver, lacking):
    driver(H100, V100)
    fault = lacking("engine.precision=bf16")["engine.precision"]
    assert fault.startswith("is 'bf16', which V100 (compute capability 7.0) does not have")
    assert lacking("engine.precision=fp32") == {}
    driver(H100)
    assert lacking("engine.precision=bf16") == {}


def test_advice_comes_only_where_nothing_but_the_machine_is_at_fault(driver, write, registry):
    driver()
    path = write()
    with pytest.raises(RecipeError) as error:
        load_recipe(path, ["model.attention=xformers"], registry=registry, machine=True)
    assert f"`mmcore plan {path}`" in str(error.value).splitlines()[-1]
    changes = ["model.attention=xformers", "model.llm.context=3"]
    with pytest.raises(RecipeError) as error:
        load_recipe(path, changes, registry=registry, machine=True)
    assert error.value.advice == ""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("memory://x/*.json", ""),
        ("s3://bucket/*.json", "is 's3://bucket/*.json', and s3fs, which reads s3://, is not"),
        ("gs://bucket/*.json", "is 'gs://bucket/*.json', and gcsfs, which reads gs://, is not"),
        ("ess3://bucket/x", "is 'ess3://bucket/x', and fsspec knows no ess3://"),
    ],
)
def test_stores_are_not_asked_but_their_drivers_are_looked_for(
    path, said, write, registry, monkeypatch
):
    from mmcore.recipe import machine

    looked = machine.importlib.util.find_spec
    absent = {"s3fs", "gcsfs"}
    monkeypatch.setattr(
        machine.importlib.util, "find_spec", lambda name: None if name in absent else looked(name)
    )
    recipe = write(write().read_text(), ("synthetic = { rows = 10 }", ""))
    override = f"stages.base.data.0.path={path}"
    if not said:
        load_recipe(recipe, [override], registry=registry, machine=True)
        return
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [override], registry=registry, machine=True)
    (fault,) = caught.value.faults
    assert fault.message.startswith(said)
    assert ("pip install 'mmcore[s3]'" in fault.hint) == path.startswith("s3://")
