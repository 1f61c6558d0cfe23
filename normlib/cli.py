"""The command line: ``normlib study``, ``normlib summary``, ``normlib notebooks``.

Exit codes: 0, all is done; 1, some runs failed; 2, the request was wrong and nothing was written; 130, interrupted.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import click

from normlib.errors import RequestError


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="normlib")
@click.pass_context
def commands(context: click.Context) -> None:
    """Which normalization layer, where, in which order, and is the difference real?

    \b
    normlib study source               the source's four orderings and the baseline, ten seeds each
    normlib study source --seeds 2     the same, smaller, for a first look
    normlib study my.yaml              a study of your own
    normlib summary outputs/source     its summary and figures, made again
    normlib notebooks my_notebooks     copy the notebooks out, to open them in JupyterLab
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command()
@click.argument("name_or_file")
@click.option("--out", metavar="DIR", help="Where results go. [default: outputs/NAME]")
@click.option("--seeds", type=int, metavar="N", help="Runs of each ordering. [default: as the study says]")
@click.option("--workers", type=int, metavar="N", help="Executions at once. [default: as many as there are cores for]")
@click.option(
    "--threads", type=int, metavar="N", default=1, show_default=True, help="Threads of a run; other bits with others."
)
@click.option("--orderings", metavar="A,B", help="Other orderings than the study's, such as bn,gn/bn,bn+gn.")
def study(
    name_or_file: str,
    out: str | None,
    seeds: int | None,
    workers: int | None,
    threads: int,
    orderings: str | None,
) -> None:
    """Run a study, one papermill execution for each ordering, then summarize it.

    NAME_OR_FILE is a study that ships with normlib, such as 'source', or a YAML file. What is there already is not run
    again: repeat the command to go on after an interruption, or with more seeds to add some.

    \b
    normlib study source
    normlib study source --orderings bn,gn --seeds 3 --out outputs/first_look
    """
    from normlib import scheduling, studies

    chosen = None if orderings is None else orderings.split(",")
    plan = studies.read_study(name_or_file).but(seeds=seeds, orderings=chosen)
    folder = Path("outputs") / plan.name if out is None else Path(out)
    signal.signal(signal.SIGTERM, _interrupt)
    with scheduling.local_executor(workers, threads) as executor:
        failures = scheduling.run_study(plan, folder, executor, threads)
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    if any((folder / "records").glob("*.json")):
        _summarize(folder)
    if failures:
        sys.exit(1)


@commands.command()
@click.argument("folder", metavar="DIR")
def summary(folder: str) -> None:
    """Summarize the records of a study: notebook, HTML without code, figures.

    \b
    normlib summary outputs/source
    """
    _summarize(Path(folder))


@commands.command()
@click.argument("folder", metavar="DIR")
def notebooks(folder: str) -> None:
    """Copy normlib's notebooks into a folder, to open and change them. What is there already stays as it is.

    \b
    normlib notebooks my_notebooks
    jupyter lab my_notebooks
    """
    from normlib import execution, files

    target = Path(folder)
    files.check_writable(target, "DIR")
    sources = sorted(execution.notebook_path("instance").parent.glob("*.ipynb"))
    for path in sources:
        if (target / path.name).exists():
            raise RequestError("DIR", folder, f"a folder without {path.name}, which would be overwritten")
    target.mkdir(parents=True, exist_ok=True)
    for path in sources:
        click.echo(shutil.copy(path, target))


def _summarize(folder: Path) -> None:
    import matplotlib as mpl

    from normlib import records, tables
    from normlib.summary import write_summary

    mpl.use("agg")  # figures go to files, never to a window
    paths = write_summary(folder)
    click.echo(tables.results(records.load_records(folder)).drop(columns="source's label", errors="ignore").to_string())
    for path in paths:
        click.echo(path)


def main() -> None:
    """Run the command line; a wrong request ends in one line and exit code 2."""
    try:
        commands(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        _refuse(error.format_message())
    except RequestError as error:
        _refuse(str(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: what is finished is kept; the same command goes on", err=True)
        sys.exit(130)
    except (OSError, RuntimeError) as error:
        click.echo(f"normlib: {type(error).__name__}: {_one_line(str(error))}", err=True)
        sys.exit(1)


def _interrupt(*_: object) -> None:
    """Take a request to end as Ctrl-C."""
    raise KeyboardInterrupt


def _refuse(message: str) -> None:
    click.echo(f"normlib: {_one_line(message)}", err=True)
    sys.exit(2)


def _one_line(message: str) -> str:
    return " ".join(message.split())
