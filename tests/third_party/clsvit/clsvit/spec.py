"""The keys of the encoder's recipe table."""

from typing import Self

import attrs

from mmcore.interfaces import EncoderSpec, ViewFormat
from mmcore_registry import doc


@attrs.frozen(kw_only=True)
class ClsVitSpec(EncoderSpec):
    """A small vision transformer with a class token, trained from nothing."""

    name = "clsvit"

    image_size: int = attrs.field(default=30, metadata=doc("side of a view", unit="pixels"))
    patch_size: int = attrs.field(default=10, metadata=doc("side of a patch", unit="pixels"))
    width: int = attrs.field(default=48, metadata=doc("width of the features"))
    layers: int = attrs.field(default=2, metadata=doc("transformer blocks"))

    @property
    def view(self) -> ViewFormat:
        side = self.image_size // self.patch_size
        return ViewFormat(self.image_size, side, side, self.patch_size)

    @property
    def feature_width(self) -> int:
        return self.width

    def build(self, *, attention):
        from clsvit.encoder import ClsVit

        return ClsVit(self.view, self.width, self.layers)

    def load(self, module):
        return None

    def tiny(self) -> Self:
        return attrs.evolve(self, width=16, layers=1)

    def thin(self) -> Self:
        return attrs.evolve(self, layers=1)
