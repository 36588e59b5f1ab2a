"""The numbers that the paper states for public data, to stand beside those measured (ExFM, Tables 2 to 4)."""

from collections.abc import Mapping
from dataclasses import dataclass

from exfm_ray.config import PaperTable
from exfm_ray.schema import METHODS, Method

Quartet = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PaperNumber:
    """One reading."""

    auc: float
    logloss: float


Cells = Mapping[tuple[str, str, Method], PaperNumber]
"""By the FM's type, the VM's name in the recipe (its type in Tables 2 and 3) and the method."""

VMS = ("fam", "fmfam", "deepfam")

TABLE_2 = {
    "dmin": (
        ((0.5389, 0.7228), (0.5408, 0.6484), (0.5449, 0.6451), (0.5462, 0.6411)),
        ((0.5477, 0.5388), (0.5482, 0.5349), (0.5494, 0.5223), (0.5521, 0.5208)),
        ((0.5488, 0.5713), (0.5576, 0.2943), (0.5630, 0.2885), (0.5648, 0.2871)),
    ),
    "dcn": (
        ((0.5389, 0.7228), (0.5397, 0.6587), (0.5438, 0.6565), (0.5458, 0.6449)),
        ((0.5477, 0.5388), (0.5479, 0.5359), (0.5495, 0.5228), (0.5517, 0.5213)),
        ((0.5488, 0.5713), (0.5556, 0.3183), (0.5612, 0.2918), (0.5624, 0.2901)),
    ),
    "dcnv2": (
        ((0.5389, 0.7228), (0.5401, 0.6580), (0.5440, 0.6538), (0.5463, 0.6401)),
        ((0.5477, 0.5388), (0.5481, 0.5351), (0.5498, 0.5219), (0.5525, 0.5199)),
        ((0.5488, 0.5713), (0.5561, 0.3119), (0.5626, 0.2899), (0.5639, 0.2879)),
    ),
}
TABLE_3 = {
    "dmin": (
        ((0.8331, 0.5493), (0.8349, 0.5473), (0.8399, 0.5431), (0.8418, 0.5379)),
        ((0.8491, 0.5311), (0.8501, 0.5305), (0.8538, 0.5232), (0.8557, 0.5141)),
        ((0.8502, 0.5303), (0.8519, 0.5283), (0.8551, 0.5165), (0.8573, 0.5119)),
    ),
    "dcn": (
        ((0.8331, 0.5493), (0.8339, 0.5486), (0.8374, 0.5451), (0.8401, 0.5390)),
        ((0.8491, 0.5311), (0.8497, 0.5288), (0.8534, 0.5239), (0.8551, 0.5153)),
        ((0.8502, 0.5303), (0.8514, 0.5290), (0.8548, 0.5181), (0.8570, 0.5115)),
    ),
    "dcnv2": (
        ((0.8331, 0.5493), (0.8343, 0.5480), (0.8392, 0.5441), (0.8411, 0.5410)),
        ((0.8491, 0.5311), (0.8503, 0.5298), (0.8541, 0.5225), (0.8563, 0.5139)),
        ((0.8502, 0.5303), (0.8522, 0.5272), (0.8568, 0.5131), (0.8582, 0.5104)),
    ),
}
TABLE_4 = {
    "domain_1": ((0.5025, 2.2831), (0.5416, 1.8964)),
    "domain_2": ((0.5024, 2.5663), (0.5306, 1.8812)),
    "domain_3": ((0.4923, 3.6295), (0.5456, 1.9003)),
}
"""Without and with the FM, a DMIN that teaches FaMs; `with` is the whole method, ah_sa."""


def _pairs(table: Mapping[str, tuple[Quartet, ...]]) -> Cells:
    return {
        (fm, vm, method): PaperNumber(*reading)
        for fm, columns in table.items()
        for vm, readings in zip(VMS, columns, strict=True)
        for method, reading in zip(METHODS, readings, strict=True)
    }


def _domains() -> Cells:
    methods: tuple[Method, ...] = ("none", "ah_sa")
    return {
        ("dmin", vm, method): PaperNumber(*reading)
        for vm, readings in TABLE_4.items()
        for method, reading in zip(methods, readings, strict=True)
    }


def paper_numbers(table: PaperTable) -> Cells:
    """All readings of one of the paper's tables."""
    return {"table2": lambda: _pairs(TABLE_2), "table3": lambda: _pairs(TABLE_3), "table4": _domains}[table]()
