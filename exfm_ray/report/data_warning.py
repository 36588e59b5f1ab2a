"""Says on a page that its numbers were not measured on the data that a reader may take them for."""

from exfm_ray.config import DataConfig, DriftData, PaperTable, PartitionsData, PublicData

NAMES = {"taobao": "TaobaoAd", "amazon": "Amazon Electronics", "kuaivideo": "KuaiVideo", "kuairand": "KuaiRand-Pure"}
"""Of data sets, by the type of their section."""
PAPER_DATA: dict[PaperTable, str] = {"table2": "taobao", "table3": "amazon", "table4": "taobao"}


def data_warning(data: DataConfig, paper: PaperTable | None = None) -> str | None:
    """One or two sentences where the data are made up, or are not those of the paper's table beside them.

    Args:
        paper: whose numbers stand on the page.
    """
    papers = NAMES[PAPER_DATA[paper]] if paper else None
    if isinstance(data, PublicData) and data.is_shaped:
        return (
            f"These are not the public data: {NAMES[data.type]} was not read (data.path is left out). The days are a "
            f"made-up drifting stream of its shape, {100 * data.scale:g} % of its size, trained in batches smaller "
            "likewise. No number here says anything about the public data."
        )
    if papers is None or data.type == PAPER_DATA[paper or "table2"]:
        return None
    if isinstance(data, PartitionsData):
        return f"The days were prepared elsewhere; nothing says that they are {papers}, as the paper's numbers are."
    made_up = "a made-up drifting stream" if isinstance(data, DriftData) else NAMES[data.type]
    return f"These are not the paper's data: the days are {made_up}, the paper's numbers beside them are of {papers}."
