"""`merge`: the shards of a run, asked on several machines, as the run that one machine would have made.

    evaluate(EvaluateRequest(..., shard="1/2", out="runs/1"))  # and 2/2, elsewhere
    run = merge([Path("runs/1"), Path("runs/2")], Path("runs/all"))

The merged run has the identity, the questions and the answers of the unsharded one, and the sessions of all shards. An
endpoint's `responses/` are left behind: they only keep a shard from paying for a reply twice.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lalm_agent.artefacts import SPEC, StorageError, json_line, record_text, write_whole
from lalm_agent.errors import UsageError
from lalm_agent.eval.runs.ask import by_clip
from lalm_agent.eval.runs.folder import ANSWERS, ITEMS, RunFolder, items_bytes, items_digest
from lalm_agent.eval.runs.plan import order_key, read_shard, sorted_ids
from lalm_agent.eval.runs.records import Key, QuestionDraw, RunItem, RunSpec, StoredAnswer, answer_fields

_SHOWN = 3


def merge(shards: Sequence[Path], out: Path) -> RunFolder:
    """Make one run of all its shards, in any order; the same shard twice is no harm where its answers are the same.

    out: written as a whole or not at all; where it is that very run already, nothing is done.

    Raises:
        UsageError: a folder is no run or no shard, shards of different runs or numbers (with the fields that differ),
            a shard that is missing or not finished, two answers to one question, or an `out` that is something else.
        DataError: damaged files; `StorageError` where `out` cannot be written.
    """
    runs = [_read(folder) for folder in shards]
    if not runs:
        raise UsageError("there is nothing to merge", "give the folders of all shards")
    spec = _merged_spec(runs)
    items = {run_item.item.id: run_item for run in runs for run_item in run.items}
    ordered = sorted(items.values(), key=lambda run_item: order_key(run_item.item))
    answers = _merged_answers(runs, ordered, spec.identity.draws)
    selection = spec.selection.model_copy(update={"asked": len(ordered)})
    spec = spec.model_copy(update={"selection": selection, "items_sha256": (items_digest(ordered),)})
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return _same(out, spec, answers)
    _write(out, spec, ordered, answers)
    with RunFolder(out, writes=False) as run:
        return run


def _read(folder: Path) -> RunFolder:
    with RunFolder(folder, writes=False) as run:
        if run.spec is None:
            raise UsageError(f"{folder} is no run", "give the folders of shards")
        if run.spec.selection.shard is None:
            raise UsageError(f"{folder} is no shard of a run", "a shard is asked by `lalm-agent eval --shard i/n`")
    return run


def _spec(run: RunFolder) -> RunSpec:
    assert run.spec is not None
    return run.spec


def _merged_spec(runs: Sequence[RunFolder]) -> RunSpec:
    """What the merged run is, but for its questions. Raises UsageError as `merge`."""
    first = _spec(runs[0])
    there: set[int] = set()
    number, of = 0, read_shard(first.selection.shard or "")[1]
    for run in runs:
        spec, before = _spec(run), first.selection
        changes = first.identity.changes(spec.identity)
        number, shards = read_shard(spec.selection.shard or "")
        pairs = {"shards": (of, shards), "limit": (before.limit, spec.selection.limit)}
        pairs |= {"faulty rows": (before.faulty, spec.selection.faulty)}
        changes += [f"{name}: {old} in the run, {new} now" for name, (old, new) in pairs.items() if old != new]
        if changes:
            names = ", ".join(line.partition(":")[0] for line in changes)
            error = UsageError(
                f"{run.path} is no shard of the same run as {runs[0].path}; what differs: {names}",
                "give the shards of one run",
            )
            error.fields = tuple(line.replace(" in the run", " there").replace(" now", " here") for line in changes)
            raise error
        there.add(number)
    if missing := [f"{number}/{of}" for number in range(1, of + 1) if number not in there]:
        raise UsageError(f"shards are missing: {', '.join(missing)}", "give the folders of all shards")
    specs = list(map(_spec, runs))
    by_shard = {spec.selection.shard: spec for spec in specs}
    sessions = [session for spec in by_shard.values() for session in spec.sessions]
    missing_ids = {id_ for spec in specs for id_ in spec.selection.missing}
    return first.model_copy(
        update={
            "created": min(spec.created for spec in specs),
            "identity": first.identity.model_copy(update={"draws": max(spec.identity.draws for spec in specs)}),
            "sessions": tuple(sorted(sessions, key=lambda session: session.started)),
            "selection": first.selection.model_copy(update={"shard": None, "missing": sorted_ids(missing_ids)}),
        }
    )


def _merged_answers(runs: Sequence[RunFolder], items: Sequence[RunItem], draws: int) -> dict[Key, StoredAnswer]:
    """All answers in the order in which one thread asks. Raises UsageError for one that is missing, or two that differ.

    Equal answers may differ in their times, and in what was kept from an earlier question about the clip.
    """
    answers: dict[Key, StoredAnswer] = {}
    for run in runs:
        keys = {(run_item.item.id, draw) for run_item in run.items for draw in range(draws)}
        if left := len(keys - run.answers.keys()):
            shard = _spec(run).selection.shard
            raise UsageError(
                f"{run.path} (shard {shard}) is not finished: {left} of {len(keys)} answers are missing",
                "the command that asked it goes on where it stopped",
            )
        for key in keys:
            new = run.answers[key]
            if _timeless(answers.setdefault(key, new)) != _timeless(new):
                raise UsageError(
                    f"{run.path} has another answer to question {key[0]!r} than a shard before it",
                    "give each shard once",
                )
    order = by_clip(QuestionDraw(run_item, draw) for run_item in items for draw in range(draws))
    return {question.key: answers[question.key] for question in order}


def _timeless(answer: StoredAnswer) -> StoredAnswer:
    steps = tuple(replace(step, seconds=0.0, cached=False) for step in answer.steps)
    return replace(answer, seconds=0.0, steps=steps)


def _same(out: Path, spec: RunSpec, answers: dict[Key, StoredAnswer]) -> RunFolder:
    """The run that is there, where it is the merged one. Raises UsageError where it is not."""
    with RunFolder(out, writes=False) as run:
        is_same = run.spec is not None and run.spec.model_copy(update={"sessions": ()}) == spec.model_copy(
            update={"sessions": ()}
        )
        if not is_same or run.answers != answers:
            raise UsageError(f"{out} is there and is not the run of these shards", "give another --out")
    return run


def _write(out: Path, spec: RunSpec, items: Sequence[RunItem], answers: dict[Key, StoredAnswer]) -> None:
    """Write the run beside its place, and put it there as a whole."""
    beside = out.with_name(f"{out.name}.merging")
    lines = b"".join(json_line(answer_fields(answer)) for answer in answers.values())
    try:
        beside.mkdir(parents=True, exist_ok=True)
        write_whole(beside / ANSWERS, lines)
        write_whole(beside / ITEMS, items_bytes(items))
        write_whole(beside / SPEC, record_text(spec).encode())
        beside.replace(out)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}", "give another --out") from error
