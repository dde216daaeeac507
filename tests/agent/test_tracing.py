"""Spans of what an agent does: what is in them, what is not, and who gets them."""

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lalm_agent import Agent
from lalm_agent.cli.main import run

RATE = 16_000
ASKED = ("clip.wav", "Which animal?", "-c", "dog", "-c", "cat", "-m", "scripted:script.jsonl")
Said = Callable[[], tuple[str, str]]


@pytest.fixture(autouse=True)
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The working folder has a clip of noise, these samples, and a model of three replies; no variable is set."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", noise, RATE, subtype="FLOAT")
    replies = ("Sound", "a dog barks", "dog")
    (tmp_path / "script.jsonl").write_text("".join(json.dumps({"reply": reply}) + "\n" for reply in replies))
    monkeypatch.chdir(tmp_path)
    return noise


# --- from Python -----------------------------------------------------------------------------------------------------


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """What LangChain's runs leave, as docs/tracing.md says how."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    LangChainInstrumentor().instrument(tracer_provider=provider)
    yield exporter
    LangChainInstrumentor().uninstrument()


def test_each_node_is_a_span_with_its_prompt_and_output(exported: InMemorySpanExporter) -> None:
    Agent(model="scripted:script.jsonl").ask("clip.wav", "Which animal?", ["dog", "cat"])
    spans = {span.name: span for span in exported.get_finished_spans()}
    root = spans["lalm-agent-agent"]
    assert root.parent is None
    assert [name for name, span in spans.items() if span.parent and span.parent.span_id == root.context.span_id] == [
        "type",
        "caption",
        "answer",
    ]
    for node, words, reply in (
        ("type", "Identify the type", "Sound"),
        ("caption", "What is the Sound content?", "a dog barks"),
        ("answer", "Which animal?", "dog"),
    ):
        (step,) = json.loads(spans[node].attributes["output.value"])["steps"]
        assert (step["node"], step["tool"], step["output"]) == (node, "lalm", reply)
        assert words in step["prompt"]
    assert json.loads(root.attributes["output.value"])["answer"] == "dog"


@pytest.mark.parametrize("as_array", [False, True], ids=["file", "array"])
def test_no_sample_of_the_clip_is_in_a_span(
    exported: InMemorySpanExporter, samples: np.ndarray, as_array: bool
) -> None:
    with Agent(model="scripted:script.jsonl") as agent:
        agent.ask((samples, RATE) if as_array else "clip.wav", "Which animal?", ["dog", "cat"])
    text = "".join(span.to_json() for span in exported.get_finished_spans())
    raw, pcm = samples.tobytes(), (samples * 32767).astype("<i2").tobytes()
    for data in (raw, pcm, Path("clip.wav").read_bytes()):
        # Three offsets, since base64 of a part depends on where it begins.
        assert not any(base64.b64encode(data[3000 + at : 3090 + at]).decode()[4:-4] in text for at in range(3))
        assert data[3000:3030].hex() not in text
    assert str(float(samples[100])) not in text
    assert len(text) < len(raw) / 5


def test_a_failed_node_and_a_callers_span_are_seen(exported: InMemorySpanExporter, tmp_path: Path) -> None:
    (tmp_path / "script.jsonl").write_text(json.dumps({"reply": "Sound"}) + "\n")
    tracer = LangChainInstrumentor()._tracer._tracer
    with tracer.start_as_current_span("mine") as mine:
        answer = Agent(model="scripted:script.jsonl").ask("clip.wav", "Which animal?", ["dog", "cat"])
    assert answer.status == "failed"
    spans = {span.name: span for span in exported.get_finished_spans()}
    assert spans["lalm-agent-agent"].parent.span_id == mine.get_span_context().span_id
    assert not spans["caption"].status.is_ok
    assert spans["type"].status.is_ok


def test_the_documents_code_sends_spans(collector: "Collector") -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "tracing.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    try:
        exec(code.replace('"mini"', '"scripted:script.jsonl"').replace("examples/clip.wav", "clip.wav"), {})
    finally:
        LangChainInstrumentor().uninstrument()
    assert "answer" in {span.name for span in collector.spans()}


# --- from the command line -------------------------------------------------------------------------------------------


class Collector:
    """A server that takes OTLP over HTTP; bodies and headers of what came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                parsed = ExportTraceServiceRequest.FromString(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.requests.append((self.path, headers, parsed))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[Any]:
        resources = [resource for _, _, request in self.requests for resource in request.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_a_collector_gets_the_spans_by_the_standard_variables(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
    assert run(["ask", *ASKED]) == 0
    plain = said()
    assert collector.requests == []
    assert run(["ask", *ASKED, "--trace"]) == 0
    assert said()[0] == plain[0]
    path, headers, request = collector.requests[0]
    assert (path, headers["x-key"], headers["content-type"]) == ("/v1/traces", "secret", "application/x-protobuf")
    resource = {pair.key: pair.value.string_value for pair in request.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "lalm-agent"
    assert {span.name for span in collector.spans()} >= {"type", "caption", "answer", "lalm-agent-agent"}
    values = [pair.value.string_value for span in collector.spans() for pair in span.attributes]
    assert any("a dog barks" in value for value in values)
    sent = len(collector.requests)
    assert run(["ask", *ASKED]) == 0
    assert len(collector.requests) == sent, "without the flag nothing is sent, afterwards either"


def test_an_evaluation_sends_a_trace_for_each_question(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    row = {"audio": "clip.wav", "question": "Which?", "choices": ["dog", "cat"], "answer": "dog", "modality": "sound"}
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({**row, "id": f"q{n}"}) + "\n" for n in range(3)))
    (tmp_path / "script.jsonl").write_text((json.dumps({"reply": "dog"}) + "\n") * 3)
    command = ["eval", "data.jsonl", "-m", "scripted:script.jsonl", "--method", "baseline", "-o", "run", "--trace"]
    assert run(command) == 0
    spans = collector.spans()
    assert sorted(span.name for span in spans if not span.parent_span_id) == ["lalm-agent-baseline"] * 3
    assert len({span.trace_id for span in spans}) == 3
    resource = collector.requests[0][2].resource_spans[0].resource.attributes
    assert "mine" in [pair.value.string_value for pair in resource if pair.key == "service.name"]


def test_a_collector_that_is_away_costs_one_line(monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    assert run(["ask", *ASKED]) == 0
    out, err = said()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    assert run(["ask", *ASKED, "--trace"]) == 0
    traced_out, traced_err = said()
    assert traced_out == out
    more = traced_err.splitlines()[len(err.splitlines()) :]
    assert [line[:24] for line in more] == ["warning: spans are lost,"]


def test_what_cannot_be_done_is_said_before_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert run(["ask", *ASKED, "--trace"]) == 2
    assert "http/protobuf" in said()[1]
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL")
    for name, value in (("OTEL_BSP_MAX_QUEUE_SIZE", "0"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "few")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert run(["ask", *ASKED, "--trace"]) == 2
        assert said()[1].startswith("error: a variable of OpenTelemetry: ")
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: False)
    assert run(["ask", *ASKED, "--trace"]) == 2
    err = said()[1]
    assert "[trace]" in err
    assert len(err.splitlines()) == 2
