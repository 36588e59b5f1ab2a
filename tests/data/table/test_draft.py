import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import csv
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.config import DriftData
from exfm_ray.data.drift.source import DriftSource
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import committed_days, read_schema, row_count
from exfm_ray.data.table.draft import draft_schema, table_rows, text
from exfm_ray.errors import UserError

SHARED_DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def taobao_rows() -> Path:
    path = SHARED_DATA / "taobaoad_500rows" / "taobaoad_x1_like.csv"
    if not path.is_file():
        pytest.skip("the real TaobaoAd rows are not beside the project")
    return path


def own_table() -> dict[str, Any]:
    """Columns as a shop might log them."""
    rng = np.random.default_rng(4)
    count = 600
    clicks = rng.integers(0, 2, count)
    moments = 1_714_521_600 + np.sort(rng.integers(0, 4 * 86_400, count))
    members = rng.integers(10**6, 10**6 + 200, count)
    items = rng.integers(1, 2_000, count)
    return {
        "impression_id": rng.permutation(count) + 10**9,
        "created at": moments,
        "memberId": members,
        "item": items,
        "on": rng.choice(["home", "search", "cart page"], count),
        "hour": rng.integers(0, 24, count),
        "price": np.round(rng.lognormal(3, 3, count), 2),
        "is_clicked": clicks,
        "nonclick": 1 - clicks,
        "clicked_time": [int(moment) + 40 if click else None for moment, click in zip(moments, clicks, strict=True)],
        "dwell_ms": rng.integers(0, 10_000, count),
        "history_item": ["|".join(map(str, rng.integers(1, 2_000, rng.integers(2, 9)))) for _ in range(count)],
        "label_fraud": rng.integers(0, 2, count),
        "fm_score": rng.random(count),
        "nothing": [None] * count,
    }


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["prepare", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def prepare_as_drafted(path: Path, tmp_path: Path, kind: str) -> Location:
    """Draft, and prepare by the draft as it is."""
    schema, out = tmp_path / "schema.yaml", tmp_path / "days"
    assert f"schema:  {schema}" in run("--infer", str(path), "--out", str(schema))
    assert "prepared" in run(kind, str(path), "--schema", str(schema), "--out", str(out))
    return Location.of(str(out))


def test_columns_are_taken_for_what_they_seem(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    csv.write_csv(pa.table(own_table()), path, csv.WriteOptions(delimiter=";"))
    drafted = draft_schema(str(path))
    schema = yaml.safe_load(drafted)
    assert schema["delimiter"] == ";"
    assert schema["time"] == {"column": "created at", "unit": "s", "zone": "UTC"}
    assert {name: str(value) for name, value in schema["days"].items()} == {
        "count": "4",
        "cut": "calendar",
        "first": "2024-05-01",
    }
    assert schema["tasks"] == {
        "clicked": {"label": "is_clicked", "feedback_time": "clicked_time"},
        "fraud": {"label": "label_fraud"},
    }
    assert schema["event_id"] == "impression_id"
    assert list(schema["categorical"]) == ["memberId", "item", "on", "hour"]
    assert schema["categorical"]["hour"] == {"rows": 25, "encoding": "identity", "missing": 24}
    assert schema["numeric"] == {
        "price": {"transform": "log1p"},
        "feature_fm_score": {"column": "fm_score", "transform": "none"},
    }
    assert schema["sequences"] == {"history_item": {"shares": "item", "separator": "|", "length": 50}}
    for line in ("nonclick: is the opposite of is_clicked", "dwell_ms: sounds like", "nothing: is always the same,"):
        assert f"#   {line}" in drafted
    place = prepare_as_drafted(path, tmp_path, "csv")
    assert committed_days(place) == [1, 2, 3, 4]
    assert sum(row_count(place, day) for day in range(1, 5)) == 600


def test_lists_and_timestamps_of_parquet_are_recognized(tmp_path: Path) -> None:
    columns = own_table()
    columns["created at"] = pa.array(columns["created at"]).cast(pa.timestamp("s"))
    columns["clicked_time"] = pa.array(columns["clicked_time"]).cast(pa.timestamp("s"))
    columns["struct"] = [{"a": 1}] * 600
    columns["history_item"] = [[int(item) for item in ids.split("|")] for ids in columns["history_item"]]
    (tmp_path / "raw").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "raw" / "t.parquet")
    schema = yaml.safe_load(draft_schema(str(tmp_path / "raw")))
    assert schema["time"] == {"column": "created at", "unit": "iso", "zone": "UTC"}
    assert schema["tasks"]["clicked"] == {"label": "is_clicked", "feedback_time": "clicked_time"}
    assert schema["sequences"] == {"history_item": {"shares": "item", "length": 50}}
    assert "struct" not in str(schema)
    place = prepare_as_drafted(tmp_path / "raw", tmp_path, "parquet")
    assert [feature.name for feature in read_schema(place).features][:2] == ["memberId", "item"]


def test_the_draft_of_real_rows_is_accepted(taobao_rows: Path, tmp_path: Path) -> None:
    schema = yaml.safe_load(draft_schema(str(taobao_rows)))
    assert "time" not in schema
    assert schema["tasks"] == {"clk": {"label": "clk"}}
    shared = {name: sequence["shares"] for name, sequence in schema["sequences"].items()}
    assert shared == {"btag_his": "btag", "cate_his": "cate_id", "brand_his": "brand"}
    place = prepare_as_drafted(taobao_rows, tmp_path, "csv")
    assert [row_count(place, day) for day in committed_days(place)] == [62, 63] * 4


def test_real_rows_through_a_schema(taobao_rows: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.yaml"
    schema.write_text(
        """
        days: {count: 5, cut: equal_rows}
        tasks: {click: {label: clk}}
        domain: {column: new_user_class_level, merge_into: 3, counted_through_day: 3}
        categorical:
          user: {column: userid, rows: 500}
          cate: {column: cate_id, rows: 13_000}
        numeric: {price: {}}
        sequences: {cates: {column: cate_his, shares: cate, separator: ^, length: 20}}
        """
    )
    told = run("csv", str(taobao_rows), "--schema", str(schema), "--out", str(tmp_path / "days"))
    assert "rates: {'click': 0.42}" in told
    assert "distinct: {'user': 230, 'cate': 137}" in told
    assert "days are no real days" in told


def test_the_draft_of_the_stream_is_accepted(tmp_path: Path) -> None:
    stream = DriftSource(DriftData(days=3, events_per_day=300, tasks=("click", "like"), base_logit=-1))
    rows = pa.concat_tables(stream.part(day, part) for day in (1, 2, 3) for part in range(4))
    (tmp_path / "raw").mkdir()
    with gzip.open(tmp_path / "raw" / "t.csv.gz", "wb") as file:
        csv.write_csv(rows, file)
    schema = yaml.safe_load(draft_schema(str(tmp_path / "raw")))
    assert schema["tasks"]["click"] == {"label": "label_click", "delay": "delay_click"}
    place = prepare_as_drafted(tmp_path / "raw", tmp_path, "csv")
    assert sum(row_count(place, day) for day in committed_days(place)) == 900


def test_labels_of_one_meaning_are_tasks_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("is_click,click,2nd_label,item\n1,0,1,7\n0,1,0,8\n0,0,1,9\n")
    schema = yaml.safe_load(draft_schema(str(tmp_path / "t.csv")))
    labels = {name: task["label"] for name, task in schema["tasks"].items()}
    assert labels == {"click": "is_click", "click_too": "click", "task_2nd": "2nd_label"}


def test_columns_of_zero_and_one_without_a_telling_name_give_one_task(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,member,item\n1,0,7\n0,1,8\n0,0,9\n")
    schema = yaml.safe_load(draft_schema(str(tmp_path / "t.csv")))
    assert schema["tasks"] == {"x": {"label": "x"}}
    assert list(schema["categorical"]) == ["member", "item"]


def test_corrections_are_not_written_over(tmp_path: Path) -> None:
    pq.write_table(pa.table(own_table()), tmp_path / "t.parquet")
    (tmp_path / "schema.yaml").write_text("mine")
    arguments = ["prepare", "--infer", str(tmp_path / "t.parquet"), "--out", str(tmp_path / "schema.yaml")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "exists" in result.stderr
    assert (tmp_path / "schema.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "schema.yaml"), "exfm prepare --infer PATH"),
        (("--infer", "t.csv", "taobao", "logs", "--out", "days"), "stand before taobao"),
    ],
)
def test_a_draft_is_asked_for_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["prepare", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"), [("a,b\n1,2\n", "no column of 0 and 1"), ("a,b\n", "no rows"), ("", "header")]
)
def test_what_cannot_be_drafted_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        draft_schema(str(tmp_path / "t.csv"))


def test_names_that_mean_something_else_in_yaml_are_quoted() -> None:
    for name in ("on", "No", "null", "a: b", "1e3", "ünï", "# x", "plain"):
        assert yaml.safe_load(f"{{{text(name)}: 1}}") == {name: 1}


def test_tables_have_about_twice_the_distinct_ids() -> None:
    assert [table_rows(distinct) for distinct in (0, 5, 6, 50, 51, 20_613)] == [10, 10, 12, 100, 110, 42_000]
