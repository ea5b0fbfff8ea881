"""Number formats on the meta device are those that torch's own autocast gives."""

import pytest
import torch
from torch.nn import functional

from mmcore.planning.autocast import AutocastOnMeta


def values(*shape, dtype=torch.float32, device="meta"):
    return torch.ones(*shape, dtype=dtype, device=device)


# What torch's autocast on a CPU does too; its list is shorter than CUDA's.
CALLS = {
    "linear": lambda x, w: functional.linear(x, w),
    "matmul": lambda x, w: x @ w,
    "bmm": lambda x, w: torch.bmm(x[None], w[None]),
    "attention": lambda x, w: functional.scaled_dot_product_attention(x[None], w[None], w[None]),
    "add": lambda x, w: x + w,
    "gelu": lambda x, w: functional.gelu(x),
    "gelu of linear": lambda x, w: functional.gelu(functional.linear(x, w)),
    "residual": lambda x, w: x + functional.linear(x, w),
    "mse": lambda x, w: functional.mse_loss(functional.linear(x, w), x),
}


@pytest.mark.parametrize("name", CALLS)
def test_as_on_a_cpu(name):
    call = CALLS[name]
    with torch.autocast("cpu", torch.bfloat16):
        real = call(values(4, 4, device="cpu"), values(4, 4, device="cpu"))
    with AutocastOnMeta():
        found = call(values(4, 4), values(4, 4))
    assert (found.dtype, found.shape) == (real.dtype, real.shape)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: functional.layer_norm(x, (4,)),
        lambda x: x.softmax(-1),
        lambda x: functional.log_softmax(x, -1),
        lambda x: x.pow(2),
        lambda x: x.sum(),
        lambda x: torch.rsqrt(x),
    ],
)
def test_what_cuda_does_in_float32(call):
    with AutocastOnMeta():
        assert call(values(4, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_weight_that_learns_is_cast_once_in_a_forward_pass():
    weight = torch.nn.Parameter(values(4, 4))
    autocast = AutocastOnMeta()
    with autocast:
        one, two = autocast._lowered(weight), autocast._lowered(weight)
        assert one is two
        autocast.forget()
        del one, two
        assert not list(autocast._known)  # nobody uses the copy, and the pass is over


def test_a_frozen_weight_is_cast_every_time():
    autocast = AutocastOnMeta()
    frozen = values(4, 4)
    assert autocast._lowered(frozen) is not autocast._lowered(frozen)


def test_integers_and_doubles_stay():
    with AutocastOnMeta():
        product = values(4, 4, dtype=torch.float64) @ values(4, 4, dtype=torch.float64)
        assert product.dtype == torch.float64
        assert values(4, dtype=torch.int64).cumsum(0).dtype == torch.int64
