"""What came of a draft, as HTML: all that a model, a file or a person wrote is text in it, escaped and isolated."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

from lalm_agent.records import Step
from lalm_agent.terminal import printable
from lalm_agent.web.workbench import Trial, difference

LONGEST = 2000
"""Characters of a text that are shown without a click."""


def shown(
    trial: Trial | None = None,
    reference: Trial | None = None,
    steps: Sequence[Step] | None = None,
    error: str | None = None,
) -> str:
    """The page's part about one trial, beside what it is compared with.

    reference: the trial before; alone it is shown itself. steps: those so far of a trial that has not ended.
    """
    change = None if trial is None or reference is None else difference(reference, trial)
    alone = trial or (reference if steps is None else None)
    single = [] if alone is None else [(choice, None, p) for choice, p in alone.probabilities.items()]
    values = {"change": change, "single": single, "facts": facts, "most": LONGEST}
    return str(_template().render(trial=trial, reference=reference, steps=steps, error=error, **values))


def facts(trial: Trial) -> Iterator[tuple[str, str]]:
    """(name, value) of what is known of an answer beside its steps, for a person."""
    answer, setup = trial.answer, trial.setup
    if answer.abstention is not None:
        yield "refusal", answer.abstention.words
    if answer.reason:
        yield "reason", f"{answer.reason_kind.words}: {answer.reason}" if answer.reason_kind else answer.reason
    told = {"withheld": answer.withheld, "try": answer.suggestion}
    if answer.failure is not None:
        told["failure"] = ": ".join(filter(None, (answer.failure.message, answer.failure.hint)))
    if answer.confidence is not None:
        told["confidence"] = f"{answer.confidence:.3f}"
    told |= {"audio type": answer.audio_type, "clip": setup.clip, "heard": _heard(trial)}
    told |= {"asked": ", ".join([setup.model, f"method {setup.method}", *(f"{n}={t}" for n, t in setup.tools.items())])}
    yield from ((name, value) for name, value in told.items() if value)
    yield from (("warning", warning) for warning in answer.warnings)


def _heard(trial: Trial) -> str:
    (start, end), seconds = trial.answer.heard_s, trial.answer.audio.seconds
    return f"{start:.1f} to {end:.1f} s of {seconds:.1f} s" if end else ""


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["safe_text"] = printable
    return environment.from_string(resources.files(__package__).joinpath("answer.html.j2").read_text("utf-8"))
