"""The agent's content node for sound and music, filled by the LALM."""

from lalm_agent import prompts
from lalm_agent.records import AudioType
from lalm_agent.state import Task, ToolResult
from lalm_agent.tools.lalm import LalmTool, result_of


class LalmCaptioner(LalmTool):
    """Asks the LALM for the sound or music content (P1 appendix C, step 2)."""

    def __call__(self, task: Task) -> ToolResult:
        """The model's caption."""
        prompt = prompts.content_prompt(task.audio_type or AudioType.SOUND)
        return result_of(self.ask(task, prompt), prompt)
