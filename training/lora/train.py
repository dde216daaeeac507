"""`train`: a LoRA on the answering model, from rows of IDK data; what can be is checked before a model is loaded.

    from lalm_agent.training import TrainRequest, train

    adapter = train(TrainRequest(data="idk.jsonl", out="adapter"), print)

The same request resumes after a kill, a full disk or Ctrl-C, to the same loss curve. `estimate` says what it takes.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.models.pretrained_clips import pretrained_clips_of
from lalm_agent.prompts import prompt_hashes
from lalm_agent.records import Method
from lalm_agent.training.lora.adapter import (
    CHECKPOINTS,
    PACKAGES,
    AdapterFolder,
    AdapterIdentity,
    RowsIdentity,
    TrainingSession,
    TrainingSpec,
)
from lalm_agent.training.lora.data import (
    Collator,
    RowSet,
    TrainingRow,
    check_clips,
    class_counts,
    prompt_of,
    read_rows,
)
from lalm_agent.training.lora.preference import PreferencePair, pair_counts, preference_pairs
from lalm_agent.training.lora.recipe import (
    NOTES,
    PRESETS,
    Recipe,
    is_main,
    pick_device,
    preset_of,
    processes,
    shown,
    strategy,
    total_steps,
)

if TYPE_CHECKING:
    from lalm_agent.training.lora.model import Base

Observer = Callable[[str], None]
"""Takes a line that says what happens now; it is called in the main process only."""
_SAVES = 10


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train: rows of `idk build` to the folder of an adapter.

    recipe: None for that of the preset. preset: None for `mini` with the embedded model, `paper` with any other.
    audio_root: the folder of relative clips; None for that of the rows. prompt: None for that of the rows.
    save_every: steps between checkpoints; None for a tenth of all, at least 10.
    command: as it was typed; None for that of this process. progress: whether stderr shows the steps.
    """

    data: str | Path
    out: str | Path
    config: AgentConfig = field(default_factory=AgentConfig)
    recipe: Recipe | None = None
    preset: str | None = None
    audio_root: str | Path | None = None
    prompt: str | None = None
    allow_one_class: bool = False
    save_every: int | None = None
    gradient_checkpointing: bool = False
    command: tuple[str, ...] | None = None
    progress: bool = False

    @property
    def used_preset(self) -> str:
        """The preset's name. Raises UsageError where there is none of that name."""
        return preset_of(self.preset, self.config.model)

    @property
    def used_recipe(self) -> Recipe:
        """The recipe, or that of the preset."""
        return self.recipe or PRESETS[self.used_preset]


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """An adapter that is complete. steps: made in all; loss: of the last step, None where nothing was to do.

    speed: `tokens_per_s`, `clips_per_s`, `questions_per_s` of this session's steps; empty where there were none.
    """

    out: Path
    steps: int
    loss: float | None
    speed: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """A dry run's figures. memory_bytes: the peak of the process while it was measured."""

    rows: int
    idk: int
    audio_s: float
    steps: int
    parameters: int
    trainable: int
    weight_bytes: int
    state_bytes: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Training:
    request: TrainRequest
    rows: RowSet
    identity: AdapterIdentity
    steps: int
    pairs: tuple[PreferencePair, ...] | None

    @property
    def examples(self) -> Sequence[TrainingRow] | Sequence[PreferencePair]:
        return self.rows.rows if self.pairs is None else self.pairs


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    base: "Base"
    model: Any
    collator: Collator
    settings: Any


def train(request: TrainRequest, observer: Observer | None = None, base: "Base | None" = None) -> TrainedAdapter:
    """Train an adapter, or go on with it, or leave a complete one as it is.

    base: the model of the settings, loaded and without an adapter; it comes back so. None to load it here.

    Raises UsageError where the request is wrong, the folder is another training's, or the model takes no such adapter
    or was pretrained on the clips; DataError where files cannot be used, the loss is not finite, or the disk is full.
    """
    observer = observer if observer is not None and is_main() else _silent
    training, out = _training(request), Path(request.out)
    with AdapterFolder(out, is_main()) as folder, ExitStack() as stack:
        folder.check(training.identity, loaded=False)
        if folder.is_complete and folder.spec is not None:
            observer(f"nothing to do: {out} holds the adapter, {folder.spec.steps} steps")
            return TrainedAdapter(out, folder.spec.steps, None)
        if is_main():
            _describe(training, check_clips(training.rows), observer)
        loaded = _load(training, stack, observer, base)
        info = loaded.base.checkpoint.info
        known = {"revision": info.revision, "weights_sha256": info.weights_sha256}
        identity = training.identity.model_copy(update={**known, "dtype": loaded.base.checkpoint.dtype})
        folder.check(identity)
        adapter = _train(training, identity, loaded, folder, observer)
        if base is not None:
            from lalm_agent.training.lora.model import unload_adapter

            unload_adapter(base, loaded.model)
        return adapter


def estimate(request: TrainRequest, observer: Observer | None = None) -> TrainingEstimate:
    """What a training would take, by two real passes; nothing is written. Raises as `train` does."""
    observer, training = observer or _silent, _training(request)
    rows, audio_s = training.rows, check_clips(training.rows)
    _describe(training, audio_s, observer)
    from lalm_agent.training.lora.model import sizes_of
    from lalm_agent.training.lora.trainer import measure

    with ExitStack() as stack:
        loaded = _load(training, stack, observer)
        model = loaded.model.to(loaded.settings.device)
        observer("measuring two passes")
        seconds, peak_bytes = measure(model, loaded.collator, training.examples, request.used_recipe, training.steps)
    return TrainingEstimate(
        rows=len(rows.rows),
        idk=rows.idk,
        audio_s=audio_s,
        steps=training.steps,
        **asdict(sizes_of(model)),
        seconds=seconds,
        memory_bytes=peak_bytes,
    )


def _train(
    training: _Training, identity: AdapterIdentity, loaded: _Loaded, folder: AdapterFolder, observer: Observer
) -> TrainedAdapter:
    from lalm_agent.training.lora.model import quiet_libraries, sizes_of
    from lalm_agent.training.lora.trainer import Guard, StepLog, export, make_trainer

    request, steps, sizes = training.request, training.steps, sizes_of(loaded.model)
    checkpoint, done = folder.last_checkpoint()
    observer(f"trained: {sizes}")
    for step in folder.damaged_checkpoints():
        observer(f"note: the checkpoint of step {step} is damaged and is not used")
    if done:
        observer(f"resume: from the checkpoint of step {done} of {steps}")
    callbacks: list[Any] = [Guard(observer)]
    speed: dict[str, float] = {}
    with ExitStack() as stack:
        if is_main():
            device = str(loaded.settings.device)
            session = TrainingSession.starting(request.command, PACKAGES, device=device, from_step=done)
            folder.begin(
                TrainingSpec(
                    identity=identity,
                    base=loaded.base.name,
                    preset=request.used_preset,
                    trainable=sizes.trainable,
                    steps=steps,
                    sessions=(*(folder.spec.sessions if folder.spec else ()), session),
                )
            )
            log = StepLog(folder.path, done, steps if request.progress else None, observer)
            stack.callback(log.close)
            callbacks.append(log)
        stack.enter_context(quiet_libraries())
        trainer = make_trainer(
            loaded.model, loaded.settings, (loaded.collator, training.examples, request.used_recipe), callbacks
        )
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except KeyboardInterrupt:
            observer(f"kept step {folder.last_checkpoint()[1]} of {steps}; the same command goes on from there")
            raise
        if is_main():
            speed = log.speed()
            observer("speed: " + ", ".join(f"{rate:.4g} {name[:-6]}" for name, rate in speed.items()) + " a second")
        last = next((entry for entry in reversed(trainer.state.log_history) if "loss" in entry), {})
        figures: dict[str, float] = {name: float(last[name]) for name in ("step", "loss") if name in last}
        export(trainer, folder, training.rows, figures)
    if is_main():
        shutil.rmtree(folder.path / CHECKPOINTS, ignore_errors=True)
    return TrainedAdapter(folder.path, steps, last.get("loss"), speed)


def _load(training: _Training, stack: ExitStack, observer: Observer, base: "Base | None" = None) -> _Loaded:
    from lalm_agent.models.hf_prompt import remember_clips
    from lalm_agent.training.lora.model import encode_once, load_base, quiet_libraries, require_packing, with_lora
    from lalm_agent.training.lora.trainer import arguments

    request, identity, rows = training.request, training.identity, training.rows
    every = request.save_every or max(_SAVES, training.steps // _SAVES)
    device, recipe = pick_device(request.config.device), request.used_recipe
    settings = arguments(Path(request.out), recipe, device, every, request.gradient_checkpointing)
    if base is None:
        observer(f"loading the model {request.config.model}")
    # Sharded weights start on the CPU and reach the device shard by shard.
    sharded = identity.strategy in ("fsdp", "deepspeed")
    with quiet_libraries():
        base = base or load_base(request.config, "cpu" if sharded else str(settings.device), stack)
        if recipe.pack:
            require_packing(base.checkpoint.model)
            remember_clips(base.checkpoint.processor)
        model = with_lora(base, recipe)
        if not sharded:
            encode_once(base.checkpoint.model)
    how = Method(identity.prompt), base.stop_ids, recipe.pack
    collator = Collator(rows, base.checkpoint.processor, base.hearing, *how)
    return _Loaded(base, model, collator, settings)


def _training(request: TrainRequest) -> _Training:
    root = None if request.audio_root is None else Path(request.audio_root)
    rows = read_rows(Path(request.data), root, request.allow_one_class)
    model, pretrained = request.config.model, pretrained_clips_of(request.config.model)
    if any(clip in pretrained for clip in rows.clips):
        from lalm_agent.eval.runs.controls import refuse_pretrained

        refuse_pretrained(pretrained, rows.clips, model, str(request.data))
    prompt, recipe = _prompt(request.prompt, rows), request.used_recipe
    pairs = preference_pairs(rows, recipe.seed) if recipe.loss == "dpo" else None
    counts = {} if pairs is None else pair_counts(pairs)
    identity = AdapterIdentity(
        model=model,
        revision=None,
        weights_sha256=None,
        dtype="not loaded",
        data=RowsIdentity(sha256=rows.sha256, rows=len(rows.rows), idk=rows.idk, **counts),
        prompt=prompt,
        prompts={"answer": prompt_hashes(Method(prompt))["answer"]},
        recipe=recipe,
        processes=processes(),
        strategy=strategy(),
    )
    steps = total_steps(len(rows.rows if pairs is None else pairs), recipe, processes())
    return _Training(request, rows, identity, steps, pairs)


def _prompt(prompt: str | None, rows: RowSet) -> Literal["baseline", "agent"]:
    """Whose answering prompt, by the request or by the rows; UsageError where the rows do not fit it."""
    methods = {row.method for row in rows.rows}
    if prompt not in (None, "baseline", "agent"):
        raise UsageError(f"unknown prompt: {prompt}", "--prompt baseline or agent")
    if prompt is None and len(methods) > 1:
        raise UsageError(f"{rows.path} holds rows of both methods", "say which prompt: --prompt baseline or agent")
    if prompt == "agent" and "baseline" in methods:
        raise UsageError(
            f"{rows.path} was sampled with the baseline: it holds no type and content for the agent's prompt",
            "--prompt baseline, or sample a bank with --method agent",
        )
    name: Literal["baseline", "agent"] = "agent" if (prompt or methods.pop()) == "agent" else "baseline"
    for row in rows.rows:
        if row.method == name and row.prompt not in (None, prompt_of(row, Method(name))):
            raise UsageError(
                f"{rows.path}:{row.line}: the row was made with another prompt than this version asks with",
                "sample and build again, so that training and evaluation ask the same",
            )
    return name


def _describe(training: _Training, audio_s: float, observer: Observer) -> None:
    request, rows, identity = training.request, training.rows, training.identity
    observer(f"data: {class_counts(rows.rows)}; {len(rows.clips)} clips, {audio_s / 60:.1f} minutes an epoch")
    if training.pairs is not None:
        observer(f"pairs: {identity.data.pairs_text}")
    observer(f"preset: {request.used_preset} ({NOTES[request.used_preset]})")
    observer(f"recipe: {shown(request.used_recipe)}")
    shared = "" if identity.processes == 1 else f", {identity.processes} processes by {identity.strategy}"
    observer(f"steps: {training.steps}, prompt of {identity.prompt}{shared}")


def _silent(_: str) -> None:
    pass
