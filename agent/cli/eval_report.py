"""What `lalm-agent eval` says: before, while stopping, and at the end. Only the end's summary goes to stdout."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.progress import Progress, Tally, show_progress
from lalm_agent.terminal import printable

if TYPE_CHECKING:
    from lalm_agent.cli.eval_flags import EvalOptions
    from lalm_agent.eval.runs.folder import RunFolder
    from lalm_agent.eval.runs.spec import RunIdentity


def say(text: str) -> None:
    """One safe line on stderr."""
    typer.echo(printable(text, one_line=True), err=True)


@dataclass(frozen=True, slots=True)
class Report:
    """What is said about a run. `device`: where the model is."""

    wanted: "EvalOptions"
    identity: "RunIdentity"
    plan: Plan
    device: str

    def before(self, answered: int) -> None:
        """What is about to be asked, of whom, and what the figures will not promise."""
        identity, plan = self.identity, self.plan
        data = identity.data
        draws = f", {identity.draws} draws" if identity.draws > 1 else ""
        order = " in the order of a hash of their ids" if plan.selection.limit else ""
        say(f"data: {data.name} ({plan.data_version or f'unknown file, sha256 {data.sha256[:12]}'})")
        say(f"run: {identity.run_id}: {len(plan.items)} of {len(plan.pool)} questions{order}{draws}")
        if answered:
            say(f"resume: {answered} answers are there, {len(plan.works)} are left")
        weights = f", weights {identity.weights_sha256[:12]}" if identity.weights_sha256 else ""
        adapter = f", adapter {identity.adapter_sha256[:12]}" if identity.adapter_sha256 else ""
        say(f"model: {identity.model}{weights}{adapter}, {identity.dtype} on {self.device}, method {identity.method}")
        say(f"tools: {', '.join(f'{node}={name}' for node, name in identity.tools.items())}")
        for note in self._notes():
            say(f"note: {note}")

    def progress(self, tally: Tally, total: int) -> Progress:
        """What is seen while the questions are asked."""
        return show_progress(tally, total)

    def stopping(self, out: int) -> None:
        """After the first Ctrl-C."""
        say(f"stopping: waiting for {out} questions that are out; Ctrl-C again drops them")

    def kept(self, folder: "RunFolder", tally: Tally) -> None:
        """After a stop before the end."""
        total = len(self.plan.items) * self.identity.draws
        say(f"kept {tally.done} of {total} answers in {folder.path}; the same command goes on from there")

    def nothing_to_do(self, folder: "RunFolder") -> int:
        """A finished run, run again; the exit code."""
        say(f"nothing to do: all {len(self.plan.items)} questions of {folder.path} are answered")
        return self.after(folder)

    def after(self, folder: "RunFolder") -> int:
        """The counts, where they are, and what comes next; the exit code."""
        tally = Tally({asked.item.id: asked for asked in folder.items}, folder.answers)
        seen = sum(answer.seen for answer in folder.answers.values())
        if warning := self._missing_clip(tally):
            say(f"warning: {warning}")
        if self.wanted.as_json:
            typer.echo(json.dumps(self._json(folder, tally, seen), ensure_ascii=False, allow_nan=False))
            return 0
        typer.echo(f"{tally.done} answers: {tally} (rule scorer)")
        if tally.counts[Outcome.ABSTAINED]:
            typer.echo(f"IDK by kind: {', '.join(f'{kind.words} {n}' for kind, n in tally.kinds.items() if n)}")
        selection = self.plan.selection
        if seen:
            typer.echo(f"{seen} of them are about clips that the adapter was trained on; scores leave them out")
        if tally.counts[Outcome.FAILED]:
            typer.echo("failed questions are asked again with --retry-failed")
        if selection.missing or selection.faulty:
            typer.echo(f"left out: {len(selection.missing)} questions without clip, {selection.faulty} faulty rows")
        typer.echo(printable(f"run folder: {folder.path}", one_line=True))
        before = "" if self.identity.method == "baseline" else "BASELINE "
        following = f"idk curve {folder.path}" if self.wanted.bank else f"score {before}{folder.path}"
        typer.echo(printable(f"next: lalm-agent {following}", one_line=True))
        return 0

    def _json(self, folder: "RunFolder", tally: Tally, seen: int) -> dict[str, Any]:
        selection = self.plan.selection
        return {
            "run": self.identity.run_id,
            "folder": str(folder.path),
            "questions": len(self.plan.items),
            "draws": self.identity.draws,
            "answers": tally.done,
            "counts": {str(outcome): count for outcome, count in tally.counts.items()},
            "abstained_kinds": {str(kind): count for kind, count in tally.kinds.items()},
            "seen": seen,
            "missing": len(selection.missing),
            "faulty": selection.faulty,
            "warnings": [warning] if (warning := self._missing_clip(tally)) else [],
        }

    def _missing_clip(self, tally: Tally) -> str | None:
        return None if self.identity.without_sound else tally.missing_clip

    def _notes(self) -> list[str]:
        identity, selection, notes = self.identity, self.plan.selection, []
        if identity.model.startswith("openai:"):
            notes.append("a remote endpoint: that the same run gives the same answers again is not promised")
        elif identity.dtype not in ("float32", "none") and self.wanted.batch_size > 1:
            notes.append(f"{identity.dtype}: answers may depend on the batch size; --batch-size 1 keeps them equal")
        if identity.audio == "silence":
            notes.append("blind control: digital silence of each clip's own length in place of the clip")
        if identity.audio == "swap":
            notes.append("blind control: each question hears another clip of the data, of any modality")
        if not identity.hears_audio:
            notes.append("text only: the model is asked without the clip, as each answer says")
        if selection.missing:
            notes.append(f"{len(selection.missing)} questions are left out because their clip is missing")
        if selection.faulty:
            notes.append(f"{selection.faulty} faulty rows are left out")
        return notes
