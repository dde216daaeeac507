"""The agent's content node for speech, filled by the LALM."""

from lalm_agent import prompts
from lalm_agent.records import AudioType
from lalm_agent.state import Task, ToolResult
from lalm_agent.tools.lalm import LalmTool, result_of


class LalmASR(LalmTool):
    """Asks the LALM for the speech content (P1 appendix C, step 2)."""

    def __call__(self, task: Task) -> ToolResult:
        """The model's transcript."""
        prompt = prompts.content_prompt(AudioType.SPEECH)
        return result_of(self.ask(task, prompt), prompt)
