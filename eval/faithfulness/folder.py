"""The folder of a faithfulness study: what the study is, its chains, and every trial that was asked.

    spec.json        what the study is: `FaithfulnessSpec`. Replaced as a whole.
    chains/          the run that gave the chains: the model's own replies (method mcot), as `eval` leaves it.
    perturbed.jsonl  what the perturber made of sentences, a line each: `records.Perturbed`.
    trials.jsonl     the trials, a line each: `records.Trial`. Of several lines of one trial the last counts.
    runs/            of a study of the agent, in place of chains/: a run for each condition, own/ without a change.
    lock             held by the process that asks.

The chains are not stored: they are read off the replies in chains/.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from lalm_agent import artefacts
from lalm_agent.errors import DataError
from lalm_agent.eval.faithfulness.chains import chain_of, sentences
from lalm_agent.eval.faithfulness.plan import Levels
from lalm_agent.eval.faithfulness.records import OWN, Chain, ChainUse, Intervention, Perturbed, StudyData, Trial
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.records import DataIdentity, StoredAnswer
from lalm_agent.records import Method, Status

SCHEMA = 1
"""Version of `spec.json`. A reader refuses a newer one."""
CHAINS, RUNS, TRIALS, PERTURBED_LINES = "chains", "runs", "trials.jsonl", "perturbed.jsonl"
SELF = "self"
"""The perturber that is the model itself."""
TrialKey = tuple[str, str, str, str, float | None, int | None]
PerturbedKey = tuple[str, Intervention, int]


class FaithfulnessIdentity(artefacts.Identity):
    """What decides the trials of a study.

    method: mcot for chains of thought, agent for its middle step. limit: the first so many questions; a larger one
    makes the study grow, and asks again where the chain of another question is another.
    interventions: those beside the controls.
    perturber: `self`, or a model's reference; None where no intervention needs one. prompts: sha256 of each prompt.
    """

    free: ClassVar[frozenset[str]] = frozenset({"limit"})
    when_loaded: ClassVar[frozenset[str]] = frozenset(
        {"revision", "weights_sha256", "adapter_sha256", "dtype", "perturber_sha256"}
    )

    model: str
    revision: str | None
    weights_sha256: str | None
    adapter_sha256: str | None
    dtype: str
    hears_audio: bool
    method: Method
    max_new_tokens: int
    temperature: float
    seed: int
    max_audio_s: float
    data: DataIdentity
    modality: tuple[str, ...]
    limit: int | None
    interventions: tuple[str, ...]
    levels: Levels
    perturber: str | None
    perturber_sha256: str | None
    prompts: dict[str, str]


class FaithfulnessSpec(artefacts.Record):
    """`spec.json`.

    data_version: what the data files are known as, in words. scores: whether the model gives the probabilities of
    options. counts_tokens: whether filler is matched by the model's own tokens; else by words. skipped: interventions
    that the data do not allow, with the reason.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    study_id: str
    created: str
    identity: FaithfulnessIdentity
    data_version: str | None
    scores: bool
    counts_tokens: bool
    skipped: Mapping[str, str] = Field(default_factory=dict)
    sessions: tuple[artefacts.Invocation, ...]


class FaithfulnessFolder(artefacts.Folder):
    """A study's folder, held by this process alone; with `writes=False` it is only read.

        study = open_study(Path("study"))
        own = {chain.question: chain.choice for chain in study.chains}

    spec: what is there, None for a new study. items: the questions in the order of asking.
    perturbed, trials: so far, by their keys.
    """

    _HINT = "is this the folder of a faithfulness study?"
    kind = artefacts.FolderKind("study", "is asking the questions of", form=FaithfulnessSpec, hint=_HINT)
    spec: FaithfulnessSpec | None

    def __init__(self, path: Path, writes: bool = True) -> None:
        """Look at nothing yet."""
        super().__init__(path, writes)
        self.perturbed: dict[PerturbedKey, Perturbed] = {}
        self._trials: dict[TrialKey, Trial] = {}

    def read(self) -> None:
        """Read what is there. Raises UsageError where the folder holds something else, DataError for damaged files."""
        if not self._writes:
            self._refuse_other_contents()
        super().read()
        if self.spec is not None:
            hint = "its files are not to be changed by hand"
            lines = artefacts.read_rows(self.path / PERTURBED_LINES, Perturbed, hint)
            self.perturbed = {(line.question, line.kind, line.position): line for line in lines}
            self._trials = {trial.key: trial for trial in artefacts.read_rows(self.path / TRIALS, Trial, hint)}

    def check(self, identity: FaithfulnessIdentity, loaded: bool = True) -> None:
        """Raise MismatchError, with all differences, where the folder is another study's.

        loaded: whether the fields that only a loaded model knows are known; without, they are not compared.
        """
        changes = self.spec.identity.changes(identity, loaded) if self.spec else []
        if changes:
            raise artefacts.MismatchError(self.path, changes, "study")

    def begin(self, spec: FaithfulnessSpec) -> None:
        """Write what the study is, before its first question, or that it goes on.

        Raises MismatchError as `check`, and StorageError where it cannot be written.
        """
        self.check(spec.identity)
        before = self.spec
        if before is not None:
            spec = spec.model_copy(update={"created": before.created, "sessions": (*before.sessions, *spec.sessions)})
        artefacts.write_record(self.path / artefacts.SPEC, spec)
        self.spec = spec

    def keep(self, perturbed: Iterable[Perturbed], trials: Iterable[Trial]) -> None:
        """Append; one thread at a time. Raises StorageError on a full disk."""
        for line in perturbed:
            self.append_to(PERTURBED_LINES, line)
            self.perturbed[line.question, line.kind, line.position] = line
        for trial in trials:
            self.append_to(TRIALS, trial)
            self._trials[trial.key] = trial

    # --- what the study gave ------------------------------------------------------------------------------------------

    @property
    def identity(self) -> FaithfulnessIdentity:
        """What decides the trials. Raises DataError where the study has not begun."""
        return self._begun.identity

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The questions in the order of asking."""
        name = f"{RUNS}/{OWN}" if self.is_of_agent else CHAINS
        return tuple(run_item.item for run_item in self.run(name).items)

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """What the model reasoned in its own reply to each question that it answered; of an agent the content."""
        if self.is_of_agent:
            answers = self.run(f"{RUNS}/{OWN}").answers.values()
            return tuple(chain_from(answer, sentences(answer.content or "")) for answer in answers)
        return tuple(chains_of(self.run(CHAINS)))

    @property
    def trials(self) -> Mapping[TrialKey, Trial]:
        """The trials so far."""
        return self._trials

    @property
    def is_of_agent(self) -> bool:
        """Whether the agent's middle step is what is changed."""
        return self.identity.method is Method.AGENT

    def run(self, name: str) -> RunFolder:
        """A run in the folder, only read; empty where it has not begun."""
        with RunFolder(self.path / name, writes=False) as run:
            return run

    @property
    def skipped(self) -> Mapping[str, str]:
        """Interventions that the data did not allow, with the reason."""
        return self._begun.skipped

    @property
    def data(self) -> StudyData:
        """What the measures are computed from."""
        name = self.path.resolve().name
        return StudyData(name, self.items, self.chains, tuple(self.trials.values()), self.facts)

    @property
    def facts(self) -> dict[str, str]:
        """What a report says of the study, in words."""
        spec, identity = self._begun, self.identity
        perturber = identity.perturber or "none"
        if identity.perturber == SELF:
            perturber = f"{identity.model}, the model itself"
        return {
            "study": spec.study_id,
            "model": f"{identity.model}@{identity.revision}" if identity.revision else identity.model,
            "weights": identity.weights_sha256 or "unknown",
            **({"adapter": identity.adapter_sha256} if identity.adapter_sha256 else {}),
            "dtype": identity.dtype,
            "method": str(identity.method),
            "decoding": f"max_new_tokens={identity.max_new_tokens}, temperature={identity.temperature:g}",
            "data": spec.data_version or f"{identity.data.name} {identity.data.sha256[:12]}",
            "questions": str(len(self.items)),
            "interventions": ", ".join(identity.interventions),
            **{f"left out: {name}": reason for name, reason in spec.skipped.items()},
            "perturber": perturber,
            "filler": "as many tokens of the model" if spec.counts_tokens else "as many words between white space",
            "probabilities": "of the options, length-normalised" if spec.scores else "none: the model gives no scores",
        }

    @property
    def _begun(self) -> FaithfulnessSpec:
        if self.spec is None:
            raise DataError(f"{self.path} holds no study", "give the --out of lalm-agent faithfulness DATA")
        return self.spec


def open_study(path: str | Path) -> FaithfulnessFolder:
    """A study to read, while it goes on or after. Raises DataError where there is none, or it is damaged."""
    with FaithfulnessFolder(Path(path), writes=False) as folder:
        folder.identity  # noqa: B018 - refuses a folder without a study
    return folder


def chains_of(run: RunFolder) -> list[Chain]:
    """The chains of a run's replies, in the order of asking; none of a question that failed."""
    answers = [(run_item.item, run.answers.get((run_item.item.id, 0))) for run_item in run.items]
    return [
        chain_from(answer, chain_of(answer.raw or answer.reply or "", item.choices)[0])
        for item, answer in answers
        if answer is not None and answer.status is not Status.FAILED
    ]


def chain_from(answer: StoredAnswer, chain: tuple[str, ...]) -> Chain:
    """A chain as a record, with what the whole reply concluded."""
    return Chain(
        question=answer.id,
        sentences=chain,
        reply=answer.reply or "",
        status=answer.status,
        choice=answer.choice,
        clip=answer.audio_sha256,
    )


def trial_from(answer: StoredAnswer, n: int, **fields: Any) -> Trial:
    """An agent's answer as a trial. n: sentences of its own content."""
    return Trial(
        question=answer.id,
        use=ChainUse.FIXED,
        sentences=n,
        prefix=answer.content or "",
        status=answer.status,
        choice=answer.choice,
        text=answer.reply or "",
        failure=answer.failure.message if answer.failure else None,
        **fields,
    )
