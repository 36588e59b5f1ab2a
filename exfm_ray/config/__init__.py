"""What a recipe may say: one pydantic model per section, checked whole before anything starts.

A mistake becomes a `UserError` of one line that names the field, the value found, what is allowed and how to mend it.
No import here is slow, so that a wrong recipe is told at once.
"""

from exfm_ray.config.amazon import AmazonData
from exfm_ray.config.cascade import CascadeConfig
from exfm_ray.config.chosen import Chosen, ChosenSetting
from exfm_ray.config.das import DasConfig
from exfm_ray.config.data import DataConfig, DriftData, KuaiRandData, PartitionsData, RawLogData
from exfm_ray.config.distill import AdapterConfig, DistillConfig, SharedDistillConfig
from exfm_ray.config.evaluate import EvaluateConfig
from exfm_ray.config.feedback import FeedbackConfig
from exfm_ray.config.fm import FoundationModelConfig
from exfm_ray.config.kuaivideo import KuaiVideoData
from exfm_ray.config.models import (
    MULTI_TASK_TYPES,
    DcnModel,
    DcnV2Model,
    DeepFamModel,
    DlrmModel,
    DminModel,
    FamModel,
    FirstOrderStart,
    FmFamModel,
    InteractionBlock,
    InterestGroup,
    ModelConfig,
    TwoTowerModel,
    WukongModel,
)
from exfm_ray.config.optimizer import OptimizerConfig, Precision
from exfm_ray.config.public import STREAM_FIELDS, PublicData
from exfm_ray.config.recipe import GridRecipe, PaperTable, Recipe
from exfm_ray.config.resources import ResourcesConfig
from exfm_ray.config.study import Choices, Range, StudyConfig
from exfm_ray.config.table import (
    CategoricalColumn,
    CsvData,
    NumericColumn,
    ParquetData,
    SequenceColumn,
    TableData,
    TimeColumn,
)
from exfm_ray.config.taobao import TaobaoData
from exfm_ray.config.theory import Theorem31, Theorem32, TheoryRecipe
from exfm_ray.config.vms import VariantConfig, VerticalModelConfig
from exfm_ray.config.vocabulary import VocabularyConfig

__all__ = [
    "MULTI_TASK_TYPES",
    "STREAM_FIELDS",
    "AdapterConfig",
    "AmazonData",
    "CascadeConfig",
    "CategoricalColumn",
    "Choices",
    "Chosen",
    "ChosenSetting",
    "CsvData",
    "DasConfig",
    "DataConfig",
    "DcnModel",
    "DcnV2Model",
    "DeepFamModel",
    "DistillConfig",
    "DlrmModel",
    "DminModel",
    "DriftData",
    "EvaluateConfig",
    "FamModel",
    "FeedbackConfig",
    "FirstOrderStart",
    "FmFamModel",
    "FoundationModelConfig",
    "GridRecipe",
    "InteractionBlock",
    "InterestGroup",
    "KuaiRandData",
    "KuaiVideoData",
    "ModelConfig",
    "NumericColumn",
    "OptimizerConfig",
    "PaperTable",
    "ParquetData",
    "PartitionsData",
    "Precision",
    "PublicData",
    "Range",
    "RawLogData",
    "Recipe",
    "ResourcesConfig",
    "SequenceColumn",
    "SharedDistillConfig",
    "StudyConfig",
    "TableData",
    "TaobaoData",
    "Theorem31",
    "Theorem32",
    "TheoryRecipe",
    "TimeColumn",
    "TwoTowerModel",
    "VariantConfig",
    "VerticalModelConfig",
    "VocabularyConfig",
    "WukongModel",
]
