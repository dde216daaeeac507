"""Scorers by their names, with the models that some of them ask."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lalm_agent.errors import LalmError
from lalm_agent.eval.grade import Scorer
from lalm_agent.eval.scorers import make_scorer, model_ref
from lalm_agent.models.base import LALM


def reply_file(folder: Path, name: str) -> Path:
    """The file in a folder that keeps what a scorer's model replied."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:60]}-{digest}.jsonl"


def make_scorers(
    names: Sequence[str],
    load: Callable[[str], LALM],
    file_of: Callable[[str], Path | None],
    observer: Callable[[str], None],
) -> list[Scorer]:
    """The scorers, each once; two of them that name one model share it.

    load: a model by its reference. file_of: the file that keeps a scorer's replies, None to keep none.
    observer: is told when a model is loaded, and some twenty times how far a scorer is.

    Raises:
        UsageError: a name that is none, or a model that does not exist.
        DataError: a model that cannot be loaded.
    """
    refs = {name: model_ref(name) for name in names}
    models = {}
    for ref in dict.fromkeys(ref for ref in refs.values() if ref is not None):
        observer(f"loading {ref}")
        models[ref] = load(ref)

    def progress(name: str) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            if done == total or done % max(1, total // 20) == 0:
                observer(f"  {name}: {done} of {total} asked")

        return tell

    return [
        make_scorer(name, models[ref] if ref else None, file_of(name) if ref else None, progress(name))
        for name, ref in refs.items()
    ]


def scorer_failure(scorers: Sequence[Scorer]) -> LalmError | None:
    """What the model of a scorer failed at, as an error; the last one where several did."""
    from lalm_agent.eval.scorers.llm import LLMScorer

    failure = None
    for scorer in scorers:
        trouble = scorer.trouble if isinstance(scorer, LLMScorer) else None
        if trouble is not None:
            hints = [trouble.error.hint] if trouble.error.hint else []
            hint = ", then ".join([*hints, "the same command again asks only for what is missing"])
            what = f"{scorer.name} failed on {trouble.failed} replies: {trouble.error.message}"
            failure = type(trouble.error)(what, hint)
    return failure
