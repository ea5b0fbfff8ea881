"""The same losses from two DeepSpeed processes as from one torch process, for the same batch."""

import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="DeepSpeed is installed on Linux only"
)


@pytest.mark.parametrize("zero", [0, 2])
def test_two_processes_give_the_losses_of_one(workplace, zero):
    workplace.mmcore("run", "mini.toml", "--set", "name=one")
    workplace.typed(
        "run", "mini.toml", "--procs", "2", "--set", "name=two",
        "--set", "engine.use=deepspeed", "--set", f"engine.zero={zero}",
        "--set", "engine.precision=fp32",
    )  # fmt: skip
    one, two = workplace.losses("one"), workplace.losses("two")
    assert two == pytest.approx(one, rel=1e-5)
    assert one != dict.fromkeys(one, one[1]), "the losses do not move"


def test_the_torch_engine_refuses_two_processes(workplace):
    output = workplace.typed("run", "mini.toml", "--procs", "2", fails=True)
    assert "engine" in output
    assert "deepspeed" in output
