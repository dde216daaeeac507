"""The agent's first node: sound, music or speech?"""

from lalm_agent import prompts
from lalm_agent.state import Task, ToolResult
from lalm_agent.tools.lalm import LalmTool, result_of


class LalmTypeIdentifier(LalmTool):
    """Asks the LALM for the type of the audio (P1 appendix C, step 1)."""

    def __call__(self, task: Task) -> ToolResult:
        """The model's words; whether they name one type is the graph's to parse."""
        prompt = prompts.type_prompt()
        return result_of(self.ask(task, prompt), prompt)
