"""A model as a program of tensors alone (torch.export), for a server that knows nothing of this package.

torch.export.load unpickles an archive's sample inputs (by torch.load's safe way and, where that fails, by the unsafe
one) and any payload that asks for it, and evaluates the text of its shapes; so programs are saved here without sample
inputs, as JSON and raw tensors, those with a pickle in them are refused, and a program is to be loaded only after its
checksum has been compared with its manifest's.
"""

import io
import json
import zipfile

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.model import Model
from exfm_ray.models.products import by_torch
from exfm_ray.schema import Schema

UNTRACEABLE_TYPES = ("dmin",)
"""Architectures that torch.export refuses: how often they loop depends on how long the histories of a batch are."""

EXAMPLE_ROWS = 3
"""of the inputs that a model is traced with; a size of 0 or 1 would be taken for a constant"""


class ServedModel(nn.Module):
    """Logits (B, tasks) from flat tensors: categorical, numeric, then values and offsets of every sequence."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, categorical: torch.Tensor, numeric: torch.Tensor, *sequences: torch.Tensor) -> torch.Tensor:
        """
        Args:
            categorical: (B, C) int64.
            numeric: (B, N) float32.
            sequences: (V_i,) int64 values and (B + 1,) int64 offsets, by turns.
        """
        pairs = zip(sequences[::2], sequences[1::2], strict=True)
        inputs = Inputs(categorical, numeric, tuple(SequenceInput(values, offsets) for values, offsets in pairs))
        logits: torch.Tensor = self.model(inputs)
        return logits


def flat(inputs: Inputs) -> tuple[torch.Tensor, ...]:
    """A batch as the arguments of an exported program."""
    sequences = [tensor for s in inputs.sequences for tensor in (s.values, s.offsets)]
    return (inputs.categorical, inputs.numeric, *sequences)


def input_facts(schema: Schema) -> list[dict[str, object]]:
    """Name, dtype, shape and features of every argument of an exported program, in order.

    B is the number of rows; V, a number of elements, is another one for each sequence. `features` are the columns.
    """
    categorical = [feature.name for feature in schema.of_kind("categorical")]
    numeric = [feature.name for feature in schema.of_kind("numeric")]
    facts: list[dict[str, object]] = [
        {"name": "categorical", "dtype": "int64", "shape": ["B", len(categorical)], "features": categorical},
        {"name": "numeric", "dtype": "float32", "shape": ["B", len(numeric)], "features": numeric},
    ]
    for feature in schema.of_kind("sequence"):
        for part, length in (("values", "V"), ("offsets", "B + 1")):
            name = f"{feature.name}.{part}"
            facts.append({"name": name, "dtype": "int64", "shape": [length], "features": [feature.name]})
    return facts


def export_program(model: Model, schema: Schema) -> ExportedProgram:
    """The model in predicting mode as a program for any number of rows from 1 on, and histories of any length.

    Args:
        schema: of the features that the model was built for.
    """
    example = _example(schema)
    rows = Dim("rows", min=1)
    shapes: list[object] = [{0: rows}, {0: rows}]
    if example.sequences:
        lengths = [Dim(f"values_{index}", min=0) for index in range(len(example.sequences))]
        shapes.append(tuple(shape for length in lengths for shape in ({0: length}, {0: rows + 1})))
    served = ServedModel(model).eval()
    with torch.no_grad(), by_torch():
        program = torch.export.export(served, flat(example), dynamic_shapes=tuple(shapes), strict=False)
    program.example_inputs = None  # they would be saved as a pickle
    return program


def _example(schema: Schema) -> Inputs:
    """Rows to trace with. No two sizes that may differ are alike."""
    sequences = []
    for index in range(len(schema.of_kind("sequence"))):
        length = index + 2
        offsets = torch.arange(EXAMPLE_ROWS + 1) * length
        sequences.append(SequenceInput(torch.zeros(EXAMPLE_ROWS * length, dtype=torch.int64), offsets))
    return Inputs(
        categorical=torch.zeros(EXAMPLE_ROWS, len(schema.of_kind("categorical")), dtype=torch.int64),
        numeric=torch.zeros(EXAMPLE_ROWS, len(schema.of_kind("numeric"))),
        sequences=tuple(sequences),
    )


def operations(program: ExportedProgram) -> list[str]:
    """What the program calls, in order, such as `aten.add.Tensor`."""
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def save_program(program: ExportedProgram) -> bytes:
    """An archive (.pt2) of JSON and raw tensors."""
    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


def load_program(content: bytes) -> ExportedProgram:
    """A saved program.

    Raises:
        ValueError: loading it would unpickle something.
    """
    if found := pickles(content):
        raise ValueError(f"this program holds pickles, which may run anything: {', '.join(found)}")
    return torch.export.load(io.BytesIO(content))


def pickles(content: bytes) -> list[str]:
    """What torch.export.load would unpickle of an archive."""
    found = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".pt") and entry.file_size:
                found.append(entry.filename)
            if entry.filename.endswith("_config.json"):
                payloads = json.loads(archive.read(entry))["config"].values()
                raw = all(not p["use_pickle"] and p["path_name"].startswith(("weight_", "tensor_")) for p in payloads)
                found += [] if raw else [entry.filename]
    return found
