"""mmcore's models as transformers knows models: import this, and its Auto classes load them.

``AutoConfig``, ``AutoModelForImageTextToText`` and ``AutoProcessor`` then load a folder that was
made with ``mmcore export RUN OUT --format hf``. No code comes from the folder.
"""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from mmcore.exchange import MODEL_TYPE
from mmcore.hf.configuration import MMCoreConfig
from mmcore.hf.modeling import MMCoreForConditionalGeneration
from mmcore.hf.processing import MMCoreProcessor

AutoConfig.register(MODEL_TYPE, MMCoreConfig)
AutoModelForImageTextToText.register(MMCoreConfig, MMCoreForConditionalGeneration)
AutoProcessor.register(MMCoreConfig, MMCoreProcessor)  # type: ignore[no-untyped-call]

__all__ = ["MMCoreConfig", "MMCoreForConditionalGeneration", "MMCoreProcessor"]
