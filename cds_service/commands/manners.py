"""How every command ends on an error, and how its help shows examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from cds_service.errors import CdsError, SettingsError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def clear_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let every error of ours end *command* with its text and the right exit code."""

    @wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        except CdsError as error:
            raise click.ClickException(str(error)) from None

    return wrapped


def examples(*lines: str) -> str:
    """Return an epilog of example commands that click does not wrap."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
