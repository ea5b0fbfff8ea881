"""Models in and out: mmcore's own model folder, and foreign checkpoints by their formats.

A model comes in (``importing``) by way of its format, which says its tables and how its names
correspond to those of the parts' publishers; ``accounting`` holds every name and shape of the
checkpoint against every parameter of the model before anything is written. What comes out is a
model folder (``model_folder``). A run or a model folder (``stored``) goes out the same way
(``exporting``), or as a folder for transformers (``hf_folder``); adapters go out alone as folders
for peft (``peft_folder``). All write a receipt (``receipt``): every tensor, and what the model
answers to fixed inputs (``probe``) on both sides.
"""

from mmcore.exchange.exporting import export_model
from mmcore.exchange.hf_folder import MODEL_TYPE, TABLE
from mmcore.exchange.importing import import_checkpoint
from mmcore.exchange.model_folder import DESCRIPTION, ModelFile, from_table, read_model_file
from mmcore.exchange.receipt import Receipt
from mmcore.exchange.stored import Stored, fill_stored, open_stored

__all__ = [
    "DESCRIPTION",
    "MODEL_TYPE",
    "TABLE",
    "ModelFile",
    "Receipt",
    "Stored",
    "export_model",
    "fill_stored",
    "from_table",
    "import_checkpoint",
    "open_stored",
    "read_model_file",
]
