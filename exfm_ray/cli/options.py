"""Options and arguments that several commands have."""

from typing import Annotated

import typer

Address = Annotated[str | None, typer.Option(help="Ray cluster; default: one on this machine.")]
Dashboard = Annotated[str, typer.Option("--address", metavar="URL", help="As http://HEAD:8265, Ray's job API.")]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="As exfm submit named it.")]
DaysOut = Annotated[str, typer.Option("--out", help="Directory for the day partitions.")]
TablePath = Annotated[str, typer.Argument(help="A file, or a directory of files, one row per event in any order.")]
TableSchema = Annotated[str, typer.Option("--schema", help="YAML that says what the columns mean; see --infer.")]
SetFrom = Annotated[
    str | None, typer.Option(metavar="STUDY", help="Directory of a study whose chosen point the VMs take.")
]
Store = Annotated[str | None, typer.Option(help="Directory or URI where work lies that runs have in common.")]
Edits = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Edit a field; may repeat.")]
