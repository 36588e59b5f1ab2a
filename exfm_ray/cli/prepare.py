"""`exfm prepare`: raw logs become day partitions."""

from pathlib import Path
from typing import Annotated

import typer

from exfm_ray.cli.options import Address, DaysOut, Edits, TablePath, TableSchema
from exfm_ray.cli.telling import telling
from exfm_ray.errors import UserError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def prepare(
    context: typer.Context,
    infer: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Draft the schema of your own CSV or Parquet files, for you to correct."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="File for the schema that --infer drafts; default: printed.")] = None,
) -> None:
    """Turn raw logs into day partitions."""
    with telling() as tell:
        if context.invoked_subcommand is not None:
            if infer is not None or out is not None:
                raise UserError(
                    f"--infer, --out: stand before {context.invoked_subcommand}; a schema is drafted by itself "
                    "(exfm prepare --infer PATH), and the days' --out comes after the data set's path"
                )
            return
        if infer is None:
            raise UserError("--infer: names no file to draft a schema of; say exfm prepare --infer PATH, or a data set")
        from exfm_ray.data.table.draft import draft_schema

        draft = draft_schema(infer)
        if out is None:
            tell.line(draft.rstrip())
            return
        place = Path(out)
        if place.exists():
            raise UserError(f"--out: {out} exists; name another file, for corrections are not written over")
        place.write_text(draft)
        tell.line(f"schema:  {place}; check it, then go on as its first lines say")


@app.command("kuairand")
def prepare_kuairand(
    path: Annotated[str, typer.Argument(help="Directory of KuaiRand-Pure's tables, CSV or Parquet.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut KuaiRand-Pure's standard log into days. --set takes fields of a recipe's data section."""
    _prepare("kuairand", path, out, edits, address)


@app.command("taobao")
def prepare_taobao(
    path: Annotated[str, typer.Argument(help="Directory of TaobaoAd's raw files, or of TaobaoAd_x1's.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut TaobaoAd's impressions into days. --set takes fields of a recipe's data section."""
    _prepare("taobao", path, out, edits, address)


@app.command("amazon")
def prepare_amazon(
    path: Annotated[str, typer.Argument(help="Directory of the reviews and the meta file, JSON or JSON.gz.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut Amazon Electronics' reviews into days by the DIN scheme. --set takes fields of a recipe's data section."""
    _prepare("amazon", path, out, edits, address)


@app.command("kuaivideo")
def prepare_kuaivideo(
    path: Annotated[str, typer.Argument(help="Directory of train_interaction.txt, or of x1's train.csv and test.csv.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut KuaiVideo into days of equal numbers of events. --set takes fields of a recipe's data section."""
    _prepare("kuaivideo", path, out, edits, address)


@app.command("csv")
def prepare_csv(
    path: TablePath, out: DaysOut, schema: TableSchema, edits: Edits = None, address: Address = None
) -> None:
    """Cut your own CSV files into days. --set takes fields of the schema."""
    _prepare("csv", path, out, edits, address, schema)


@app.command("parquet")
def prepare_parquet(
    path: TablePath, out: DaysOut, schema: TableSchema, edits: Edits = None, address: Address = None
) -> None:
    """Cut your own Parquet files into days. --set takes fields of the schema."""
    _prepare("parquet", path, out, edits, address, schema)


def _prepare(
    kind: str, path: str, out: str, edits: list[str] | None, address: str | None, schema: str | None = None
) -> None:
    """Prepare a raw log."""
    with telling() as tell:
        from exfm_ray.data.location import Location
        from exfm_ray.data.run_directory import RunDirectory
        from exfm_ray.prepare_log import prepare_log, processes_for
        from exfm_ray.recipe import read_data_section, read_table_schema

        section = {"type": kind, "path": path} | (read_table_schema(schema) if schema is not None else {})
        config, place = read_data_section(section, edits or []), Location.of(out)
        tell.logs = RunDirectory(place).local_directory().with_name(f"{place.name}.logs")
        with processes_for(config, address, tell.logs) as spread:
            for line in prepare_log(config, place, spread, tell.console):
                tell.line(line)
