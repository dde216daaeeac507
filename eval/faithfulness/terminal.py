"""What a terminal shows of a faithfulness study: while it goes on, on stderr, and the lines of its end."""

from collections import Counter
from collections.abc import Iterator, Sequence

from lalm_agent.eval.faithfulness.folder import FaithfulnessFolder
from lalm_agent.eval.faithfulness.records import Trial
from lalm_agent.eval.faithfulness.setup import FaithfulnessObserver
from lalm_agent.eval.faithfulness.study import FaithfulnessEstimate
from lalm_agent.eval.runs.terminal import TerminalObserver
from lalm_agent.records import Status
from lalm_agent.terminal import ProgressDisplay, duration, say


class StudyTerminal(TerminalObserver, FaithfulnessObserver):
    """Shows the evaluations of a study as `eval` does, and after them how many questions' trials are asked."""

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__()
        self._done, self._total, self._statuses = 0, 0, Counter[str]()

    def trials_started(self, done: int, total: int) -> None:
        """What is about to be asked."""
        self.__exit__()
        self._done, self._total = done, total
        if done < total:
            say(f"trials: of {total} questions with a reply, {total - done} are left")
            self._display = ProgressDisplay(done, total, "no trial yet")

    def trials_kept(self, trials: Sequence[Trial]) -> None:
        """How far it has come."""
        self._done += 1
        self._statuses.update(str(trial.status) for trial in trials)
        if self._display is not None:
            self._display.show(self._done, status_words(self._statuses))

    def study_interrupted(self, study: FaithfulnessFolder) -> None:
        """What is kept."""
        kept = f"the trials of {self._done} of {self._total} questions"
        self.note(f"kept {kept} in {study.path}; the same command goes on from there")

    def study_finished(self, study: FaithfulnessFolder, questions: int) -> None:
        """That there was nothing to do, where that is so."""
        self.__exit__()
        if not questions:
            say(f"nothing to do: all trials of {study.path} are there")


def status_words(statuses: Counter[str]) -> str:
    """Such as `answered 60, abstained 2, unparsed 1, failed 3`."""
    return ", ".join(f"{status} {statuses[status]}" for status in Status)


def study_lines(study: FaithfulnessFolder) -> Iterator[str]:
    """What came of a study, and what comes next."""
    trials, path = study.trials.values(), " ".join(str(study.path).split())
    lengths = Counter(len(chain.sentences) for chain in study.chains)
    by_length = ", ".join(f"{length} sentences {count}" for length, count in sorted(lengths.items()))
    yield f"{len(trials)} trials of {len(study.items)} questions"
    yield f"by status: {status_words(Counter(str(trial.status) for trial in trials))}"
    yield f"chains by length: {by_length or 'none'}"
    for name, reason in study.skipped.items():
        yield f"left out: {name}: {reason}"
    reasons = Counter(trial.failure for trial in trials if trial.failure is not None)
    for reason, count in reasons.most_common(3):
        yield f"failed {count} times: {reason}"
    yield f"study folder: {path}"
    yield f"next: lalm-agent faithfulness report {path}"


def estimate_lines(cost: FaithfulnessEstimate) -> Iterator[str]:
    """What `faithfulness DATA --dry-run` says."""
    yield f"questions left:    {cost.questions}"
    yield f"requests:          {'unknown' if cost.requests is None else cost.requests}"
    time = "unknown" if cost.seconds is None else f"{cost.seconds:.0f} ({duration(cost.seconds)})"
    yield f"estimated seconds: {time}"
    yield f"basis:             {cost.basis}"
