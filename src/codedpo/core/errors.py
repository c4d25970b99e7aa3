"""The errors a person meets, and the exit code of each.

A bad program written by a model is data and never raises. What raises here is something that a person has
to mend: a config, a file, an endpoint, a machine that cannot isolate. Every message is one sentence that
names the place and the remedy.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line, documented in ``docs/cli.md``."""

    DONE = 0
    FAILURE = 1
    CONFIG = 2
    STALE = 3
    BACKEND = 4
    INTERRUPTED = 130


class CodedpoError(Exception):
    """An error with one clear sentence for the person who runs the command."""

    exit_code = ExitCode.FAILURE


class ConfigError(CodedpoError):
    """A config key, value, path or combination of options that cannot be used."""

    exit_code = ExitCode.CONFIG


class DataError(CodedpoError):
    """A file that is missing, torn, of another format, or not of the expected sha256."""

    exit_code = ExitCode.CONFIG


class StaleError(CodedpoError):
    """A stage whose stored result belongs to other inputs or options, or is only partly there."""

    exit_code = ExitCode.STALE


class BackendError(CodedpoError):
    """A model, endpoint, sandbox or worker that is unavailable or broken."""

    exit_code = ExitCode.BACKEND


class TooManyRejectsError(CodedpoError):
    """A stage that dropped more rows than its config allows."""
