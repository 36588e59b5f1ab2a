"""When a page has to say that its data are not what they may be taken for."""

from exfm_ray.config import AmazonData, DriftData, KuaiRandData, PartitionsData, TaobaoData
from exfm_ray.report.data_warning import data_warning

DRIFT = DriftData(days=3, events_per_day=1_000)


def test_a_stream_in_place_of_public_data_is_told_with_and_without_the_papers_numbers() -> None:
    section = TaobaoData(scale=0.02)
    for told in (data_warning(section), data_warning(section, "table2")):
        assert told is not None
        assert "not the public data: TaobaoAd was not read" in told
        assert "2 % of its size" in told


def test_the_papers_own_data_need_no_warning() -> None:
    assert data_warning(TaobaoData(path="days"), "table2") is None
    assert data_warning(TaobaoData(path="days"), "table4") is None
    assert data_warning(AmazonData(path="days"), "table3") is None


def test_other_data_beside_the_papers_numbers_are_told() -> None:
    assert "made-up drifting stream" in (data_warning(DRIFT, "table2") or "")
    assert "the days are KuaiRand-Pure" in (data_warning(KuaiRandData(path="days"), "table3") or "")
    assert "nothing says that they are TaobaoAd" in (data_warning(PartitionsData(path="days"), "table4") or "")


def test_without_the_papers_numbers_only_a_stand_in_is_told() -> None:
    assert data_warning(DRIFT) is None
    assert data_warning(PartitionsData(path="days")) is None
    assert data_warning(AmazonData(path="days")) is None
