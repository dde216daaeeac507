"""Results that depend on the clip alone are found once a process."""

from collections import OrderedDict
from dataclasses import replace
from threading import Lock

from lalm_agent.records import AudioType
from lalm_agent.state import Task, Tool, ToolResult

_KEPT_CLIPS = 4096

_Key = tuple[str, AudioType | None]


class PerClip:
    """Wraps a type, ASR or caption tool; keyed by the clip's sha256 and the type that was found.

    Several threads may call it: those that ask about one clip at the same time wait for the first of them.
    """

    def __init__(self, tool: Tool) -> None:
        """Keep the tool and no results yet."""
        self._tool = tool
        self._results: OrderedDict[_Key, ToolResult] = OrderedDict()
        self._lock = Lock()
        self._turns: dict[_Key, tuple[Lock, int]] = {}

    @property
    def name(self) -> str:
        """The wrapped tool's name."""
        return self._tool.name

    def __call__(self, task: Task) -> ToolResult:
        """The wrapped tool's result, or the one it gave before for this clip, marked as cached.

        Raises what the tool raises, which is not kept: whoever waited then calls the tool.
        """
        key = (task.sound.ref.sha256, task.audio_type)
        turn = self._enter(key)
        try:
            with turn:
                kept = self._kept(key)
                if kept is not None:
                    return replace(kept, cached=True)
                result = self._tool(task)
                self._keep(key, result)
                return result
        finally:
            self._leave(key)

    def _kept(self, key: _Key) -> ToolResult | None:
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key)

    def _keep(self, key: _Key, result: ToolResult) -> None:
        with self._lock:
            self._results[key] = result
            while len(self._results) > _KEPT_CLIPS:
                self._results.popitem(last=False)

    def _enter(self, key: _Key) -> Lock:
        """The lock of a key, there as long as somebody is at it."""
        with self._lock:
            turn, users = self._turns.get(key, (Lock(), 0))
            self._turns[key] = (turn, users + 1)
            return turn

    def _leave(self, key: _Key) -> None:
        with self._lock:
            turn, users = self._turns.pop(key)
            if users > 1:
                self._turns[key] = (turn, users - 1)
