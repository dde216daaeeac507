"""What `lalm-agent idk build` does, step by step; nothing is written before everything is known to be right."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from lalm_agent.cli.idk_render import built_lines
from lalm_agent.cli.idk_scoring import Graded, graded
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import audio_file
from lalm_agent.eval.runs.controls import refuse_pretrained
from lalm_agent.hints import did_you_mean
from lalm_agent.models.pretrained_clips import pretrained_clips_of
from lalm_agent.prompts.refusing import held_out_refusals
from lalm_agent.records import Method
from lalm_agent.training.idk.bank import Bank, bank_sha256, read_bank, require_draws
from lalm_agent.training.idk.blind import Solved, require_blind_twin, solved_blind
from lalm_agent.training.idk.build import BuildPlan, Made, Source, build, check_plan, class_counts
from lalm_agent.training.idk.rows import IdkRow, Manifest, Origin, manifest_text, meta_path, set_bytes, write_set
from lalm_agent.training.idk.rules import Control, Rule
from lalm_agent.training.idk.targets import Refusals, TargetKind, wordings

_MODEL_SETTINGS = ("device", "dtype", "timeout_s", "trust_remote_code", "allow_pickle")
_METHODS = (Method.BASELINE, Method.AGENT)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Blind:
    """What the second bank of `--blind` says, and what the manifest says of it."""

    solved: Solved
    facts: Mapping[str, Any]


def build_set(given: Mapping[str, Any]) -> int:
    """Run `lalm-agent idk build`; the exit code. given: the parameters of the command.

    Raises:
        UsageError: the call is wrong, or the set would be empty or of one class.
        DataError: the bank or the clips cannot be used, or nothing can be written.
    """
    settings = {name: given[name] for name in _MODEL_SETTINGS}
    words = _words(given)
    if given["drop_blind"] and given["blind"] is None:
        raise UsageError("--drop-blind needs a blind bank", "--blind FOLDER, sampled with --audio silence")
    found = graded(given["bank"], given["n"], (given["scorer"], given["others"]), settings)
    if found.code:
        return found.code
    plan = _plan(given, words, found.n)
    check_plan(plan)
    require_trainable(found.bank, given["bank"])
    model, heard = found.bank.identity.model, (question.audio_sha256 for question in found.bank.questions)
    refuse_pretrained(pretrained_clips_of(model), heard, model, str(given["bank"]))
    blind = None if given["blind"] is None else _blind(given["blind"], found, plan, settings)
    made = build(found.counted, source_of(found), plan, blind.solved.by_id if blind else None)
    manifest, data = described(found, plan, made, clip_root(found, given["audio_root"]), blind)
    return _write(given, manifest, data)


def require_trainable(bank: Bank, folder: Path, methods: Sequence[Method] = _METHODS) -> None:
    """Refuse a bank that no adapter can be trained from. methods: that its questions may have been asked by.

    Raises:
        UsageError: it was sampled without the clips, or by another method.
    """
    if bank.identity.audio != "real":
        raise UsageError(f"{folder} was sampled without the clips", "give it as --blind of another bank")
    if bank.identity.method not in methods:
        raise UsageError(
            f"{folder} was asked by {bank.identity.method}, and adapters are trained on other prompts",
            f"sample with --method {' or '.join(methods)}",
        )


def clip_root(found: Graded, given: Path | None) -> Path | None:
    """The folder that a bank's clips are named from: as given, or where it was sampled; None where nobody knows."""
    return given or (Path(found.bank.audio_root) if found.bank.audio_root else None)


def described(
    found: Graded, plan: BuildPlan, made: Made, root: Path | None, blind: Blind | None = None
) -> tuple[Manifest, bytes]:
    """A set's manifest, and the bytes of its rows with the paths of their clips.

    Raises:
        DataError: clips are not there.
    """
    made = replace(made, rows=_placed(made.rows, root))
    data = set_bytes(made.rows)
    manifest = _manifest(found, plan, made, blind, root)
    return replace(manifest, rows_sha256=hashlib.sha256(data).hexdigest()), data


def _words(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that take a word, checked before anything is read."""
    kinds: dict[str, type[StrEnum]] = {"rule": Rule, "target": TargetKind, "refusals": Refusals, "control": Control}
    words = {}
    for flag, kind in kinds.items():
        word = given[flag]
        if word is not None and word not in set(kind):
            raise UsageError(f"--{flag} is not {word}", did_you_mean(word, [str(one) for one in kind]))
        words[flag] = None if word is None else kind(word)
    return words


def _plan(given: Mapping[str, Any], words: Mapping[str, Any], n: int) -> BuildPlan:
    return BuildPlan(
        k=n if given["k"] is None else given["k"],
        n=n,
        share=given["share"],
        modality=tuple(sorted(set(given["modality"] or ()))),
        drop_ambiguous=given["drop_ambiguous"],
        balance=given["balance"],
        drop_blind=given["drop_blind"],
        hold_out=given["hold_out"],
        one_class=given["allow_one_class"],
        seed=given["seed"],
        **words,
    )


def source_of(found: Graded) -> Source:
    """What the rows name as theirs."""
    identity = found.bank.identity
    origin = Origin(found.bank.run_id, bank_sha256(found.bank, found.n), identity.data.sha256)
    return Source(origin, Method(identity.method), found.scorer)


def _blind(folder: Path, found: Graded, plan: BuildPlan, settings: Mapping[str, Any]) -> Blind:
    bank = read_bank(folder)
    require_blind_twin(found.bank, bank)
    require_draws(bank, plan.n, "the blind bank")
    second = graded(folder, plan.n, (found.scorer, "none"), settings)
    solved = solved_blind(found.counted, second.counted, plan.k)
    facts = {
        "run": bank.run_id,
        "bank_sha256": bank_sha256(bank, plan.n),
        "audio": bank.identity.audio,
        "solved": solved.solved,
        "undefined": solved.undefined,
    }
    return Blind(solved, facts)


def _placed(rows: Sequence[IdkRow], root: Path | None) -> tuple[IdkRow, ...]:
    """The rows with the paths of their clips.

    Raises:
        DataError: clips are not there.
    """
    if root is None:
        typer.echo("note: the bank does not say where its clips are; the paths stay as in the data", err=True)
        return tuple(rows)
    paths = {row.audio: audio_file(root, row.audio) for row in rows}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
        raise DataError(f"{len(missing)} clips are not under {root}: {shown}", "--audio-root FOLDER")
    return tuple(replace(row, audio=str(paths[row.audio])) for row in rows)


def _manifest(found: Graded, plan: BuildPlan, made: Made, blind: Blind | None, root: Path | None) -> Manifest:
    identity, rows = found.bank.identity, made.rows
    at_k = plan.k - 1
    return Manifest(
        origin=source_of(found).origin,
        model=identity.model,
        weights_sha256=identity.weights_sha256,
        adapter_sha256=identity.adapter_sha256,
        data=identity.data.name,
        method=identity.method,
        temperature=identity.temperature,
        sampling_seed=identity.seed,
        shuffle_choices=identity.shuffle_choices,
        audio_root=None if root is None else str(root.resolve()),
        n=plan.n,
        k=plan.k,
        rule=str(plan.rule),
        control=None if plan.control is None else str(plan.control),
        target=str(plan.target),
        scorer=found.scorer,
        seed=plan.seed,
        modality=plan.modality,
        drop_ambiguous=plan.drop_ambiguous,
        balance=plan.balance,
        share=sum(row.is_idk for row in rows) / len(rows),
        counts=class_counts(rows),
        targets=dict(Counter(row.target_source for row in rows)),
        left_out=made.left_out,
        flips={
            one.scorer: {"compared": one.compared, "to_idk": one.to_idk[at_k], "to_kept": one.to_kept[at_k]}
            for one in found.flips
            if plan.k > 0
        },
        blind=None if blind is None else blind.facts,
        held_out={"share": plan.hold_out, "questions": made.left_out["held out"], "clips": list(made.held_out)},
        refusals=wordings(plan.target, plan.refusals),
        held_out_refusals=held_out_refusals() if plan.refusals is Refusals.POOL else (),
    )


def _write(given: Mapping[str, Any], manifest: Manifest, data: bytes) -> int:
    out: Path = given["out"]
    files = {out: data, meta_path(out): manifest_text(manifest).encode()}
    if not given["force"]:
        for path, wanted in files.items():
            if path.exists() and (path.is_dir() or path.read_bytes() != wanted):
                raise UsageError(f"{path} is there and differs", "give another --out, or --force to replace it")
    write_set(out, data, manifest)
    if given["as_json"]:
        typer.echo(json.dumps(json.loads(manifest_text(manifest)), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(built_lines(str(out), manifest)))
    return 0
