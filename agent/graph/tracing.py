"""LangGraph's runs as spans of OpenTelemetry, by OpenInference, to any collector that takes OTLP over HTTP.

Where to and with which headers is what the standard variables OTEL_EXPORTER_OTLP_… say. A span holds the state of a
graph, which is text and numbers: questions, prompts and replies, and the name and hash of a clip, never its samples.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lalm_agent.errors import Dropped, UsageError
from lalm_agent.registry import require_extra
from lalm_agent.terminal import shortened

_LOGGERS = ("opentelemetry", "openinference", "urllib3")
_TIMEOUT_S = 5.0
"""For one batch of spans with all its attempts, where no variable says: what an absent collector costs at the end."""
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")


@contextmanager
def traced(say: Callable[[str], None]) -> Iterator[None]:
    """Send each graph that runs meanwhile as a trace, its nodes as spans; what is left is sent at the end.

    say: told in one line of the first thing that goes wrong with it, which breaks nothing else.

    Raises UsageError: the extra `trace` is not installed, or a variable wants another protocol or has no such value.
    """
    require_extra("trace")
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        raise UsageError(f"traces are not sent by {protocol}", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, port 4318")
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "lalm-agent"}))
    instrumentor = LangChainInstrumentor()
    with _one_warning(say):
        timeout = None if any(os.environ.get(name) for name in _TIMEOUTS) else _TIMEOUT_S
        try:
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
        except ValueError as error:
            raise UsageError(f"a variable of OpenTelemetry: {error}", "mend it, or leave it out") from error
        instrumentor.instrument(tracer_provider=provider)
        try:
            yield
        except Dropped:  # nobody waits any longer, not for a collector either
            raise
        except BaseException:
            provider.shutdown()
            raise
        else:
            provider.shutdown()
        finally:
            instrumentor.uninstrument()


class _FirstWarning(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say: Callable[[str], None] | None = say

    def emit(self, record: logging.LogRecord) -> None:
        say, self._say = self._say, None
        if say is not None:
            say(f"warning: spans are lost, is the collector there? {shortened(record.getMessage(), 200)}")


@contextmanager
def _one_warning(say: Callable[[str], None]) -> Iterator[None]:
    """Of all that the libraries log meanwhile only the first warning is said."""
    handler = _FirstWarning(say)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.propagate, logger.handlers[:]) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, [handler]
    try:
        yield
    finally:
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers
