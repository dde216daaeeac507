"""The Gradio page around the workbench, and its one tool for MCP clients. Gradio is imported when it is made."""

import os
import shutil
import uuid
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.records import Method, Step
from lalm_agent.terminal import json_text, printable
from lalm_agent.web.view import shown
from lalm_agent.web.workbench import Draft, Treatment, Trial, Workbench, choices_text, edited

LISTED = 200
"""So many questions of a run are in the list; any other is reached by its id, or from the report."""
FILE_AGE_S = 3600
"""Uploads are removed when they are so old, and at the end."""
_IN_REPORT = "() => document.getElementById('run-report').contentDocument.getElementById('detail').dataset.question"


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser's page has come to.

    draft: a question of the run, as the fields were filled. reference: what the next trial is compared with.
    """

    draft: Draft | None = None
    reference: Trial | None = None
    last: Trial | None = None


def make_page(bench: Workbench) -> Any:
    """The `gradio.Blocks` of a workbench. With a run, the server has to have its report at `report/`."""
    import gradio

    gr: Any = gradio  # whose components get their events when it runs
    with gr.Blocks(title="lalm-agent", analytics_enabled=False, delete_cache=(60, FILE_AGE_S)) as page:
        session = gr.State(Session())
        with gr.Tabs() as tabs:
            with gr.Tab("Ask", id="ask"), gr.Row():
                with gr.Column(scale=2):
                    fields, buttons = _fields(gr, bench)
                with gr.Column(scale=3):
                    reply = gr.Textbox(label="Reply to the agent, and press Enter", visible=False, elem_id="reply")
                    output = gr.HTML(shown(), elem_id="output", padding=True)
                    words = "Compare the next answer with this one"
                    compare = gr.Button(words, size="sm", visible=False, elem_id="compare")
            with gr.Tab("Run", id="run", visible=bench.run is not None, render_children=bench.run is not None):
                again = gr.Button("Ask this question again", elem_id="ask-again")
                gr.HTML('<iframe id="run-report" src="report/index.html"></iframe>' if bench.run is not None else "")
        # None is for the client libraries or MCP, and the queue lets one question through at a time.
        asks: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "ask"}
        asks |= {"show_progress": "minimal", "show_progress_on": output}
        of_run, run_clip, *draft = fields.values()
        after = [output, session, reply, compare]
        for treatment, button in buttons.items():
            button.click(partial(_ask, bench, treatment), [session, *draft], after, **asks)
        reply.submit(partial(_reply, bench), [session, reply], after, **asks)
        compare.click(_compared, session, session, **asks)
        loaded = [*after, of_run, *draft[:-1], tabs]
        of_run.input(partial(_load, bench), of_run, loaded, **asks)
        again.click(partial(_load, bench), of_run, loaded, js=_IN_REPORT, **asks)
        run_clip.input(partial(_take_clip, bench), [session, run_clip], [*after, run_clip, draft[0]], **asks)
        gr.api(tool_of(bench), api_name="ask", queue=False)
    return page


def look() -> dict[str, Any]:
    """How the page looks: fonts of the machine, since others would come from the network."""
    import gradio as gr

    theme = gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))
    return {"theme": theme, "css_paths": [Path(__file__).with_name("page.css")]}


def _fields(gr: Any, bench: Workbench) -> tuple[dict[str, Any], dict[Treatment, Any]]:
    """What is filled in: of the run, and then in the order of `_draft`'s values; and the buttons."""
    run, fields = bench.run, dict[str, Any]()

    def field(kind: Any, name: str, *args: Any, **options: Any) -> None:
        fields[name] = kind(*args, elem_id=name.replace("_", "-"), **options)

    listed = [(run.label(id), id) for id in list(run.items)[:LISTED]] if run is not None else []
    by_id: dict[str, Any] = {"value": None, "allow_custom_value": True, "visible": run is not None}
    field(gr.Dropdown, "of_run", listed, label="Question of the run: choose, or write its id", **by_id)
    clips = [(printable(name, one_line=True), name) for name in run.clips[:LISTED]] if run is not None else []
    field(gr.Dropdown, "run_clip", clips, label="Another clip of the run: choose, or write its name", **by_id)
    field(gr.Audio, "clip", label="Clip", sources=["upload", "microphone"], type="filepath", buttons=["download"])
    _take_uploads_only(fields["clip"], bench.folder.resolve())
    field(gr.Textbox, "question", label="Question", lines=2)
    field(gr.Textbox, "choices", label="Choices, one a line; none for an open question", lines=4)
    with gr.Row():
        methods = [str(method) for method in bench.methods]
        field(gr.Dropdown, "method", methods, value=str(bench.config.method), label="Method")
        field(gr.Dropdown, "model", list(bench.models), value=bench.config.model, label="Model")
    with gr.Accordion("Another transcript or caption", open=False):
        field(gr.Checkbox, "replaces", label="In place of what the agent's step says (method agent)")
        field(gr.Textbox, "content", label="Transcript or caption", lines=2)
    with gr.Row():
        buttons = {Treatment.ITSELF: gr.Button("Ask", variant="primary", elem_id="ask-button")}
        buttons[Treatment.SILENCE] = gr.Button("with silence", elem_id="silence")
    with gr.Row():
        buttons[Treatment.NOISE] = gr.Button("with noise", elem_id="noise")
        field(gr.Number, "snr_db", 10, label="clip over noise, dB")
    return fields, buttons


def _take_uploads_only(clip: Any, folder: Path) -> None:
    """Gradio would fetch a clip that a client names by an address, and (6.31, mounted) read one by any path."""
    move = clip.async_move_resource_to_block_cache

    async def move_file(path: Any) -> Any:
        if path is not None and not Path(path).resolve().is_relative_to(folder):
            raise ValueError("a clip is a file that was uploaded")
        return await move(path)

    clip.async_move_resource_to_block_cache = move_file


# --- what the buttons do ---------------------------------------------------------------------------------------------


def _load(bench: Workbench, id: str | None) -> list[Any]:
    """The run's question in the fields, and its answer beside it."""
    import gradio as gr

    tab = gr.Tabs(selected="ask")
    try:
        draft, reference = bench.of_run(str(id or ""))
    except LalmError as error:
        return [*_seen(Session(), error=_words(error)), id, *[gr.skip()] * 7, tab]
    fields = [_copy(bench, draft.clip), printable(draft.question), choices_text(draft.choices)]
    return [*_seen(Session(draft, reference)), id, *fields, str(draft.method), draft.model, False, "", tab]


def _take_clip(bench: Workbench, session: Session, name: str) -> list[Any]:
    """Another clip of the run in the field of the clip."""
    import gradio as gr

    try:
        assert bench.run is not None
        return [*[gr.skip()] * 4, None, _copy(bench, str(bench.run.clip(str(name))))]
    except LalmError as error:
        return [*_seen(session, error=_words(error)), None, gr.skip()]


def _copy(bench: Workbench, clip: str) -> str:
    """A file that Gradio may serve, under the name of the clip."""
    folder = bench.folder / uuid.uuid4().hex
    folder.mkdir()
    return str(shutil.copyfile(clip, folder / Path(clip).name))


def _draft(session: Session, treatment: Treatment, values: tuple[Any, ...]) -> Draft:
    """The fields as a draft; of a run's question texts that were not edited are the run's own."""
    clip, question, choices, method, model, replaces, content, snr_db = values
    if clip is None:
        raise UsageError("there is no clip", "upload one, or record it")
    if treatment is Treatment.NOISE and not (isinstance(snr_db, int | float) and -60 <= snr_db <= 100):
        raise UsageError("the level of the noise is no number from -60 to 100", "give decibels, such as 10")
    lines, of_run = tuple(dict.fromkeys(line for line in choices.splitlines() if line.strip())), ""
    if (old := session.draft) is not None:
        of_run = old.of_run
        question = edited(question, printable(old.question), old.question, question)
        lines = edited(choices, choices_text(old.choices), old.choices, lines)
    replaced = content if replaces else None
    return Draft(clip, question, lines, Method(method), model, treatment, snr_db, replaced, of_run)


def _ask(bench: Workbench, treatment: Treatment, session: Session, *values: Any) -> Iterator[tuple[Any, ...]]:
    """Show each step as it ends, and then the answer beside the one before."""
    try:
        yield from _told(bench.ask(_draft(session, treatment, values)), session)
    except LalmError as error:
        yield _seen(session, error=_words(error).replace(str(values[0]), "the clip"))


def _reply(bench: Workbench, session: Session, text: str) -> Iterator[tuple[Any, ...]]:
    assert session.last is not None
    try:
        yield from _told(bench.reply(session.last, text), session)
    except LalmError as error:
        yield _seen(session, error=_words(error))


def _told(items: Iterator[Step | Trial], session: Session) -> Iterator[tuple[Any, ...]]:
    steps: list[Step] = []
    yield _seen(session, steps)
    for item in items:
        if isinstance(item, Step):
            steps.append(item)
            yield _seen(session, steps)
        else:
            yield _seen(replace(session, reference=session.reference or item, last=item))


def _seen(session: Session, steps: list[Step] | None = None, error: str | None = None) -> tuple[Any, ...]:
    """What the page shows of a session: (output, the session, field of the reply, button to compare).

    steps: those so far of a question that is asked now.
    """
    import gradio as gr

    last = session.last if steps is None else None
    reply = gr.Textbox(value="", visible=last is not None and last.asks_back is not None)
    html = shown(last, None if session.reference is last else session.reference, steps, error)
    return html, session, reply, gr.Button(visible=last is not None)


def _compared(session: Session) -> Session:
    return replace(session, reference=session.last or session.reference)


def _words(error: LalmError) -> str:
    return ": ".join(filter(None, (error.message, error.hint)))


# --- the tool for MCP clients ----------------------------------------------------------------------------------------


def tool_of(bench: Workbench) -> Any:
    """The function `ask` of a workbench, whose signature and docstring become the tool's schema."""

    def ask(audio_base64: str, question: str, choices: list[str] | None = None, method: str = "agent") -> str:
        """Answer a question about an audio clip, or say that the model does not know.

        Args:
            audio_base64: the clip, a wav, flac, ogg, mp3 or m4a file in base64; a data: URL is taken, too.
            question: what to ask about the clip.
            choices: the possible answers, two or more; none for an open question.
            method: how to ask: agent, baseline, idk or mcot.

        Returns:
            JSON with status (answered, abstained, unparsed or failed), answer, option_probs, reason, suggestion, steps
        """
        return json_text(_answered(bench, audio_base64, question, tuple(dict.fromkeys(choices or ())), method))

    return ask


def _answered(bench: Workbench, audio: str, question: str, choices: tuple[str, ...], method: str) -> dict[str, Any]:
    path = bench.folder / f"{uuid.uuid4().hex}.clip"
    try:
        if method not in [str(known) for known in bench.methods]:
            raise UsageError(f"no method {method!r} here", f"one of {', '.join(bench.methods)}")
        encoded = audio.rpartition(",")[2] if audio.startswith("data:") else audio
        path.write_bytes(b64decode(encoded.encode(errors="replace"), validate=True))
        *_, trial = bench.ask(Draft(str(path), question, choices, Method(method), bench.config.model))
        assert isinstance(trial, Trial)
        answer = replace(trial.answer, audio=replace(trial.answer.audio, path=""))
        return {**asdict(answer), "ask_back": trial.asks_back}
    except Base64Error:
        return _failure(DataError("the audio is not base64", "encode the bytes of an audio file"))
    except LalmError as error:
        return _failure(error, path)
    finally:
        path.unlink(missing_ok=True)


def _failure(error: LalmError, path: Path | None = None) -> dict[str, Any]:
    message = error.message if path is None else error.message.replace(os.fspath(path), "the clip")
    return {"status": "failed", "failure": {"message": message, "hint": error.hint}}
