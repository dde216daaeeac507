"""Results that depend on the clip alone are found once a process."""

from collections import OrderedDict
from dataclasses import replace

from lalm_agent.records import AudioType
from lalm_agent.state import Task, Tool, ToolResult

_KEPT_CLIPS = 4096


class PerClip:
    """Wraps a type, ASR or caption tool; keyed by the clip's sha256 and the type that was found."""

    def __init__(self, tool: Tool) -> None:
        """Keep the tool and no results yet."""
        self._tool = tool
        self._results: OrderedDict[tuple[str, AudioType | None], ToolResult] = OrderedDict()

    @property
    def name(self) -> str:
        """The wrapped tool's name."""
        return self._tool.name

    def __call__(self, task: Task) -> ToolResult:
        """The wrapped tool's result, or the one it gave before for this clip, marked as cached."""
        key = (task.sound.ref.sha256, task.audio_type)
        if key in self._results:
            self._results.move_to_end(key)
            return replace(self._results[key], cached=True)
        result = self._tool(task)
        self._results[key] = result
        while len(self._results) > _KEPT_CLIPS:
            self._results.popitem(last=False)
        return result
