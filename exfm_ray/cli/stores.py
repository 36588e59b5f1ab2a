"""`exfm store`: what runs with --store have in common."""

from typing import Annotated

import typer

from exfm_ray.cli.telling import telling

app = typer.Typer(no_args_is_help=True, help="What runs with --store have in common.", rich_markup_mode=None)


@app.command("list")
def store_list(store: Annotated[str, typer.Argument(metavar="STORE", help="The --store of a run.")]) -> None:
    """Say what a store holds: kind, key, days, size, when it was made and last used."""
    with telling() as tell:
        from exfm_ray.data.location import Location
        from exfm_ray.store_commands import list_store

        for line in list_store(Location.of(store)):
            tell.line(line)


@app.command("collect")
def store_collect(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The --store of a run.")],
    unused_days: Annotated[float, typer.Option(min=0, help="Since a run that uses it was begun or continued.")],
    kind: Annotated[list[str] | None, typer.Option(help="days, vocabulary, feedback, fm or supervision.")] = None,
    really: Annotated[bool, typer.Option("--delete", help="Without it, it is only said what would go.")] = False,
) -> None:
    """Delete work that no run has used for some days; runs that used it keep their results."""
    with telling() as tell:
        from exfm_ray.data.location import Location
        from exfm_ray.store_commands import collect_store

        for line in collect_store(Location.of(store), unused_days, kind or [], really):
            tell.line(line)
