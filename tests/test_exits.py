"""How commands end, in this process; real commands are in test_cli.py, all that is refused in test_bad_input.py."""

import errno
import sys
import warnings

import click
import pytest

from normlib import cli


@click.group(cls=cli.Commands)
def commands():
    """Commands that do one thing each."""


@pytest.fixture
def end(monkeypatch, capsys):
    """Return a function that runs a command doing something, and returns its exit code and what it said."""

    def end(do, *arguments):
        monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # to have it back
        monkeypatch.setitem(commands.commands, "do", click.command("do")(do))
        monkeypatch.setattr(sys, "argv", ["normlib", "do", *arguments])
        code = 0
        try:
            cli.run(commands)
        except SystemExit as ended:
            code = ended.code
        return code, capsys.readouterr().err

    return end


def raise_(error):
    def do():
        raise error

    return do


def test_what_is_done_is_exit_code_0(end):
    assert end(lambda: None) == (0, "")


def test_what_the_machine_does_is_one_line_and_exit_code_1(end):
    full = OSError(errno.ENOSPC, "No space left on device", "outputs/a/records/b.json")
    code, said = end(raise_(full))
    assert (code, said) == (
        1,
        "normlib: OSError: [Errno 28] No space left on device: 'outputs/a/records/b.json'\n",
    )


def test_an_interruption_is_exit_code_130_and_says_how_to_go_on(end):
    code, said = end(raise_(KeyboardInterrupt()))
    assert (code, said.strip()) == (130, "interrupted: what is finished is kept; the same command goes on")


def test_a_warning_is_one_line_without_the_line_of_code_that_gave_it(end):
    """As it is formatted; pytest keeps what is warned for itself."""
    end(lambda: None)
    assert (
        warnings.formatwarning(UserWarning("left out\na.json"), UserWarning, "a.py", 1) == "normlib: left out a.json\n"
    )


def test_what_the_terminal_would_obey_is_written_out(end):
    _, said = end(raise_(OSError("\x1b]0;mine\x07\x1b[2J\u202egnp.exe")))
    assert said == "normlib: OSError: \\x1b]0;mine\\x07\\x1b[2J\\u202egnp.exe\n"


def test_an_unknown_option_is_named_with_those_that_there_are(end):
    code, said = end(lambda: None, "--hlep")
    assert (code, said) == (2, "normlib: option is '--hlep', but must be --help (did you mean '--help'?)\n")
