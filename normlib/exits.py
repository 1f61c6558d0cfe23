"""How a command ends: whatever is wrong is told in one line, never by a traceback.

Exit codes: 0, all is done; 1, some runs failed; 2, the request was wrong and nothing was written; 130, interrupted.
"""

from __future__ import annotations

import sys
import warnings

import click

from normlib.errors import RequestError, one_line


class Commands(click.Group):
    """Refuses an unknown command in the words in which all else is refused."""

    def get_command(self, context: click.Context, name: str) -> click.Command:
        """Return a command by its name."""
        if name not in self.commands:
            raise RequestError("command", name, ", ".join(self.commands), names=self.commands)
        return self.commands[name]


def run(commands: click.Group) -> None:
    """Run the command that the command line names, and exit where it was wrong, failed or was interrupted."""
    warnings.formatwarning = lambda message, *_, **__: f"normlib: {one_line(str(message))}\n"
    try:
        commands(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.NoSuchOption as error:
        parameters = error.ctx.command.get_params(error.ctx) if error.ctx else []
        known = [name for parameter in parameters for name in parameter.opts]
        known = [name for name in known if name.startswith("--")]
        _end(RequestError("option", error.option_name, ", ".join(known), names=known), 2)
    except click.ClickException as error:
        _end(error.format_message(), 2)
    except RequestError as error:
        _end(error, 2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: what is finished is kept; the same command goes on", err=True)
        sys.exit(130)
    except (OSError, RuntimeError) as error:
        _end(f"{type(error).__name__}: {error}", 1)


def _end(reason: object, code: int) -> None:
    click.echo(f"normlib: {one_line(str(reason))}", err=True)
    sys.exit(code)
