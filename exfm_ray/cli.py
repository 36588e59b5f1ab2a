"""The command `exfm`.

Exit codes: 0 done, 1 our failure (its traceback kept in the log), 2 the user's mistake (one line), 130 interrupted.
"""

import gc
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from exfm_ray.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
prepare_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(prepare_app, name="prepare")
job_app = typer.Typer(no_args_is_help=True, help="Look after what was submitted.", rich_markup_mode=None)
app.add_typer(job_app, name="job")
store_app = typer.Typer(no_args_is_help=True, help="What runs with --store have in common.", rich_markup_mode=None)
app.add_typer(store_app, name="store")

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
    with _telling() as tell:
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


@app.command()
def submit(
    recipe: Annotated[str, typer.Argument(help="A recipe, or a study (YAML).")],
    address: Dashboard,
    out: Annotated[str | None, typer.Option(help="As the cluster's nodes see it; default ~/runs/<name>.")] = None,
    edits: Edits = None,
    set_from: SetFrom = None,
    store: Store = None,
    storage: Annotated[str | None, typer.Option(help="Of a study, as `exfm tune` takes it on the cluster.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Of a study, as `exfm tune` takes it.")] = None,
    follow: Annotated[bool, typer.Option(help="Show what the job prints until it ends.")] = True,
    to: Annotated[str | None, typer.Option(metavar="DIR", help="Fetch results and report into it at the end.")] = None,
) -> None:
    """Run a recipe, or search as a study says, as a job of a Ray cluster.

    The same command again follows that job, or goes on with its run.
    """
    with _telling() as tell:
        from exfm_ray.recipe import read_recipe_or_study

        parsed = read_recipe_or_study(recipe, edits or [], set_from)
        if to is not None and not follow:
            raise UserError("--to: results come when the job ends; leave --no-follow out, or `exfm job fetch`")
        from exfm_ray.jobs.checks import check_submission
        from exfm_ray.jobs.client import open_client
        from exfm_ray.jobs.submission import Options
        from exfm_ray.jobs.submission import submit as submit_recipe

        place, options = out or f"~/runs/{parsed.name}", Options(store, storage, timeout)
        check_submission(parsed, place, options)
        submitted = submit_recipe(open_client(address), address, parsed, place, options)
        tell.line(f"job:     {submitted.job}, {'started' if submitted.is_new else 'at work already'}, in {place}")
    if not follow:
        print(f"follow:  exfm job logs {submitted.job} --address {address}")
        return
    _follow(submitted.job, address)
    if to is not None:
        _fetch(submitted.job, address, to)


@job_app.command("logs")
def job_logs(job: JobName, address: Dashboard) -> None:
    """Show what a job prints until it ends, with its exit code."""
    _follow(job, address)


@job_app.command("stop")
def job_stop(job: JobName, address: Dashboard) -> None:
    """End a job. What it has committed stays; submitting it again goes on from there."""
    with _telling() as tell:
        from exfm_ray.jobs.client import open_client
        from exfm_ray.jobs.stopping import stop

        tell.line(stop(open_client(address), address, job))


@job_app.command("fetch")
def job_fetch(
    job: JobName,
    address: Dashboard,
    to: Annotated[str, typer.Option(metavar="DIR", help="Directory on this machine.")],
) -> None:
    """Bring recipe, results and report of a job's run to this machine; of a study its trials and chosen point too."""
    _fetch(job, address, to)


def _follow(job: str, address: str) -> None:
    """Raises typer.Exit with the job's exit code, unless it is 0."""
    with _telling(f"no longer followed; the job goes on; end it: exfm job stop {job} --address {address}"):
        from exfm_ray.jobs.client import job_details, open_client
        from exfm_ray.jobs.following import follow

        client = open_client(address)
        job_details(client, address, job)
        try:
            code = follow(client, address, job, _write)
        except ConnectionError as error:
            raise _exit(f"{error}; the job goes on: exfm job logs {job} --address {address}", 1) from error
    if code:
        raise typer.Exit(code)


def _fetch(job: str, address: str, to: str) -> None:
    with _telling() as tell:
        from exfm_ray.jobs.client import job_details, open_client
        from exfm_ray.jobs.fetching import fetch

        client = open_client(address)
        for path in fetch(client, address, job_details(client, address, job), Path(to)):
            tell.line(f"fetched: {path}")


def _write(text: str) -> None:
    print(text, end="", flush=True)


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
    with _telling() as tell:
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
    with _telling() as tell:
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
    with _telling() as tell:
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
    with _telling() as tell:
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
    with _telling() as tell:
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


@store_app.command("list")
def store_list(store: Annotated[str, typer.Argument(metavar="STORE", help="The --store of a run.")]) -> None:
    """Say what a store holds: kind, key, days, size, when it was made and last used."""
    with _telling() as tell:
        from exfm_ray.data.location import Location
        from exfm_ray.store_commands import list_store

        for line in list_store(Location.of(store)):
            tell.line(line)


@store_app.command("collect")
def store_collect(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The --store of a run.")],
    unused_days: Annotated[float, typer.Option(min=0, help="Since a run that uses it was begun or continued.")],
    kind: Annotated[list[str] | None, typer.Option(help="days, vocabulary, feedback, fm or supervision.")] = None,
    really: Annotated[bool, typer.Option("--delete", help="Without it, it is only said what would go.")] = False,
) -> None:
    """Delete work that no run has used for some days; runs that used it keep their results."""
    with _telling() as tell:
        from exfm_ray.data.location import Location
        from exfm_ray.store_commands import collect_store

        for line in collect_store(Location.of(store), unused_days, kind or [], really):
            tell.line(line)


@prepare_app.callback(invoke_without_command=True)
def prepare(
    context: typer.Context,
    infer: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Draft the schema of your own CSV or Parquet files, for you to correct."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="File for the schema that --infer drafts; default: printed.")] = None,
) -> None:
    """Turn raw logs into day partitions."""
    with _telling() as tell:
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


@prepare_app.command("kuairand")
def prepare_kuairand(
    path: Annotated[str, typer.Argument(help="Directory of KuaiRand-Pure's tables, CSV or Parquet.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut KuaiRand-Pure's standard log into days. --set takes fields of a recipe's data section."""
    _prepare("kuairand", path, out, edits, address)


@prepare_app.command("taobao")
def prepare_taobao(
    path: Annotated[str, typer.Argument(help="Directory of TaobaoAd's raw files, or of TaobaoAd_x1's.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut TaobaoAd's impressions into days. --set takes fields of a recipe's data section."""
    _prepare("taobao", path, out, edits, address)


@prepare_app.command("amazon")
def prepare_amazon(
    path: Annotated[str, typer.Argument(help="Directory of the reviews and the meta file, JSON or JSON.gz.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut Amazon Electronics' reviews into days by the DIN scheme. --set takes fields of a recipe's data section."""
    _prepare("amazon", path, out, edits, address)


@prepare_app.command("kuaivideo")
def prepare_kuaivideo(
    path: Annotated[str, typer.Argument(help="Directory of train_interaction.txt, or of x1's train.csv and test.csv.")],
    out: DaysOut,
    edits: Edits = None,
    address: Address = None,
) -> None:
    """Cut KuaiVideo into days of equal numbers of events. --set takes fields of a recipe's data section."""
    _prepare("kuaivideo", path, out, edits, address)


@prepare_app.command("csv")
def prepare_csv(
    path: TablePath, out: DaysOut, schema: TableSchema, edits: Edits = None, address: Address = None
) -> None:
    """Cut your own CSV files into days. --set takes fields of the schema."""
    _prepare("csv", path, out, edits, address, schema)


@prepare_app.command("parquet")
def prepare_parquet(
    path: TablePath, out: DaysOut, schema: TableSchema, edits: Edits = None, address: Address = None
) -> None:
    """Cut your own Parquet files into days. --set takes fields of the schema."""
    _prepare("parquet", path, out, edits, address, schema)


def _prepare(
    kind: str, path: str, out: str, edits: list[str] | None, address: str | None, schema: str | None = None
) -> None:
    """Prepare a raw log."""
    with _telling() as tell:
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


class _Teller:
    """How a command speaks, and where its traceback goes should it fail."""

    def __init__(self) -> None:
        self.console = Console()
        self.logs: Path | None = None

    def line(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def warning(self, text: str) -> None:
        print(f"exfm: {text}", file=sys.stderr)

    def failed(self, error: Exception) -> str:
        """One line; the traceback is kept in the run's logs, or shown where there is no run or no room for it."""
        trace = "".join(traceback.format_exception(error))
        reason = next(iter(str(error).strip().splitlines()), "")
        line = f"failed: {type(error).__name__}: {reason}"
        if self.logs is None:
            return f"{trace}\nexfm: {line}"
        place = self.logs / "failure.log"
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            place.write_text(trace)
        except OSError:  # such as the full disk that the command failed of
            return f"{trace}\nexfm: {line}; the same command goes on from what is committed"
        return f"{line}; the traceback is in {place}; the same command goes on from what is committed"


@contextmanager
def _telling(interrupted: str = "interrupted; the same command goes on from here") -> Iterator[_Teller]:
    """Turn what goes wrong in a command into a line and an exit code.

    Args:
        interrupted: what is said after Ctrl-C.
    """
    teller = _Teller()
    try:
        yield teller
    except typer.Exit:
        raise  # told already
    except UserError as error:
        raise _exit(str(error), 2) from error
    except KeyboardInterrupt as error:
        raise _exit(interrupted, 130) from error
    except Exception as error:
        raise _exit(teller.failed(error), 1) from error


def _exit(message: str, code: int) -> typer.Exit:
    print(f"exfm: {message}", file=sys.stderr)
    return typer.Exit(code)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    finally:
        gc.freeze()  # or Python would look for cycles among all that was imported, most of a second long


if __name__ == "__main__":
    main()
