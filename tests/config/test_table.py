from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.config import CsvData
from exfm_ray.recipe import read_data_section, read_table_schema

README = Path(__file__).parents[2] / "README.md"


def content(**changes: Any) -> dict[str, Any]:
    return {
        "time": {"column": "ts", "unit": "s"},
        "days": {"count": 2, "first": "2024-05-01"},
        "tasks": {"click": {"label": "clk"}},
        "categorical": {"item": {"rows": 10}, "hour": {"rows": 24, "encoding": "identity"}},
        **changes,
    }


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tims": {}}, "data.tims: there is no such field; did you mean 'time'?"),
    ({"categorical": {"item": {"row": 10}}}, "data.categorical.item.row: there is no such field; did you mean 'rows'?"),
    ({"categorical": {"item": {}}}, "data.categorical.item.rows: is missing; give it a value"),
    ({"categorical": {}}, "there is no feature; name columns under categorical, numeric or sequences"),
    ({"tasks": {}}, "data.tasks"),
    ({"tasks": {"click": {"labl": "clk"}}}, "data.tasks.click.labl: there is no such field; did you mean 'label'?"),
    ({"tasks": {"c": {"label": "a", "delay": "b", "feedback_time": "c"}}}, "give one of them"),
    ({"time": {"column": "ts", "unit": "min"}}, "data.time.unit: 'min': input should be 's', 'ms', 'us' or 'iso'"),
    ({"time": {"column": "ts", "unit": "s", "zone": "Berlin"}}, "data.time.zone: 'Berlin': is no time zone"),
    ({"time": None}, "there is no time to cut calendar days by; say cut: equal_rows, or give time"),
    ({"days": {"count": 0, "cut": "equal_rows"}}, "data.days.count: 0: input should be greater than or equal to 1"),
    ({"days": {"count": 2}}, "give it the date of day 1"),
    ({"days": {"count": 2, "cut": "equal_rows", "first": "2024-05-01"}}, "leave `first` out"),
    ({"days": {"count": 2, "first": "2024-05-32"}}, "data.days.first: '2024-05-32'"),
    ({"numeric": {"item": {}}}, "'item' is more than one of categorical, numeric and sequences; rename one"),
    ({"numeric": {"label_x": {}}}, "'label_x' is the name of another column of a day; rename the feature"),
    ({"numeric": {"stage": {}}}, "'stage' is the name of another column of a day"),
    ({"numeric": {"x": {"column": "clk"}}}, "feature 'x' reads 'clk', an answer of a task; leave it out, for it leaks"),
    ({"sequences": {"seen": {"shares": "shop"}}}, "sequence 'seen' shares 'shop', which is not under categorical"),
    (
        {"sequences": {"seen": {"shares": "item", "owner": "user"}}},
        "sequence 'seen' has the owner 'user', which is not under categorical",
    ),
    ({"categorical": {"a": {"rows": 3, "encoding": "identity", "missing": 3}}}, "missing 3 is no row of the table"),
    ({"domain": {"column": "a"}}, "says nothing; give one of levels, largest and merge_into"),
    ({"domain": {"column": "a", "levels": ["x"], "largest": 2}}, "says levels and largest; give one of"),
    ({"domain": {"column": "a", "largest": 2}}, "counted_through_day None with largest: give it"),
    ({"domain": {"column": "a", "levels": ["x", "x"]}}, "levels must differ from each other"),
    ({"domain": {"column": "a", "largest": 2, "counted_through_day": 3}}, "is beyond the 2 days; lower it"),
    ({"stage": {"column": "a", "levels": [1, 1]}}, "data.stage.levels: levels must differ from each other"),
    ({"path": "x"}, "has the field 'path', which the command gives; leave it out"),
    ({"delimiter": ";;"}, "data.delimiter: ';;'"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[str(case[0])[:60] for case in WRONG])
def test_a_mistake_in_a_schema_is_one_line_and_writes_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    schema, out = tmp_path / "schema.yaml", tmp_path / "out"
    schema.write_text(yaml.safe_dump(content(**changes)))
    result = CliRunner().invoke(app, ["prepare", "csv", "/nowhere.csv", "--schema", str(schema), "--out", str(out)])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_a_schema_that_is_no_file_or_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("time: [")
    for name, message in (("none.yaml", "is no file"), ("broken.yaml", "is not YAML at line 1")):
        arguments = ["prepare", "parquet", "/x", "--schema", str(tmp_path / name), "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert message in result.stderr


def test_the_schema_in_the_readme_is_one(tmp_path: Path) -> None:
    lines = README.read_text().split("## Your own data\n")[1].split("\n## ")[0].splitlines()
    (tmp_path / "schema.yaml").write_text("\n".join(line[4:] for line in lines if line.startswith("    ")))
    config = read_data_section({"type": "csv", "path": "x"} | read_table_schema(str(tmp_path / "schema.yaml")), [])
    assert isinstance(config, CsvData)
    assert config.feature_columns() == {"user": "user_id", "item": "item", "price": "price", "seen": "seen_items"}
    assert config.answer_columns == ("clicked", "bought", "bought_at")
    again = CsvData.model_validate_json(config.model_dump_json())
    assert again == config
