"""own_model.py: a model of one's own; this one has no ears, and knows it."""

from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo


class Deaf:
    """What --model own_model:Deaf makes."""

    spec = ModelSpec(ModelInfo("deaf"), window_s=None, device="cpu", dtype="float32")

    def generate(self, requests):
        """One response for each request, with as many completions as it asks for."""
        return [Response((Completion("IDK", None, "stop"),) * one.n, None, None, None) for one in requests]
