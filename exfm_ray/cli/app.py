"""The command `exfm`: its main commands, and those that stand in groups."""

import gc
from typing import Annotated

import typer

from exfm_ray.cli import jobs, prepare, stores
from exfm_ray.cli.options import Address, Edits, SetFrom, Store
from exfm_ray.cli.telling import telling
from exfm_ray.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(prepare.app, name="prepare")
app.add_typer(jobs.app, name="job")
app.add_typer(stores.app, name="store")


@app.callback()
def root() -> None:
    """Simulate an external foundation model that teaches many ads models, on a laptop or on a Ray cluster."""


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe (YAML), such as sims/quickstart.yaml.")],
    out: Annotated[str | None, typer.Option(help="Run directory, a path or a URI; default runs/<name>.")] = None,
    edits: Edits = None,
    set_from: SetFrom = None,
    address: Address = None,
    store: Store = None,
) -> None:
    """Run a recipe to its report. Starting the same command again goes on where it stopped."""
    with telling() as tell:
        from exfm_ray.config import GridRecipe, TheoryRecipe
        from exfm_ray.recipe import read_any_recipe

        parsed = read_any_recipe(recipe, edits or [], set_from)
        from exfm_ray.data.location import Location
        from exfm_ray.data.run_directory import RunDirectory
        from exfm_ray.report import write_report

        directory = RunDirectory(Location.of(out or f"runs/{parsed.name}"))
        tell.logs = directory.local_directory() / "logs"
        common = Location.of(store) if store is not None else None
        if isinstance(parsed, TheoryRecipe):
            if common is not None:
                raise UserError(f"--store: {recipe} is of a theorem, which makes nothing that others use; leave it out")
            from exfm_ray.theory_run import run_theory

            run_theory(parsed, directory)
        elif isinstance(parsed, GridRecipe):
            from exfm_ray.grid import run_grid

            run_grid(parsed, directory, address, tell.console, common)
        else:
            from exfm_ray.simulation import simulate

            simulate(parsed, directory, address, tell.console, common)
        page = write_report(directory)
        tell.line(f"results: {directory.results_file}")
        tell.line(f"report:  {page}")


app.command()(jobs.submit)


@app.command()
def tune(
    study: Annotated[str, typer.Argument(help="A study (YAML), such as tuning/figure12.yaml.")],
    out: Annotated[str | None, typer.Option(help="Directory of the study; default runs/<name>.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Default: as the study says.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds of the search; it can go on later.")] = None,
    storage: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL of the trials, for several drivers; default: a file in OUT.")
    ] = None,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Show the trials in a browser instead.")] = False,
    edits: Edits = None,
    address: Address = None,
    store: Store = None,
) -> None:
    """Search label scale, gradient scale and loss weight together. The same command goes on where it stopped."""
    with telling() as tell:
        from exfm_ray.recipe import read_study

        asked = [f"trials={trials}"] if trials is not None else []
        parsed = read_study(study, [*(edits or []), *asked])
        from exfm_ray.data.location import Location
        from exfm_ray.data.run_directory import RunDirectory
        from exfm_ray.report import write_report
        from exfm_ray.study_run import begun_storage, run_study
        from exfm_ray.tune.dashboard import show_dashboard

        directory = RunDirectory(Location.of(out or f"runs/{parsed.name}"))
        tell.logs = directory.local_directory() / "logs"
        if dashboard:
            show_dashboard(begun_storage(storage, directory), tell.line)
            return
        common = Location.of(store) if store is not None else None
        run_study(parsed, directory, address, tell.console, storage, timeout, common)
        tell.line(f"chosen:  {directory.chosen_file}")
        tell.line(f"trials:  {directory.trials_file}")
        tell.line(f"report:  {write_report(directory)}")


@app.command()
def report(directory: Annotated[str, typer.Argument(help="Run directory.")]) -> None:
    """Write a run's report anew."""
    with telling() as tell:
        from exfm_ray.data.location import Location
        from exfm_ray.data.run_directory import RunDirectory
        from exfm_ray.report import write_report

        tell.line(f"report:  {write_report(RunDirectory(Location.of(directory)))}")


@app.command()
def models(
    recipe: Annotated[str, typer.Argument(help="A recipe (YAML).")],
    edits: Edits = None,
    history: Annotated[int, typer.Option(min=0, max=10_000, help="Elements of each history in an example.")] = 20,
    run: Annotated[str | None, typer.Option(help="Run directory whose vocabularies say how large tables are.")] = None,
) -> None:
    """Say what each model of a recipe costs: parameters, and FLOPs of training on one example."""
    with telling() as tell:
        from exfm_ray.recipe import read_recipe

        parsed = read_recipe(recipe, edits or [])
        from exfm_ray.data.location import Location
        from exfm_ray.data.run_directory import RunDirectory
        from exfm_ray.model_table import model_table

        tell.console.print(model_table(parsed, history, RunDirectory(Location.of(run)) if run else None))


@app.command()
def export(
    directory: Annotated[str, typer.Argument(metavar="RUN", help="Run directory.")],
    vm: Annotated[str, typer.Argument(metavar="VM", help="Name of a VM of its recipe.")],
    method: Annotated[str | None, typer.Option(help="Default: the VM's last of none, kd, ah, ah_sa.")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the recipe's first.")] = None,
    day: Annotated[int | None, typer.Option(help="Trained through this day; default: the newest published.")] = None,
    out: Annotated[str | None, typer.Option(help="Default: export/<vm>-<method>-seed<S>/day=NNN in the run.")] = None,
) -> None:
    """Write a trained VM as a program that serves (torch.export), checked bit for bit against the model."""
    with telling() as tell:
        from exfm_ray.data.location import Location
        from exfm_ray.data.run_directory import RunDirectory
        from exfm_ray.export import export as export_vm

        run = RunDirectory(Location.of(directory))
        place, manifest = export_vm(run, vm, method, seed, day, Location.of(out) if out else None)
        about = manifest.about
        tell.line(f"snapshot: {about['snapshot']}, {about['parameters']:,} parameters")
        tell.line(f"compared: {about['compared_rows']:,} rows of day {about['compared_day']}, equal bit for bit")
        tell.line(f"export:   {place}")


@app.command()
def serve(
    directory: Annotated[str, typer.Argument(metavar="RUN", help="Run directory.")],
    http: Annotated[str, typer.Option(metavar="PORT", help="To listen on; 0 for a free one.")] = "8000",
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine it takes a token.")
    ] = "127.0.0.1",
    token_file: Annotated[str | None, typer.Option(help="File with the token; default: EXFM_TOKEN, or none.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; default: one on this machine.")] = None,
    collects: Annotated[bool, typer.Option("--collect", help="Delete old snapshots that no lease holds.")] = False,
    max_bytes: Annotated[int, typer.Option(min=1_024, max=2**30, help="Of a request's body.")] = 16_777_216,
    max_rows: Annotated[int, typer.Option(min=1, max=2**20, help="Of a request.")] = 65_536,
    max_history: Annotated[int, typer.Option(min=1, max=65_536, help="Values of a sequence in a row.")] = 1_024,
) -> None:
    """Let a run's newest FM answer over HTTP until Ctrl-C; what a simulation publishes meanwhile takes over."""
    with telling() as tell:
        from exfm_ray.das.client_token import read_token
        from exfm_ray.das.request_limits import RequestLimits
        from exfm_ray.data.location import Location
        from exfm_ray.data.run_directory import RunDirectory
        from exfm_ray.serve_run import serve_run

        run = RunDirectory(Location.of(directory))
        token = read_token(token_file, tell.warning)
        limits = RequestLimits(body_bytes=max_bytes, rows=max_rows, history=max_history)
        tell.logs = run.local_directory() / "logs" / "serve"
        serve_run(run, host, http, token, limits, address, collects, tell.line)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    finally:
        gc.freeze()  # or Python would look for cycles among all that was imported, most of a second long
