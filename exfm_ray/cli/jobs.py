"""`exfm submit` and `exfm job`: runs and studies as jobs of a Ray cluster."""

from pathlib import Path
from typing import Annotated

import typer

from exfm_ray.cli.options import Dashboard, Edits, JobName, SetFrom, Store
from exfm_ray.cli.telling import ended, telling
from exfm_ray.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Look after what was submitted.", rich_markup_mode=None)


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
    with telling() as tell:
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


@app.command("logs")
def job_logs(job: JobName, address: Dashboard) -> None:
    """Show what a job prints until it ends, with its exit code."""
    _follow(job, address)


@app.command("stop")
def job_stop(job: JobName, address: Dashboard) -> None:
    """End a job. What it has committed stays; submitting it again goes on from there."""
    with telling() as tell:
        from exfm_ray.jobs.client import open_client
        from exfm_ray.jobs.stopping import stop

        tell.line(stop(open_client(address), address, job))


@app.command("fetch")
def job_fetch(
    job: JobName,
    address: Dashboard,
    to: Annotated[str, typer.Option(metavar="DIR", help="Directory on this machine.")],
) -> None:
    """Bring recipe, results and report of a job's run to this machine; of a study its trials and chosen point too."""
    _fetch(job, address, to)


def _follow(job: str, address: str) -> None:
    """Raises typer.Exit with the job's exit code, unless it is 0."""
    with telling(f"no longer followed; the job goes on; end it: exfm job stop {job} --address {address}"):
        from exfm_ray.jobs.client import job_details, open_client
        from exfm_ray.jobs.following import follow

        client = open_client(address)
        job_details(client, address, job)
        try:
            code = follow(client, address, job, _write)
        except ConnectionError as error:
            raise ended(f"{error}; the job goes on: exfm job logs {job} --address {address}", 1) from error
    if code:
        raise typer.Exit(code)


def _fetch(job: str, address: str, to: str) -> None:
    with telling() as tell:
        from exfm_ray.jobs.client import job_details, open_client
        from exfm_ray.jobs.fetching import fetch

        client = open_client(address)
        for path in fetch(client, address, job_details(client, address, job), Path(to)):
            tell.line(f"fetched: {path}")


def _write(text: str) -> None:
    print(text, end="", flush=True)
