"""Where did an adapter learn it? What a study's adapters change at the token where a reply begins.

    from lalm_agent.training.transfer.mechanism import MechanismRequest, measure
    measure(MechanismRequest(out="study"))

One forward pass for each question and adapter, and for the model alone: the attention on audio, question and choice
tokens by layer and head, and the last hidden state. Then questions that the adapter refuses are asked again without the
update of one layer after another. An adapter's record is written when all of it is there; the same call goes on after a
kill with the next adapter. `mechanism_report` says what it shows.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lalm_agent.artefacts import Record, StorageError, read_record, write_record, write_whole
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Outcome, grade
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.metrics.counts import ABSTAINED
from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.eval.runs.plan import order_key
from lalm_agent.eval.runs.records import read_spec as read_run_spec
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_loading import adapter_files, find_weights, weights_sha256
from lalm_agent.terminal import ProgressDisplay, say
from lalm_agent.training.transfer.cells import Grid, read_grid
from lalm_agent.training.transfer.design import BASELINE, SOURCES, Job, StudyFolder, StudySpec, jobs_of

if TYPE_CHECKING:
    from lalm_agent.models.hf_engine import InputCache, PreparedRequest, TransformersLALM
    from lalm_agent.training.lora.model import Base

SCHEMA = 1
ABLATED = 30
"""Refused questions of a modality that are asked again without a layer's update."""
CHECKED = 8
"""Questions of an adapter whose logits are compared with those of the normal pass."""
FOLDER = "mechanism"


class MechanismRequest(Record):
    """What `measure` is to do.

    out: a study's folder. limit: most questions of a modality, in the order of a hash of their ids. config: where the
    model runs; what is asked, and of which model, is the study's. audio_root: the clips; None for where they were.
    batch_size: replies at a time.
    """

    out: Path
    limit: int = Field(default=100, ge=1)
    config: AgentConfig = AgentConfig()
    audio_root: Path | None = None
    batch_size: int = Field(default=8, ge=1)


class LayerAblation(Record):
    """An adapter without its update in one layer. refused: ids of `MechanismRecord.ablated` that it still refuses."""

    layer: str
    refused: tuple[str, ...]


class MechanismRecord(Record):
    """What was measured of an adapter, or of the model alone; the arrays lie beside it in `NAME.npz`.

    questions: ids, in the order of the arrays. unlocated: class of tokens -> questions in whose prompt it was not
    located, or is not there. logit_difference: the largest from the pass without eager attention, as a share of the
    largest logit. ablated: ids of the refused questions that were asked without a layer's update.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    name: str
    weights_sha256: str
    adapter_sha256: str | None
    questions: tuple[str, ...]
    unlocated: dict[str, int]
    logit_difference: float
    arrays_sha256: str
    ablated: tuple[str, ...] = ()
    layers: tuple[LayerAblation, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A record with its arrays. mass: (n, 3, layers, heads) float32, NaN unlocated. hidden: (n, size) float32."""

    record: MechanismRecord
    mass: NDArray[np.float32]
    hidden: NDArray[np.float32]


class MechanismObserver:
    """Is told how the measuring goes. Every method does nothing here."""

    def note(self, text: str) -> None:
        """What happens now, in one line."""

    def passed(self, done: int, total: int, text: str) -> None:
        """So many of all passes are done. text: who is asked."""


class MechanismDisplay(MechanismObserver):
    """Says it on stderr; a context manager, which takes the bar away."""

    def __init__(self) -> None:
        self._bar: ProgressDisplay | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def note(self, text: str) -> None:
        """Say a line."""
        say(text)

    def passed(self, done: int, total: int, text: str) -> None:
        """Move the bar, or say a line about every ten seconds."""
        self._bar = self._bar or ProgressDisplay(done, total, text)
        self._bar.show(done, text)


# --- what is asked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class AskedQuestions:
    """The n questions of a study that all its adapters are asked. grid: its runs. places: (n,) of them in the grid.

    modality: (n,) places in `SOURCES`.
    """

    grid: Grid
    places: NDArray[np.int64]
    modality: NDArray[np.int64]

    @property
    def items(self) -> list[Item]:
        """The questions, as they were shown."""
        return [self.grid.graded.items[place] for place in self.places]

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the questions."""
        return tuple(item.id for item in self.items)

    def refused(self, job: Job) -> list[int]:
        """The first `ABLATED` questions of each modality that an adapter refused, by their places in (n,)."""
        own = np.flatnonzero(self.grid.after[job][self.places] == ABSTAINED)
        by_modality = [own[self.modality[own] == number][:ABLATED] for number in range(len(SOURCES))]
        return [int(place) for part in by_modality for place in part]


def asked_questions(folder: StudyFolder, spec: StudySpec, limit: int | None = None) -> AskedQuestions:
    """At most `limit` questions of each modality about clips that no adapter was trained on.

    Raises:
        DataError: as `read_grid`; or no adapter has a finished run, or no question is left.
    """
    grid = read_grid(folder, folder.run, jobs_of(spec.seeds))
    if not grid.after:
        raise DataError(f"{folder.path} has no adapter with a finished run", "let lalm-agent transfer go on first")
    unseen = ~np.any(list(grid.on_set_clips.values()), axis=0)
    chosen: list[tuple[int, int]] = []
    for number, source in enumerate(SOURCES):
        own = sorted((p for p in grid.places(source)[0] if unseen[p]), key=lambda p: order_key(grid.graded.items[p]))
        chosen += [(int(place), number) for place in own[:limit]]
    if not chosen:
        raise DataError(
            f"{folder.path} asks no question about sound, music or speech on a clip that no adapter was trained on",
            "make the study with other --data",
        )
    places, modality = np.array(chosen, np.int64).T
    return AskedQuestions(grid, places, modality)


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(request: MechanismRequest, observer: MechanismObserver | None = None) -> tuple[MechanismRecord, ...]:
    """Measure what is left of a study's adapters; the records of all of them, that of the model alone first.

    Raises:
        UsageError: the folder holds something else, or another process works on it.
        DataError: it is no study, has no finished run, its model or clips are others now, or nothing can be written.
        BackendError: the model cannot be loaded, or gives no attention.
    """
    observer = observer or MechanismObserver()
    with StudyFolder(request.out, writes=False) as folder:
        study_spec(folder)
    with StudyFolder(request.out) as folder, ExitStack() as stack:
        measuring = _Measuring(request, folder, observer, stack)
        jobs: list[Job | None] = [None, *measuring.asked.grid.after]
        left = [job for job in jobs if measuring.kept(job) is None]
        if left:
            observer.note(f"{len(left)} of {len(jobs)} to measure, {len(measuring.asked.places)} questions each")
        else:
            observer.note(f"nothing to measure: all {len(jobs)} are done")
        for number, job in enumerate(left):
            measuring.measure(job, number, len(left))
        return tuple(record for job in jobs if (record := measuring.kept(job)) is not None)


def study_spec(folder: StudyFolder) -> StudySpec:
    """The spec of a study that was read. Raises DataError where there is none."""
    if folder.spec is None:
        raise DataError(f"{folder.path} is no study", "give the --out folder of lalm-agent transfer")
    return folder.spec


def record_path(folder: StudyFolder, job: Job | None) -> Path:
    """Where an adapter's record lies; its arrays lie beside it."""
    return folder.path / FOLDER / f"{BASELINE if job is None else job.name}.json"


def read_measured(path: Path) -> Measured:
    """A record with its arrays. Raises DataError where one of them is missing, damaged, or of another measuring."""
    hint = "remove it, and lalm-agent transfer mechanism measures it again"
    record, arrays = read_record(path, MechanismRecord, hint), path.with_suffix(".npz")
    try:
        data = arrays.read_bytes()
    except OSError as error:
        raise DataError(f"{arrays} cannot be read: {error.strerror or error}", hint) from error
    if hashlib.sha256(data).hexdigest() != record.arrays_sha256:
        raise DataError(f"{arrays} does not belong to {path.name}", hint)
    with np.load(io.BytesIO(data), allow_pickle=False) as parts:
        return Measured(record, parts["mass"], parts["hidden"])


class _Measuring:
    """Measures one adapter after another, with the weights loaded once."""

    def __init__(
        self, request: MechanismRequest, folder: StudyFolder, observer: MechanismObserver, stack: ExitStack
    ) -> None:
        self._request, self._folder, self._observer, self._stack = request, folder, observer, stack
        self._spec = study_spec(folder)
        self.asked = asked_questions(folder, self._spec, request.limit)
        self._run = read_run_spec(folder.run(None) / "spec.json")
        self._stored = read_answers(folder.run(None))

    def kept(self, job: Job | None) -> MechanismRecord | None:
        """The record that is there, of these questions and this adapter."""
        path = record_path(self._folder, job)
        if not path.is_file():
            return None
        record = read_measured(path).record
        same = (record.questions, record.weights_sha256, record.adapter_sha256)
        return record if same == (self.asked.ids, self._spec.identity.weights_sha256, self._adapter_sha(job)) else None

    def _adapter_sha(self, job: Job | None) -> str | None:
        return None if job is None else weights_sha256(adapter_files(self._folder.adapter(job)))

    @cached_property
    def _base(self) -> "Base":
        from lalm_agent.training.transfer.worker import load_for_adapters

        identity, asked = self._spec.identity, self._request.config
        changes = {"model": identity.model, "dtype": self._run.identity.dtype}
        if find_weights(identity.model, asked.allow_pickle)[1] != identity.weights_sha256:
            raise DataError(f"{identity.model} has other weights than the study was made with", "restore them")
        self._observer.note("loading the model")
        return load_for_adapters(asked.model_copy(update=changes), identity.recipe, self._stack)

    @cached_property
    def _inputs(self) -> "InputCache":
        from lalm_agent.models.hf_engine import InputCache
        from lalm_agent.training.transfer.worker import INPUT_BYTES

        return InputCache(self._base.checkpoint, INPUT_BYTES)

    @cached_property
    def _lalm(self) -> "TransformersLALM":
        from lalm_agent.models.hf_engine import TransformersLALM

        name = self._spec.identity.model
        return TransformersLALM(self._base.checkpoint, self._request.batch_size, name, self._inputs)

    @cached_property
    def _prepared(self) -> list["PreparedRequest"]:
        """Every question as the runs asked it, with its clip."""
        from lalm_agent.models.hf_engine import prepare

        return prepare(list(self._requests()), self._base.hearing)

    def _requests(self) -> Iterator[Request]:
        roots = [session.audio_root for session in self._run.sessions if session.audio_root is not None]
        root, decoding = self._request.audio_root or Path(roots[-1] if roots else "."), Decoding(self._max_new_tokens)
        for item in self.asked.items:
            stored = self._stored[item.id, 0]
            sound = load(audio_file(root, item.audio), self._run.identity.max_audio_s)
            if stored.prompt is None or stored.audio_sha256 != sound.ref.sha256:
                raise DataError(f"the clip {item.audio!r} is another recording than the study's", "give --audio-root")
            yield Request((Turn("user", stored.prompt),), sound, decoding)

    @property
    def _max_new_tokens(self) -> int:
        return self._spec.identity.max_new_tokens

    def measure(self, job: Job | None, number: int, of: int) -> None:
        """Measure one adapter, number `number` of `of`, and write its record."""
        from lalm_agent.training.transfer import attention

        _ = self._lalm  # it protects the prompts from control tokens, and remembers clips
        checkpoint, name = self._base.checkpoint, BASELINE if job is None else job.name
        checkpoint.adapters.drop()
        adapter: str | None = None
        if job is not None:
            adapter = checkpoint.adapters.add(self._folder.adapter(job), checkpoint.info.ref)
        n, unlocated = len(self._prepared), dict.fromkeys(attention.CLASSES, 0)
        mass, hidden, logits = (list[NDArray[np.float32]]() for _ in range(3))
        with attention.eager_attention(checkpoint.model):
            for place, (prepared, item) in enumerate(zip(self._prepared, self.asked.items, strict=True)):
                inputs = self._inputs.of(prepared)
                start = attention.reply_start(checkpoint, adapter, inputs)
                classes = self._classes(item, prepared, inputs["input_ids"][0].tolist())
                for kind, own in zip(attention.CLASSES, classes, strict=True):
                    unlocated[kind] += own is None
                mass.append(attention.masses(start.weights, classes))
                hidden.append(start.hidden)
                logits += [start.logits] if place < CHECKED else []
                self._observer.passed(number * n + place + 1, of * n, name)
        checked = [self._inputs.of(prepared) for prepared in self._prepared[:CHECKED]]
        differences = [
            attention.eager_difference(checkpoint, adapter, *pair) for pair in zip(checked, logits, strict=True)
        ]
        ablated = [] if job is None else self.asked.refused(job)
        layers = () if job is None else tuple(self._ablations(job, ablated))
        self._write(
            job,
            {"mass": np.stack(mass), "hidden": np.stack(hidden)},
            unlocated=unlocated,
            logit_difference=max(differences),
            ablated=tuple(self.asked.items[place].id for place in ablated),
            layers=layers,
        )

    def _classes(self, item: Item, prepared: "PreparedRequest", ids: Sequence[int]) -> tuple[Any, ...]:
        from lalm_agent.training.transfer.attention import token_classes

        decode = self._base.checkpoint.processor.tokenizer.decode
        prompt = prepared.request.turns[-1].text
        return token_classes(ids, self._base.hearing.audio_token_id, decode, prompt, item.question.strip())

    def _ablations(self, job: Job, places: Sequence[int]) -> Iterator[LayerAblation]:
        """Ask the refused questions without the update of each layer."""
        from lalm_agent.training.transfer import attention

        if not places:
            return
        folder, checkpoint = self._folder.adapter(job), self._base.checkpoint
        adapter = checkpoint.adapters.add(folder, checkpoint.info.ref)
        requests, items = [self._prepared[place].request for place in places], self.asked.items
        for layer, modules in attention.adapted_layers(checkpoint.model, adapter).items():
            self._observer.note(f"  {job.name}: {len(places)} refused questions without its update of layer {layer}")
            # A model of its own for each layer: what is kept of a prompt was computed with all the others.
            with attention.without_update(modules, adapter):
                replies = self._lalm.with_adapter(folder).generate(requests)
            pairs = zip(places, (reply.completions[0].text for reply in replies), strict=True)
            refused = [place for place, text in pairs if grade(items[place], text).outcome is Outcome.ABSTAINED]
            yield LayerAblation(layer=layer, refused=tuple(items[place].id for place in refused))

    def _write(self, job: Job | None, arrays: dict[str, NDArray[np.float32]], **fields: Any) -> None:
        path, file = record_path(self._folder, job), io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        data = file.getvalue()
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path.parent} cannot be made: {error.strerror or error}", "another folder") from error
        # The record is what says that the arrays are whole, and so comes last.
        path.unlink(missing_ok=True)
        write_whole(path.with_suffix(".npz"), data)
        record = MechanismRecord(
            name=BASELINE if job is None else job.name,
            weights_sha256=self._spec.identity.weights_sha256,
            adapter_sha256=self._adapter_sha(job),
            questions=self.asked.ids,
            arrays_sha256=hashlib.sha256(data).hexdigest(),
            **fields,
        )
        write_record(path, record)
