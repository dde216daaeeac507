"""What `lalm-agent reproduce` does, step by step; everything that can be checked is checked before the first part."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer

from lalm_agent.artefacts import Folder, Kind, command_line
from lalm_agent.cli.flags import settings_from
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.jobs import run_tasks
from lalm_agent.terminal import printable, say
from lalm_agent.training.reproduce.design import (
    FULL,
    QUICK,
    Data,
    Frozen,
    Machine,
    PaperFolder,
    Part,
    PartsJournal,
    Sources,
    finished,
    for_preset,
    parts_of,
    tasks_of,
)

_LOADING = ("model", "device", "dtype", "trust_remote_code", "allow_pickle")
_SWITCHES = ("trust_remote_code", "allow_pickle")


@dataclass(frozen=True, slots=True)
class Work:
    """All that is known before the first part."""

    folder: PaperFolder
    config: AgentConfig
    frozen: Frozen
    sources: Sources
    machine: Machine
    quick: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """The commands."""
        return parts_of(self.frozen, self.sources, self.machine)


def reproduce_paper(given: Mapping[str, Any]) -> int:
    """Run `lalm-agent reproduce`; the exit code. given: the parameters of the command.

    Raises:
        UsageError: the call is wrong, the folder is another reproduction's, or something is not installed.
        DataError: the folder cannot be read or written, or the parts do not belong together.
        PartFailed: a part failed; the same command goes on from there.
        KeyboardInterrupt: Ctrl-C; what is done is kept.
    """
    work = _work(given)
    if given["dry_run"]:
        done = finished(work.folder, work.parts)
        for part in work.parts:
            typer.echo(printable(f"{part.name}{' (done)' if part.name in done else ''}: {part.command}", one_line=True))
        return 0
    if not given["report_only"]:
        _require_installed(work)
    with HeldPaper(work.folder.path):
        _hold(work)
        if not given["report_only"]:
            _run_parts(work)
        elif left := [part.name for part in work.parts if part.name not in finished(work.folder, work.parts)]:
            raise UsageError(f"not finished: {', '.join(left)}", "the same command without --report-only")
        return _report(work, bool(given["as_json"]))


def _run_parts(work: Work) -> None:
    from lalm_agent.cli.reproduce_parts import CommandWork, threads_of

    done = finished(work.folder, work.parts)
    left = [part for part in work.parts if part.name not in done]
    if not left:
        say("nothing to do: every part is done")
        return
    jobs, make = work.machine.jobs, partial(CommandWork, work.folder.path)
    with PartsJournal(work.folder, say) as journal:
        run_tasks(tasks_of(left), make, jobs, journal, threads_of(jobs), fresh=True)


def _work(given: Mapping[str, Any]) -> Work:
    from lalm_agent.training.lora.recipe import preset_of

    config: AgentConfig = settings_from({name: given[name] for name in _LOADING})
    out: Path = given["out"]
    sources = _sources(given, config, out)
    frozen = for_preset(QUICK if given["quick"] else FULL, preset_of(given["preset"], config.model))
    # What is synthesised is made as large as it is asked.
    frozen = replace(
        frozen,
        bank_limit=frozen.bank_limit if sources.bank else None,
        eval_limit=frozen.eval_limit if sources.evaluation else None,
    )
    jobs = given["jobs"] or _jobs(config.device)
    machine = Machine(_model_words(config, out), jobs, given["tried"], _also(given, out), given["also_limit"])
    return Work(PaperFolder(out), config, frozen, sources, machine, given["quick"])


def _sources(given: Mapping[str, Any], config: AgentConfig, out: Path) -> Sources:
    bank = _data(given["bank_data"], given["bank_data_file"], given["bank_audio"], out, "--bank-data")
    evaluation = _data(given["data"], given["data_file"], given["audio_root"], out, "--data")
    if (bank is None) != (evaluation is None):
        lacking = "--bank-data" if bank is None else "--data"
        raise UsageError(f"{lacking} is missing", "give both, with other clips in each, or neither to synthesise both")
    if bank is None and config.model != "mini" and not Path(config.model).expanduser().exists():
        raise UsageError(
            f"{config.model} needs recordings: --bank-data for the bank and --data for the evaluation",
            "questions are synthesised for mini, and for a checkpoint in a folder",
        )
    return Sources(bank, evaluation, str(given["split"].value))


def _data(name: str | None, file: Path | None, root: Path | None, out: Path, flag: str) -> Data | None:
    if name is None:
        if file is not None or root is not None:
            raise UsageError(f"the file and the clips of {flag} are given, and {flag} is not", f"{flag} NAME_OR_FILE")
        return None
    place = None if file is None else _from(file, out)
    return Data(_from_text(name, out), place, None if root is None else _from(root, out))


def _also(given: Mapping[str, Any], out: Path) -> tuple[Data, ...]:
    names, paths = given["also"] or [], given["also_data"] or []
    if len(names) != len(paths):
        raise UsageError(f"{len(names)} times --also, and {len(paths)} times --also-data", "give one for each other")
    return tuple(Data(name, _from(path, out)) for name, path in zip(names, paths, strict=True))


def _from(path: Path, out: Path) -> str:
    """A path as the parts see it, which run in the folder of the report."""
    return os.path.relpath(path.expanduser().resolve(), out.resolve())


def _from_text(name: str, out: Path) -> str:
    """A file's name as the parts see it; any other text as it is."""
    prefix = "hf:" if name.startswith("hf:") else ""
    path = Path(name.removeprefix(prefix)).expanduser()
    return f"{prefix}{_from(path, out)}" if path.exists() else name


def _model_words(config: AgentConfig, out: Path) -> tuple[str, ...]:
    model = config.model if config.model == "mini" else _from_text(config.model, out)
    words = ["--model", model]
    for name in ("device", "dtype"):
        if name in config.model_fields_set:
            words += [f"--{name}", getattr(config, name)]
    return (*words, *(f"--{name.replace('_', '-')}" for name in _SWITCHES if getattr(config, name)))


def _jobs(device: str) -> int:
    """Two processes on a CPU, which gain more than two threads; an accelerator takes one."""
    if device != "cpu":
        import torch

        if device != "auto" or torch.cuda.is_available():
            return 1
    return 2


def _require_installed(work: Work) -> None:
    """Refuse at the start what would be missing in the end."""
    from lalm_agent.registry import require_extra

    require_extra("draw")
    if work.sources.bank is None:
        from lalm_agent.training.synth.fluid import require_synth

        require_synth()


class HeldPaper(Folder):
    """The folder of a reproduction, held by this process."""

    kind = Kind("reproduction", "works on")


def _hold(work: Work) -> None:
    from lalm_agent.training.reproduce.design import ReproduceSpec, hold

    spec = ReproduceSpec(
        schema=1,
        model=work.machine.model[1],
        weights_sha256=_weights(work.config.model),
        quick=work.quick,
        sources=work.sources,
        frozen=work.frozen,
    )
    hold(work.folder.spec, spec)
    work.folder.figure3.parent.mkdir(exist_ok=True)


def _weights(model: str) -> str | None:
    """Hash of the weights that are there already, so that a folder of other weights is refused; None for a hub's."""
    from importlib import resources

    from lalm_agent.models.hf_loading import weights_sha256

    if model == "mini":
        with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
            files = sorted(folder.glob("*.safetensors"))
    else:
        files = sorted(Path(model).expanduser().glob("*.safetensors"))
    return weights_sha256(files) if files else None


def _report(work: Work, as_json: bool) -> int:
    from lalm_agent.artefacts import write_whole
    from lalm_agent.cli.reproduce_report import found_in
    from lalm_agent.training.reproduce.report import as_markdown

    found = found_in(work, " ".join(command_line()))
    write_whole(work.folder.report, as_markdown(found).encode())
    if as_json:
        claims: Sequence[Mapping[str, Any]] = [one.model_dump(mode="json") for one in found.study.claims]
        fields = {"report": str(work.folder.report), "quick": work.quick, "claims": claims}
        typer.echo(json.dumps(fields, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(printable(f"report: {work.folder.report}", one_line=True))
    return 0
