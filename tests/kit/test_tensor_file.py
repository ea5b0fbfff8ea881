"""A file of tensors piece by piece is what the library reads."""

import torch
from safetensors.torch import load

from mmcore.kit.tensor_file import encoded


def test_the_library_reads_what_the_pieces_make() -> None:
    tensors = {
        "matrix": torch.arange(6.0).reshape(2, 3),
        "across": torch.arange(6.0).reshape(2, 3).T,  # lies otherwise in memory
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "scalar": torch.tensor(7, dtype=torch.int64),
        "nothing": torch.zeros(0, 4),
        "flags": torch.tensor([True, False, True]),
    }
    found = load(b"".join(encoded(tensors)))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
