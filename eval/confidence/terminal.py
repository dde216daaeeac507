"""What a terminal shows while the confidence of a run's answers is estimated."""

from typing import Any, Self

from lalm_agent.eval.confidence.estimate import ConfidenceFolder, ConfidenceObserver, ConfidenceStart
from lalm_agent.eval.confidence.records import EstimateRow
from lalm_agent.terminal import ProgressDisplay, say


class ConfidenceDisplay(ConfidenceObserver):
    """Says what is about to be estimated and shows how far it has come. A context manager."""

    _display: ProgressDisplay | None = None
    _done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None

    def note(self, text: str) -> None:
        """A line."""
        say(text)

    def started(self, start: ConfidenceStart) -> None:
        """Which answers, of which model, by which estimators."""
        identity = start.identity
        say(f"run: {identity.run.run_id}: {start.total} answers of {identity.run.model} on {start.device}")
        say(f"estimators: {', '.join(identity.estimators)}")
        if start.there:
            say(f"resume: {start.there} answers are estimated, {start.total - start.there} are left")
        self._done = start.there
        self._display = ProgressDisplay(start.there, start.total, "answers estimated")

    def estimated(self, row: EstimateRow) -> None:
        """How far it has come."""
        self._done += 1
        if self._display is not None:
            self._display.show(self._done, "answers estimated")

    def finished(self, folder: ConfidenceFolder) -> None:
        """Where the estimates are."""
        self.__exit__()
        say(f"estimates of {len(folder.rows)} answers: {folder.path}")
