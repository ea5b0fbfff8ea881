"""The configuration of an exported model: what mmcore's ``model.toml`` says, for transformers."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedConfig

from mmcore.exchange import MODEL_TYPE, TABLE, ModelFile, from_table


class MMCoreConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]  # transformers
    """``config.json`` of an exported model; its key ``mmcore`` holds the description."""

    model_type = MODEL_TYPE

    def file(self, folder: Path | None = None) -> ModelFile:
        """The model in mmcore's words.

        Args:
            folder: where weights and tokenizer lie; None means where the configuration came from.

        Raises:
            RecipeError: it describes no model; says all that is wrong.
        """
        return from_table(getattr(self, TABLE), folder or Path(self.name_or_path or ""))
