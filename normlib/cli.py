"""The command line: ``normlib study | status | summary | cost | verify | notebooks``, and its exit codes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from normlib.errors import RequestError, one_line, one_of


class Commands(click.Group):
    """Refuses an unknown command in the words in which all else is refused."""

    def get_command(self, context: click.Context, name: str) -> click.Command:
        """Return a command by its name."""
        one_of("command", name, self.commands)
        return self.commands[name]


def run(commands: click.Group) -> None:
    """Run the command that the command line names, and exit where it was wrong, failed or was interrupted."""
    warnings.formatwarning = lambda message, *_, **__: f"normlib: {one_line(str(message))}\n"
    # nbformat loads jsonschema, and that a grammar of addresses which no notebook's schema asks for: a second to build.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # to Python, it is not installed
    try:
        commands(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        _end(error.format_message(), 2)
    except RequestError as error:
        _end(str(error), 2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: what is finished is kept; the same command goes on", err=True)
        sys.exit(130)
    except (OSError, RuntimeError) as error:
        _end(f"{type(error).__name__}: {error}", 1)


def _end(reason: str, code: int) -> None:
    click.echo(f"normlib: {one_line(reason)}", err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(package_name="normlib")
@click.pass_context
def commands(context: click.Context) -> None:
    """Which normalization layer, where, in which order, and is the difference real?

    \b
    normlib study --list               the studies that there are, each with its question
    normlib study source               the source's four orderings and the baseline, ten seeds each
    normlib study source --seeds 2     the same, smaller, for a first look
    normlib study my.yaml              a study of your own
    normlib status outputs/source      which of its runs are done, failed or missing
    normlib summary outputs/source     its summary and figures, made again; of two folders, what agrees
    normlib cost outputs/source        what each ordering costs: seconds, parameters
    normlib verify source              train some of the kept runs again: do they give the same?
    normlib notebooks my_notebooks     copy the notebooks out, to open them in JupyterLab
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_VERBOSE = click.option("--verbose", is_flag=True, help="Also print the table of results and all files written.")


@commands.command()
@click.argument("name_or_file", required=False)
@click.option("--out", metavar="DIR", help="Where results go. [default: outputs/NAME]")
@click.option("--seeds", type=int, metavar="N", help="Runs of each instance. [default: as the study says]")
@click.option("--workers", type=int, metavar="N", help="Executions at once. [default: as many as there are cores for]")
@click.option(
    "--threads", type=int, metavar="N", default=1, show_default=True, help="Threads of a run; other bits with others."
)
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, such as tcp://127.0.0.1:8786.")
@click.option("--redo", is_flag=True, help="Run also what is done; each record stays until its run is made again.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Longest time of an execution. [default: none]")
@click.option(
    "--retries", type=int, metavar="N", default=2, show_default=True, help="Tries after a dead kernel or a lost worker."
)
@click.option("--orderings", metavar="A,B", help="Other orderings than the study's, such as bn,gn/bn,bn+gn.")
@click.option("--quick", is_flag=True, help="A small size of the study, into outputs/NAME-quick: minutes, not hours.")
@click.option("--list", "list_studies", is_flag=True, help="List the studies that ship with normlib, and end.")
@click.option("--dry-run", is_flag=True, help="List the executions that would be made, and end.")
@_VERBOSE
def study(
    name_or_file: str | None,
    out: str | None,
    seeds: int | None,
    workers: int | None,
    threads: int,
    orderings: str | None,
    scheduler: str | None,
    quick: bool,
    list_studies: bool,
    dry_run: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Run a study in papermill executions, each of one ordering and condition, then say what it found.

    NAME_OR_FILE is a study that ships with normlib, such as 'source', or a YAML file. What is there already is not run
    again: repeat the command to go on after an interruption, or with more seeds to add some.

    \b
    normlib study --list
    normlib study source
    normlib study batch-size --quick
    normlib study source --orderings bn,gn --seeds 3 --out outputs/first_look
    normlib study source --scheduler tcp://127.0.0.1:8786
    """
    if list_studies:
        return _list_studies()
    if name_or_file is None:
        raise click.UsageError("Missing argument 'NAME_OR_FILE'; normlib study --list lists those that there are.")
    if scheduler is not None and workers is not None:
        raise click.UsageError("--workers is for this machine, and --scheduler for a cluster, which has its own.")
    from normlib.studies.study import read_study

    chosen = None if orderings is None else orderings.split(",")
    plan = read_study(name_or_file)
    plan = (plan.quick_version() if quick else plan).replace(seeds=seeds, orderings=chosen)
    folder = Path("outputs") / (plan.name + quick * "-quick") if out is None else _folder("out", out)
    from normlib.execution.workers import dask_executor, local_executor  # a wrong request is refused before

    place = dask_executor(scheduler) if scheduler is not None else local_executor(workers, threads)
    from normlib.execution import schedule
    from normlib.report.sentences import plan_sentence
    from normlib.studies.folder import describe_status
    from normlib.studies.results import earlier_runs

    if dry_run:
        listed = schedule.describe_plan(plan, folder, threads, workers, options["redo"])
        return click.echo(f"{plan_sentence(plan, earlier_runs(plan, folder))}\n{listed}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    with place as executor:
        failures = schedule.run_study(plan, folder, executor, threads, **options)
    for stage in ([folder / schedule.TUNING] if plan.tune else []) + [folder]:
        if any((stage / "records").glob("*.json")):
            _summarize(stage, verbose=verbose)
        if failures and (stage / "study.yaml").exists():
            click.echo(describe_status(stage), err=True)
    if failures:
        sys.exit(1)
    return None


@commands.command()
@click.argument("folder", metavar="DIR")
def status(folder: str) -> None:
    """Say which runs of a study are done, failed or missing.

    \b
    normlib status outputs/source
    """
    from normlib.studies.folder import describe_status

    click.echo(describe_status(_folder("DIR", folder)))


@commands.command()
@click.argument("folder", metavar="DIR")
@click.argument("other", metavar="[DIR_B]", required=False)
@click.option("--csv", metavar="FILE", help="Also write the numbers: of orderings to FILE, of contrasts beside it.")
@click.option("--html", metavar="FILE", help="Also write the page: summary.html; of two folders, what agrees.")
@click.option("--latex", metavar="FILE", help="Also write tables for a paper; of one folder.")
@_VERBOSE
def summary(folder: str, other: str | None, verbose: bool, **exports: str | None) -> None:
    """Say what a study found, and write its summary: notebook, HTML without code, figures; and what is exported.

    With DIR_B, the same study run on another stack or processor, say instead which figures agree within their
    intervals, and which contrasts have the same verdict. Nothing is then written into the folders.

    \b
    normlib summary outputs/source
    normlib summary outputs/source --csv source.csv --latex source.tex
    normlib summary outputs/source outputs/source-keras3
    normlib summary outputs/source outputs/source-keras3 --html both.html
    """
    files = {kind: file for kind, file in exports.items() if file is not None}
    if other is None:
        return _summarize(_folder("DIR", folder), files, verbose)
    import matplotlib as mpl

    from normlib.report import agreement

    mpl.use("agg")  # figures go to files, never to a window
    return click.echo(agreement.compare_folders(_folder("DIR", folder), _folder("DIR_B", other), files))


@commands.command()
@click.argument("folder", metavar="DIR")
@click.option("--rounds", type=int, metavar="N", default=20, show_default=True, help="How often each is measured.")
@click.option("--threads", type=int, metavar="N", default=1, show_default=True, help="Threads of a run.")
@click.option("--out", metavar="FILE", help="Where the table goes. [default: DIR/cost.csv]")
def cost(folder: str, rounds: int, threads: int, out: str | None) -> None:
    """Measure what a study's orderings cost: seconds to fit and to evaluate beside the baseline's, and parameters.

    All of them are measured in turn on this machine, which should have nothing else to do. The summary of the study
    shows the table from then on. Instead of DIR, the name of a study whose runs ship with normlib may be given.

    \b
    normlib cost outputs/source
    normlib cost source --out source.csv
    """
    from normlib.files import write_atomically
    from normlib.report import export, tables
    from normlib.runs.cost import COST_FILE, measure_cost
    from normlib.studies.folder import output_folder
    from normlib.studies.results import kept_studies, read_folder, read_kept

    kept = folder in kept_studies() and not Path(folder).is_dir()
    results = read_kept(folder) if kept else read_folder(_folder("DIR", folder))
    path = None if kept else Path(os.path.relpath(output_folder(Path(folder)) / COST_FILE))
    path = path if out is None else Path(out)
    if path:
        export.check_file("DIR" if out is None else "out", path)
    sys.path.insert(0, "")  # models and kinds of one's own are found where the command is given, as in kernels
    results.cost = measure_cost(results.cost_instances, rounds, threads)
    if path:
        write_atomically(path, results.cost.to_csv(float_format="%.4f"))
    click.echo(f"{tables.cost_caption(results)}\n{tables.cost_table(results).to_string()}")
    if path:
        click.echo(path)


@commands.command()
@click.argument("study", default="source")
@click.option("--runs", type=int, metavar="N", default=3, show_default=True, help="How many, drawn at random.")
def verify(study: str, runs: int) -> None:
    """Train some kept runs of a study again, and say of each whether it gives what was kept.

    On the same processor, stack and number of threads a run is equal to the bit; elsewhere it has to lie inside the
    study's spread. Exit code 1 says that one does not.

    \b
    normlib verify source --runs 5
    """
    from normlib.studies import verification

    found = verification.verify(study, runs)
    click.echo(found.to_string(index=False, float_format="{:.6f}".format))
    click.echo(verification.conclude(found))
    if (found["verdict"] == verification.OUTSIDE).any():
        sys.exit(1)


@commands.command()
@click.argument("folder", metavar="DIR")
def notebooks(folder: str) -> None:
    """Copy normlib's notebooks into a folder, to open and change them. What is there already stays as it is.

    With them comes what pytest needs to compare their outputs with those of other machines.

    \b
    normlib notebooks my_notebooks
    jupyter lab my_notebooks
    pytest --nbval my_notebooks
    """
    from normlib import files
    from normlib.execution import notebook

    target = _folder("DIR", folder)
    files.check_writable(target, "DIR")
    there = notebook.notebook_path("instance").parent
    sources = [*sorted(there.glob("*.ipynb")), there / "conftest.py", there / "sanitize.cfg"]
    for path in sources:
        if (target / path.name).exists():
            raise RequestError("DIR", folder, problem=f"{path.name} is there already and would be overwritten")
    target.mkdir(parents=True, exist_ok=True)
    for path in sources:
        click.echo(shutil.copy(path, target))


def _list_studies() -> None:
    from normlib.report.sentences import plan_sentence
    from normlib.studies.results import earlier_runs
    from normlib.studies.study import read_study, shipped_studies

    for name in shipped_studies():
        plan = read_study(name)
        runs = len(plan.instances) * plan.seeds
        most = "at most " if plan.looks else ""
        click.echo(f"{name}: {most}{runs} runs ({len(plan.instances)} instances, {most}{plan.seeds} seeds each)")
        kept = earlier_runs(plan)
        texts = [plan.question, plan_sentence(plan, kept)]
        if kept:
            minutes = sum(sum(run.seconds.values()) for run in kept.runs) / 60
            places = ", ".join(dict.fromkeys(run.environment["processor"] for run in kept.runs))
            texts.append(f"It took {minutes:,.0f} minutes on one core of {places}.")
        for text in texts:
            click.echo(click.wrap_text(text, initial_indent="  ", subsequent_indent="  "))


def _summarize(folder: Path, exports: dict[str, str] | None = None, verbose: bool = False) -> None:
    """Write the summary of a folder, and say what was found and where the page is."""
    import matplotlib as mpl

    from normlib.execution import summary
    from normlib.files import write_atomically
    from normlib.report import answer, export, tables
    from normlib.studies.results import read_folder

    for kind, file in (exports or {}).items():
        export.check_file(kind, file)
        if kind == "csv":
            export.check_file(kind, export.contrasts_file(Path(file)))
    mpl.use("agg")  # figures go to files, never to a window
    results = read_folder(folder)
    paths = summary.write_summary(folder, results)
    exported: list[Path] = []
    for kind, file in (exports or {}).items():
        if kind == "html":
            exported.append(summary.export_html(folder / "summary.ipynb", Path(file)))
            continue
        written = export.csv_files(results, Path(file)) if kind == "csv" else {Path(file): export.to_latex(results)}
        for path, text in written.items():
            write_atomically(path, text)
        exported += written
    name, runs = results.study.name, results.runs
    click.echo(f"{name}: {len(runs)} run{'s' * (len(runs) != 1)}, {results.measure.phrase}")
    for line in answer.answer(results):
        click.echo(f"  {line}")
    if verbose:
        click.echo(tables.result_table(results).drop(columns="source's label", errors="ignore").to_string())
    if results.cost is None:
        click.echo(f"  What each ordering costs: normlib cost {folder} measures it.")
    for path in [*(paths if verbose else [folder / "summary.html"]), *exported]:
        click.echo(path)


def _folder(setting: str, path: str) -> Path:
    """Return a path; an empty one, such as an unset variable gives, would silently mean the present folder."""
    if not path:
        raise RequestError(setting, path, "a folder, such as outputs/source")
    return Path(path)


def main() -> None:
    """Run the command line; a wrong request ends in one line and exit code 2."""
    run(commands)
