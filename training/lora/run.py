"""`lalm-agent train`, step by step; everything that can be checked is checked before a model is loaded."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.extras import install_line, is_installed
from lalm_agent.prompts import prompt_hashes
from lalm_agent.records import Method
from lalm_agent.training.lora import launching
from lalm_agent.training.lora.folder import LOG, TENSORBOARD, AdapterFolder
from lalm_agent.training.lora.recipe import Recipe, shown, total_steps
from lalm_agent.training.lora.rows import RowSet, check_clips, class_counts, prompt_of, rows_for
from lalm_agent.training.lora.spec import DataIdentity, Identity, TrainingSpec, session

if TYPE_CHECKING:
    from lalm_agent.training.lora.network import Base

Say = Callable[[str], None]
_SAVES = 10


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train.

    config: model, device, dtype and the like. preset: the recipe's name, for the record.
    prompt: `baseline` or `agent`; None for what the rows were made with.
    save_every: steps between checkpoints; None for ten in all.
    command: as it was typed. progress: whether steps are shown as they are made.
    """

    data: Path
    out: Path
    config: AgentConfig
    recipe: Recipe
    preset: str
    audio_root: Path | None = None
    prompt: str | None = None
    allow_one_class: bool = False
    save_every: int | None = None
    gradient_checkpointing: bool = False
    command: tuple[str, ...] = ()
    progress: bool = True


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it. steps: made in all; loss: of the last one, None where nothing was to do."""

    out: Path
    steps: int
    loss: float | None


@dataclass(frozen=True, slots=True)
class Estimated:
    """A dry run's figures. memory_bytes: the process's peak while it was measured."""

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
class _Ready:
    """All that a training needs, loaded."""

    request: TrainRequest
    rows: RowSet
    identity: Identity
    base: Any
    model: Any
    collator: Any
    settings: Any


def train(request: TrainRequest, say: Say, base: "Base | None" = None) -> Trained:
    """Train an adapter, or go on with it, or find it finished.

    say: takes a line for the user; called in the main process only.
    base: the model of the settings, loaded and without an adapter; it comes back so. None to load it here.

    Raises:
        UsageError: the call is wrong, the folder is another training's, or the model takes no such adapter.
        PretrainedError: the model was pretrained on some of the clips.
        DataError: rows, clips or checkpoint files cannot be used; the loss is no number; the disk is full.
    """
    main = launching.is_main()
    rows = rows_for(request.config.model, request.data, request.audio_root, request.allow_one_class)
    identity = _identity(request, rows)
    with AdapterFolder(request.out, main) as folder, ExitStack() as stack:
        folder.check(identity, loaded=False)
        if folder.finished and folder.spec is not None:
            if main:
                say(f"nothing to do: {request.out} holds the adapter, {folder.spec.steps} steps")
            return Trained(request.out, folder.spec.steps, None)
        speak = say if main else _silent
        if main:
            _say_before(request, rows, identity, check_clips(rows), say)
        ready = _prepare(request, rows, identity, stack, speak, base)
        folder.check(ready.identity)
        done = _train(ready, folder, speak)
        if base is not None:
            from lalm_agent.training.lora.network import take_off

            take_off(base, ready.model)
        return done


def estimate(request: TrainRequest, say: Say) -> Estimated:
    """What a training would take, by two real passes; nothing is written. Raises as `train` does."""
    rows = rows_for(request.config.model, request.data, request.audio_root, request.allow_one_class)
    identity = _identity(request, rows)
    audio_s = check_clips(rows)
    _say_before(request, rows, identity, audio_s, say)
    from lalm_agent.training.lora.estimate import measure, sizes_of

    with ExitStack() as stack:
        ready = _prepare(request, rows, identity, stack, say)
        model = ready.model.to(ready.settings.device)
        sizes, steps = sizes_of(model), _steps(request, rows)
        say("measuring two passes")
        cost = measure(model, ready.collator, rows.rows, request.recipe, steps)
    return Estimated(
        rows=len(rows.rows),
        idk=rows.idk,
        audio_s=audio_s,
        steps=steps,
        parameters=sizes.parameters,
        trainable=sizes.trainable,
        weight_bytes=sizes.weight_bytes,
        state_bytes=sizes.state_bytes,
        seconds=cost.seconds,
        memory_bytes=cost.peak_bytes,
    )


def _train(ready: _Ready, folder: AdapterFolder, say: Say) -> Trained:
    from lalm_agent.training.lora.estimate import sizes_of
    from lalm_agent.training.lora.examples import Examples
    from lalm_agent.training.lora.export import export
    from lalm_agent.training.lora.network import quiet_libraries
    from lalm_agent.training.lora.trainer import Sharded, make_trainer

    request = ready.request
    sizes, steps = sizes_of(ready.model), _steps(request, ready.rows)
    checkpoint, done = folder.last_checkpoint()
    say(f"trained: {sizes}")
    if done:
        say(f"resume: from the checkpoint of step {done} of {steps}")
    with ExitStack() as stack:
        callbacks: list[Any] = [Sharded(say)]
        if launching.is_main():
            folder.drop_torn_checkpoints()
            started = session(request.command, str(ready.settings.device), done)
            before = folder.spec.sessions if folder.spec else ()
            folder.begin(
                TrainingSpec(
                    schema=1,
                    identity=ready.identity,
                    base=ready.base.name,
                    preset=request.preset,
                    trainable=sizes.trainable,
                    steps=steps,
                    sessions=(*before, started),
                )
            )
            progress = (done, steps) if request.progress else None
            callbacks += _callbacks(folder.path, done, progress, say, stack)
        stack.enter_context(quiet_libraries())
        trainer = make_trainer(ready.model, ready.settings, Examples(ready.rows.rows), ready.collator, callbacks)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except KeyboardInterrupt:
            say(f"kept step {folder.last_checkpoint()[1]} of {steps}; the same command goes on from there")
            raise
        last = next((entry for entry in reversed(trainer.state.log_history) if "loss" in entry), {})
        export(trainer, folder, ready.rows, {name: float(last[name]) for name in ("step", "loss") if name in last})
    if launching.is_main():
        folder.drop_checkpoints()
    return Trained(request.out, steps, last.get("loss"))


def _prepare(
    request: TrainRequest, rows: RowSet, identity: Identity, stack: ExitStack, say: Say, base: "Base | None" = None
) -> _Ready:
    from lalm_agent.training.lora.encoded_once import encode_once
    from lalm_agent.training.lora.examples import Collator
    from lalm_agent.training.lora.network import load_base, pick_device, quiet_libraries, with_lora
    from lalm_agent.training.lora.trainer import Running, arguments

    every = request.save_every or max(_SAVES, _steps(request, rows) // _SAVES)
    running = Running(pick_device(request.config.device), every, identity.processes, request.gradient_checkpointing)
    settings = arguments(request.out, request.recipe, running)
    if base is None:
        say(f"loading the model {request.config.model}")
    # Sharded weights start on the CPU and reach the device shard by shard.
    sharded = identity.strategy in ("fsdp", "deepspeed")
    with quiet_libraries():
        base = base or load_base(request.config, "cpu" if sharded else str(settings.device), stack)
        model = with_lora(base, request.recipe)
        if not sharded:
            encode_once(base.checkpoint.model)
    info, method = base.checkpoint.info, Method(identity.prompt)
    # A path of the package's own folder says nothing: the reference is recorded.
    known = {"revision": info.revision, "weights_sha256": info.weights_sha256, "dtype": base.checkpoint.dtype}
    collator = Collator(rows, base.checkpoint.processor, base.hearing, method, base.stop_ids)
    return _Ready(request, rows, identity.model_copy(update=known), base, model, collator, settings)


def _callbacks(folder: Path, done: int, progress: tuple[int, int] | None, say: Say, stack: ExitStack) -> list[Any]:
    from lalm_agent.training.lora.logs import Progress, StepJournal, TensorBoard

    callbacks: list[Any] = [StepJournal(folder / LOG, done)]
    if is_installed("tensorboard"):
        callbacks.append(TensorBoard(folder / TENSORBOARD, done))
    else:
        say(f"note: no files for TensorBoard without it: {install_line('train')}")
    if progress is not None:
        callbacks.append(Progress(*progress, say))
    for callback in callbacks:
        stack.callback(callback.close)
    return callbacks


def _identity(request: TrainRequest, rows: RowSet) -> Identity:
    prompt = _prompt(request.prompt, rows)
    return Identity.model_validate(
        {
            "model": request.config.model,
            "revision": None,
            "weights_sha256": None,
            "dtype": "not loaded",
            "data": DataIdentity(sha256=rows.sha256, rows=len(rows.rows), idk=rows.idk),
            "prompt": prompt,
            "prompts": {"answer": prompt_hashes(Method(prompt))["answer"]},
            "recipe": request.recipe,
            "processes": launching.processes(),
            "strategy": launching.strategy(),
        }
    )


def _prompt(wanted: str | None, rows: RowSet) -> str:
    """Whose answering prompt, by the flag or by the rows.

    Raises:
        UsageError: none of these names, rows made with another wording, rows of both kinds without a flag, or the
            agent's prompt without its steps.
    """
    methods = {row.method for row in rows.rows}
    if wanted not in (None, "baseline", "agent"):
        raise UsageError(f"unknown prompt: {wanted}", "--prompt baseline or agent")
    if wanted is None and len(methods) > 1:
        raise UsageError(f"{rows.path} holds rows of both methods", "say which prompt: --prompt baseline or agent")
    if wanted == "agent" and "baseline" in methods:
        raise UsageError(
            f"{rows.path} was sampled with the baseline: it holds no type and content for the agent's prompt",
            "--prompt baseline, or sample a bank with --method agent",
        )
    found = wanted or methods.pop()
    for row in rows.rows:
        if row.method == found and row.prompt not in (None, prompt_of(row, Method(found))):
            raise UsageError(
                f"{rows.path}:{row.line}: the row was made with another prompt than this version asks with",
                "sample and build again, so that training and evaluation ask the same",
            )
    return found


def _steps(request: TrainRequest, rows: RowSet) -> int:
    return total_steps(len(rows.rows), request.recipe, launching.processes())


def _say_before(request: TrainRequest, rows: RowSet, identity: Identity, audio_s: float, say: Say) -> None:
    from lalm_agent.training.lora.recipe import note

    say(f"data: {class_counts(rows.rows)}; {len(rows.clips)} clips, {audio_s / 60:.1f} minutes an epoch")
    say(f"preset: {request.preset} ({note(request.preset)})")
    say(f"recipe: {shown(request.recipe)}")
    shared = "" if identity.processes == 1 else f", {identity.processes} processes by {identity.strategy}"
    say(f"steps: {_steps(request, rows)}, prompt of {identity.prompt}{shared}")


def _silent(_: str) -> None:
    """The other processes of a training say nothing."""
