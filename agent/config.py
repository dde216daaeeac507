"""The settings of an agent, in one frozen record."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lalm_agent.records import Method

AnswerMode = Literal["generate", "score"]
Preset = Literal["paper", "assist"]

DEFAULT_MODEL = "mini"
DEFAULT_MAX_AUDIO_S = 3600.0


class AgentConfig(BaseModel):
    """What decides how an agent answers.

    tools: single nodes changed against the preset, such as {"asr": "pocketsphinx"}.
    answer_mode: write an answer, or take the most probable of the choices.
    max_audio_s: longest clip that is accepted, in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = DEFAULT_MODEL
    method: Method = Method.AGENT
    preset: Preset = "assist"
    tools: dict[str, str] = Field(default_factory=dict)
    answer_mode: AnswerMode = "generate"
    max_new_tokens: int = Field(default=256, ge=1)
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    max_audio_s: float = Field(default=DEFAULT_MAX_AUDIO_S, gt=0)
    debug: bool = False
