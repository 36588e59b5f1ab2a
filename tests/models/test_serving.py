"""Exported programs: equal to their models bit for bit, and the same for every method of training."""

import io
import zipfile
from collections import Counter
from typing import Any

import pytest
import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils._python_dispatch import TorchDispatchMode

from exfm_ray.config import (
    DcnModel,
    DcnV2Model,
    DeepFamModel,
    DlrmModel,
    DminModel,
    FamModel,
    FmFamModel,
    InterestGroup,
    ModelConfig,
    TwoTowerModel,
    WukongModel,
)
from exfm_ray.models.batch_norm import BatchNorm
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.model import Model
from exfm_ray.models.serving import (
    UNTRACEABLE_TYPES,
    export_program,
    flat,
    input_facts,
    load_program,
    operations,
    pickles,
    save_program,
)
from exfm_ray.schema import Feature, Schema
from tests.distill.test_distill import batches, student, trained

pytestmark = pytest.mark.filterwarnings("error:No complete tensor")  # of buffers that are views of one storage

CONFIGS: list[ModelConfig] = [
    FamModel(embedding_dim=4),
    FamModel(embedding_dim=4, init="fuxictr"),
    FmFamModel(embedding_dim=4),
    FmFamModel(embedding_dim=4, interaction="vectorized"),
    DeepFamModel(embedding_dim=4, hidden=(8, 4)),
    DeepFamModel(embedding_dim=4, hidden=(8, 4), dropout=0.3, batch_norm=True),
    DlrmModel(embedding_dim=4, bottom_hidden=(6,), top_hidden=(8, 4)),
    TwoTowerModel(embedding_dim=4, item_fields=("item",), hidden=(8,), tower_dim=4),
    DcnModel(embedding_dim=4, hidden=(8, 4)),
    DcnModel(embedding_dim=4, hidden=(8,), dropout=0.3, batch_norm=True),
    DcnV2Model(embedding_dim=4, hidden=(8,)),
    DcnV2Model(embedding_dim=4, hidden=(8,), dropout=0.3, batch_norm=True, tower_hidden=(5,)),
    WukongModel(embedding_dim=4),
    WukongModel(embedding_dim=4, blocks=("fm", "linear", "cross", "attention")),
]
TRAINING_ONLY = ("distillation_head", "adapted_head", "adapter")


def name_of(config: ModelConfig) -> str:
    options = [str(value) for field, value in config if field in ("init", "interaction", "dropout")]
    return "-".join([config.type, *options])


every_architecture = pytest.mark.parametrize("config", CONFIGS, ids=name_of)


def schema_of(*, numeric: int, sequences: int) -> Schema:
    return Schema(
        features=(
            Feature(name="user", kind="categorical", rows=50),
            Feature(name="item", kind="categorical", rows=30),
            Feature(name="hour", kind="categorical", rows=24, encoding="identity"),
            *(Feature(name=f"price_{index}", kind="numeric") for index in range(numeric)),
            *(Feature(name=f"history_{index}", kind="sequence", shares="item") for index in range(sequences)),
        ),
        tasks=("click",),
        domains=("a",),
        stages=("later",),
    )


def random_inputs(rows: int, numeric: int, sequences: int, longest: int) -> Inputs:
    """Histories of 0 to `longest` elements."""
    generator = torch.Generator().manual_seed(rows)
    columns = [torch.randint(0, size, (rows,), generator=generator) for size in (50, 30, 24)]
    histories = []
    for _ in range(sequences):
        lengths = torch.randint(0, longest + 1, (rows,), generator=generator)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        histories.append(SequenceInput(torch.randint(0, 30, (int(offsets[-1]),), generator=generator), offsets))
    return Inputs(
        categorical=torch.stack(columns, dim=1),
        numeric=torch.randn(rows, numeric, generator=generator),
        sequences=tuple(histories),
    )


def far_from_start(model: Model) -> Model:
    """With values of the size that training leads to, so that every term counts."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
        for layer in model.modules():
            if isinstance(layer, BatchNorm):
                layer.running_mean.normal_(generator=generator)
                layer.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


@every_architecture
@pytest.mark.parametrize(("numeric", "sequences"), [(0, 0), (2, 0), (0, 1), (1, 2)])
@torch.no_grad()
def test_a_saved_program_equals_its_model_bit_for_bit(config: ModelConfig, numeric: int, sequences: int) -> None:
    schema = schema_of(numeric=numeric, sequences=sequences)
    model = far_from_start(seeded(lambda: build_model(config, schema, 1), 0, "model"))
    served = load_program(save_program(export_program(model, schema))).module()
    for rows, longest in ((1, 0), (1, 3), (2, 3), (3, 0), (64, 5), (513, 1), (100, 0)):
        inputs = random_inputs(rows, numeric, sequences, longest)
        logits = served(*flat(inputs))
        assert logits.shape == (rows, 1)
        assert torch.equal(logits, model(inputs)), f"{rows} rows, histories of at most {longest}"


@every_architecture
def test_distillation_leaves_nothing_in_the_program(config: ModelConfig, small_schema: Schema) -> None:
    """A VM that an FM taught is served by the same operations on parameters of the same names and shapes."""
    schema = small_schema.for_vm()
    plain, taught = (trained(student(config, method, small_schema), 1).model.eval() for method in ("none", "ah_sa"))
    programs = [export_program(model, schema) for model in (plain, taught)]
    without, beside = programs
    assert operations(without) == operations(beside)
    assert without.graph_module.code == beside.graph_module.code
    assert plain.parameter_count() == taught.parameter_count()
    shapes = [{name: tensor.shape for name, tensor in program.state_dict.items()} for program in programs]
    assert shapes[0] == shapes[1]
    assert sum(shape.numel() for name, shape in shapes[1].items() if "running_" not in name) == plain.parameter_count()
    assert not any(part in name for name in (*shapes[1], *taught.state_dict()) for part in TRAINING_ONLY)
    assert not torch.equal(plain.table_parameters()[0], taught.table_parameters()[0])  # it was taught indeed


class Calls(TorchDispatchMode):
    """Counts the kernels that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))


@every_architecture
@torch.no_grad()
def test_distillation_adds_no_kernel_call(config: ModelConfig, small_schema: Schema) -> None:
    """In place of a latency, which a test cannot measure: the same kernels run on the same rows, as often."""
    counts = []
    for method in ("none", "ah_sa"):
        with torch.enable_grad():
            model = trained(student(config, method, small_schema), 1).model.eval()
        served = export_program(model, small_schema.for_vm()).module()
        arguments = flat(batches(1)[0][0])
        with Calls() as calls:
            served(*arguments)
        counts.append(calls.counts)
    assert counts[0] == counts[1]
    assert counts[0].total() > 5


def test_exporting_changes_no_parameter_and_gives_the_same_bytes() -> None:
    schema = schema_of(numeric=1, sequences=1)
    model = far_from_start(build_model(CONFIGS[5], schema, 1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = (save_program(export_program(model, schema)) for _ in range(2))
    assert first == second
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_inputs_are_described_in_the_programs_order() -> None:
    schema = schema_of(numeric=1, sequences=2)
    arguments = flat(random_inputs(5, 1, 2, 3))
    facts = input_facts(schema)
    assert [fact["name"] for fact in facts] == [
        *("categorical", "numeric"),
        *("history_0.values", "history_0.offsets", "history_1.values", "history_1.offsets"),
    ]
    assert [f"torch.{fact['dtype']}" for fact in facts] == [str(argument.dtype) for argument in arguments]
    assert facts[0]["shape"] == ["B", 3]
    assert facts[0]["features"] == ["user", "item", "hour"]


def test_a_program_with_a_pickle_in_it_is_refused() -> None:
    schema = schema_of(numeric=1, sequences=1)
    program = export_program(build_model(FamModel(embedding_dim=2), schema, 1).eval(), schema)
    assert pickles(save_program(program)) == []
    program.example_inputs = (flat(random_inputs(2, 1, 1, 1)), {})
    content = save_program(program)
    with pytest.raises(ValueError, match="sample_inputs"):
        load_program(content)


def test_a_program_whose_payload_asks_to_be_unpickled_is_refused() -> None:
    schema = schema_of(numeric=1, sequences=1)
    content = save_program(export_program(build_model(FamModel(embedding_dim=2), schema, 1).eval(), schema))
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(changed, "w") as other:
        for entry in archive.infolist():
            payload = archive.read(entry)
            if entry.filename.endswith("weights_config.json"):
                assert b'"use_pickle": false' in payload
                payload = payload.replace(b'"use_pickle": false', b'"use_pickle": true', 1)
            other.writestr(entry.filename, payload)
    with pytest.raises(ValueError, match="weights_config"):
        load_program(changed.getvalue())


def test_dmin_is_named_because_it_cannot_be_traced() -> None:
    schema = schema_of(numeric=1, sequences=1)
    config = DminModel(embedding_dim=2, groups=(InterestGroup(targets=("item",), sequences=("history_0",)),))
    assert config.type in UNTRACEABLE_TYPES
    with pytest.raises(GuardOnDataDependentSymNode):
        export_program(build_model(config, schema, 1).eval(), schema)
