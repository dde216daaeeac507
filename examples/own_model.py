"""own_model.py: a model of your own. This one hears nothing and says so."""

from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo


class Deaf:
    """What --model own_model:Deaf makes."""

    spec = ModelSpec(ModelInfo("deaf"), window_s=None, device="cpu", dtype="float32")

    def generate(self, requests):
        """One response for each request, with as many completions as it asks for."""
        return [Response((Completion("IDK", None, "stop"),) * request.n, None, None, None) for request in requests]
