"""The contracts of mmcore: one file per kind of component, and the records that pass between them.

The whole machine in one paragraph. A *source* yields ``Sample``s: text and pictures in reading
order. A *tiler* cuts a picture into views (pixels_NCHW) and says which patches show it
(patch_mask_NP). The *LLM*'s text format turns the text into ids and a loss mask; every picture
takes as many placeholder ids as the *token sampler*'s spec promises. Samples are packed without
padding into a ``PackedBatch`` of T tokens and N views. Then, on the device: the *encoder* makes
features_NPD of the views, the *token sampler* makes tokens_NQE of the features, these are written
over the placeholders' embeddings x_TE, the *LLM* makes hidden states h_TE, and the *objectives*
ask its head about the L labelled positions and answer with summed losses. An *engine* turns them
into gradients and steps; an *optimizer* says how; *trackers* listen; *tasks* ask the model
questions before, between and after the stages. A *format* reads and writes foreign checkpoints.

Letters of the shapes, everywhere: T packed tokens, N views, P patches of a view, D encoder width,
Q tokens of a view, E LLM width, V vocabulary, K image tokens of a pack, L labelled positions,
S sequences (samples) of a pack, B prompts, C/H/W channels, height, width.
"""

from mmcore.interfaces.attention import Attention, PackedLayout
from mmcore.interfaces.aux import PAIR_IDS, PAIR_MASK, PAIR_VIEW, PAIR_WEIGHT
from mmcore.interfaces.encoder import Encoder, EncoderSpec, PatchGrid, ViewFormat
from mmcore.interfaces.engine import (
    Engine,
    EngineMemory,
    EngineSpec,
    FillingEngine,
    KnowsPartNorms,
    MemoryItem,
    ParameterGroup,
    ParameterState,
)
from mmcore.interfaces.format import (
    Correspondence,
    ForeignCheckpoint,
    ForeignLayout,
    FormatSpec,
    OutgoingModel,
    Tables,
)
from mmcore.interfaces.links import Links, download_command
from mmcore.interfaces.llm import LLM, ExtendingLLM, Head, LLMSpec, Teacher
from mmcore.interfaces.lora import ALL_LINEAR, Lora
from mmcore.interfaces.objective import (
    ADAPTERS,
    UNTRAINED,
    ComparingObjective,
    Forward,
    Objective,
    ObjectiveSpec,
)
from mmcore.interfaces.optimizer import OptimizerSpec
from mmcore.interfaces.parts import PARTS
from mmcore.interfaces.records import (
    IGNORE,
    ImagePart,
    ImageRef,
    PackedBatch,
    PairReference,
    Part,
    Role,
    Row,
    Sample,
    SampleKey,
    Segment,
    TextPart,
)
from mmcore.interfaces.rejection import Rejection
from mmcore.interfaces.sampler import (
    CAPTION,
    CONTRAST,
    MATCH,
    TOKENS,
    InstructedSampler,
    PairedSampler,
    PairText,
    TokenSampler,
    TokenSamplerSpec,
)
from mmcore.interfaces.source import Shard, Source, SourceSpec, SyntheticContent
from mmcore.interfaces.task import Evaluation, KindScore, Question, Task, TaskSpec
from mmcore.interfaces.text import ImageSlot, TextFormat, TextRun
from mmcore.interfaces.tiler import TilePlan, TilerSpec, Tiles
from mmcore.interfaces.tracker import (
    METRICS,
    Incident,
    RunInfo,
    StageInfo,
    StepReport,
    Tracker,
    TrackerSpec,
    ValidationReport,
)
from mmcore.interfaces.weights import (
    FilledSpec,
    LoadReport,
    Renaming,
    Tensors,
    Wanted,
    WeightsError,
    same_names,
)
from mmcore.interfaces.world import World

__all__ = [
    "ADAPTERS",
    "ALL_LINEAR",
    "CAPTION",
    "CONTRAST",
    "IGNORE",
    "LLM",
    "MATCH",
    "METRICS",
    "PAIR_IDS",
    "PAIR_MASK",
    "PAIR_VIEW",
    "PAIR_WEIGHT",
    "PARTS",
    "TOKENS",
    "UNTRAINED",
    "Attention",
    "ComparingObjective",
    "Correspondence",
    "Encoder",
    "EncoderSpec",
    "Engine",
    "EngineMemory",
    "EngineSpec",
    "Evaluation",
    "ExtendingLLM",
    "FilledSpec",
    "FillingEngine",
    "ForeignCheckpoint",
    "ForeignLayout",
    "FormatSpec",
    "Forward",
    "Head",
    "ImagePart",
    "ImageRef",
    "ImageSlot",
    "Incident",
    "InstructedSampler",
    "KindScore",
    "KnowsPartNorms",
    "LLMSpec",
    "Links",
    "LoadReport",
    "Lora",
    "MemoryItem",
    "Objective",
    "ObjectiveSpec",
    "OptimizerSpec",
    "OutgoingModel",
    "PackedBatch",
    "PackedLayout",
    "PairReference",
    "PairText",
    "PairedSampler",
    "ParameterGroup",
    "ParameterState",
    "Part",
    "PatchGrid",
    "Question",
    "Rejection",
    "Renaming",
    "Role",
    "Row",
    "RunInfo",
    "Sample",
    "SampleKey",
    "Segment",
    "Shard",
    "Source",
    "SourceSpec",
    "StageInfo",
    "StepReport",
    "SyntheticContent",
    "Tables",
    "Task",
    "TaskSpec",
    "Teacher",
    "Tensors",
    "TextFormat",
    "TextPart",
    "TextRun",
    "TilePlan",
    "TilerSpec",
    "Tiles",
    "TokenSampler",
    "TokenSamplerSpec",
    "Tracker",
    "TrackerSpec",
    "ValidationReport",
    "ViewFormat",
    "Wanted",
    "WeightsError",
    "World",
    "download_command",
    "same_names",
]
