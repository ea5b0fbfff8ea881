"""A pack on its way from a worker process: through a pipe, its arrays copied once on each side.

Tensors sent as such would go through /dev/shm, which containers often keep too small for pictures.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from mmcore.data.lanes import LanePack
from mmcore.interfaces import PackedBatch


def send(connection: Connection, item: LanePack | Exception) -> None:
    """Write the item to a pipe.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    buffers: list[pickle.PickleBuffer] = []
    wrapped = _Parcel.of(item) if isinstance(item, LanePack) else item
    head = pickle.dumps(wrapped, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    connection.send(([raw.nbytes for raw in raws], head))
    for raw in raws:
        connection.send_bytes(raw)


def receive(connection: Connection) -> LanePack | Exception:
    """The next item of a pipe.

    Raises:
        EOFError, OSError: the other end is gone, perhaps in the middle of an item.
    """
    sizes, head = connection.recv()
    buffers = [np.empty(size, dtype=np.uint8) for size in sizes]
    for buffer in buffers:
        if len(buffer):
            connection.recv_bytes_into(buffer)
        else:
            connection.recv_bytes()
    item = pickle.loads(head, buffers=buffers)
    assert isinstance(item, _Parcel | Exception), f"a worker sent {type(item).__name__}"
    return item.unpack() if isinstance(item, _Parcel) else item


@attrs.frozen
class _Parcel:
    """A pack with arrays for tensors."""

    arrays: Mapping[str, NDArray[np.generic]]
    aux: Mapping[str, NDArray[np.generic]]
    batch: Mapping[str, Any]
    rest: Mapping[str, Any]

    @classmethod
    def of(cls, pack: LanePack) -> _Parcel:
        values = _fields(pack.batch)
        arrays = {k: _array(v) for k, v in values.items() if isinstance(v, torch.Tensor)}
        aux = {name: _array(tensor) for name, tensor in values.pop("aux").items()}
        batch = {name: value for name, value in values.items() if name not in arrays}
        rest = {name: value for name, value in _fields(pack).items() if name != "batch"}
        return cls(arrays, aux, batch, rest)

    def unpack(self) -> LanePack:
        tensors = {name: _tensor(array) for name, array in self.arrays.items()}
        aux = {name: _tensor(array) for name, array in self.aux.items()}
        fields: dict[str, Any] = {**self.batch, **tensors, "aux": aux}
        return LanePack(batch=PackedBatch(**fields), **self.rest)


def _array(tensor: torch.Tensor) -> NDArray[np.generic]:
    """numpy has no bfloat16: it travels as uint16, which no pack holds otherwise."""
    array: NDArray[np.generic] = (
        tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
    ).numpy()
    return array


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


def _fields(record: attrs.AttrsInstance) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in attrs.fields(type(record))}
