"""The settings of an agent, in one frozen record. Where they come from is the affair of `lalm_agent.settings`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lalm_agent.records import Method

AnswerMode = Literal["generate", "score"]
Preset = Literal["paper", "assist"]

DEFAULT_MODEL = "mini"
DEFAULT_MAX_AUDIO_S = 3600.0


class AgentConfig(BaseModel):
    """What decides how an agent answers.

    preset: fills every node: `paper` with the LALM, `assist` with the best tool installed.
    tools: single nodes changed against the preset, such as {"asr": "pocketsphinx"}.
    answer_mode: write an answer, or take the most probable of the choices.
    adapter: folder of a PEFT adapter, put on for the answering node only.
    temperature: of the answering node; 0 is greedy. The type and content steps are always greedy: what they find
        belongs to the clip and is kept for all questions about it. Mode `score` samples nothing.
    seed: of the sampling noise, which a question's id, its draw and the position in the reply key as well.
    timeout_s: seconds for one attempt at an endpoint; one request with all its attempts has three times that.
    trust_env: honour the environment's proxies (`http_proxy` and the like) for endpoints.
    hears_audio: False to ask the model without the clip: a text-only one, or a blind control of one that hears. Tools
        that hear for themselves, such as an ASR, still do.
    max_audio_s: longest clip that is accepted, in seconds.
    checkpoint: an SQLite file that keeps the states of each question's graph.
    debug: raise the error of a failed node in place of recording it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = DEFAULT_MODEL
    method: Method = Method.AGENT
    preset: Preset = "assist"
    tools: dict[str, str] = Field(default_factory=dict)
    answer_mode: AnswerMode = "generate"
    adapter: str | None = None
    max_new_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    timeout_s: float = Field(default=120.0, gt=0)
    trust_env: bool = False
    hears_audio: bool = True
    max_audio_s: float = Field(default=DEFAULT_MAX_AUDIO_S, gt=0)
    checkpoint: str | None = None
    debug: bool = False
