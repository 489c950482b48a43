"""What is said of a run when it is asked for, checked before anything of it begins.

Invariant: what does not fit is told as what was given, and never as a fault of the definition or of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmspell_hookspecs.errors import InvalidInputError, ResourceLimitError, text_of_error
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.spelling import told
from llmspell_plugins.kinds.hiding import exact
from llmspell_plugins.services.state_value import encode

from .archive import print_of
from .reading import check_id
from .records import Records
from .shared import MAX_BYTES

__all__ = ["check_resume", "check_run", "encoded", "input_of"]


def check_run(name: str, run_id: Any, durable: Any) -> None:
    """Refuse what is no id, and what does not say whether a run is kept.

    Args:
        name: The workflow's.
        run_id: The run's; empty if it is to be made up.
        durable: True, False or None.

    Raises:
        InvalidInputError: One of them does not fit.
    """
    if run_id != "":
        check_id(run_id)
    if durable is not None:
        _check_switch(f"workflow {name}", "durable", durable)


def check_resume(run_id: Any, verdicts: Any, **switches: Any) -> None:
    """Refuse what is no id, no verdicts, and what is neither True nor False.

    Raises:
        InvalidInputError: One of them does not fit.
    """
    check_id(run_id)
    where = f"workflow run {run_id}"
    for name, given in switches.items():
        _check_switch(where, name, given)
    if verdicts is None:
        return
    if not isinstance(verdicts, Mapping):
        message = f"{where}: verdicts are {told(verdicts)}; give a mapping of paths to Verdict"
        raise InvalidInputError(message, field="verdicts")
    for path, verdict in verdicts.items():
        if not isinstance(verdict, Verdict):
            message = f"{where}: the verdict of {told(path)} is {told(verdict)}; give Verdict('again'), skip or done"
            raise InvalidInputError(message, field="verdicts")


def input_of(name: str, given: Any) -> Any:
    """Return what a workflow is given as it was before it was hidden.

    Raises:
        InvalidInputError: It holds itself, or has too many levels.
    """
    try:
        return exact(given)
    except InvalidInputError as error:
        message = f"workflow {name}: its input: {text_of_error(error).removeprefix('value: ')}"
        raise InvalidInputError(message, field="input") from None


def encoded(writer: Records, name: str, definition: Mapping[str, Any], input: Any) -> bytes:
    """Return what is written of a run that begins.

    Raises:
        InvalidInputError: The input, or else the definition, is none that can be kept.
        ResourceLimitError: It is too large.
    """
    try:
        return writer.encoded_definition(definition, input, print_of(definition))
    except (InvalidInputError, ResourceLimitError):
        encode(f"workflow {name}: input", input, MAX_BYTES)  # raises if that is what cannot be kept
        raise


def _check_switch(where: str, name: str, given: Any) -> None:
    if not isinstance(given, bool):
        raise InvalidInputError(f"{where}: {name} is {told(given)}; give True or False", field=name)
