"""template.py: a worker for a model of your own. Fill in the three places; the rest may stay.

Copy it, and run it as --model exec:PYTHON:template.py:FOLDER with the Python of the model's own environment.
"""


class Model:
    """What lalm-agent makes and asks. A model that can score has `score(requests)`, too."""

    def __init__(self, argument, device):
        """Load the weights. argument: what stood behind the second colon, or None. device: of --device."""
        self.model = argument  # 1. here

    def hello(self):
        """Name and version go into every answer; the window is the longest audio in seconds that the model hears."""
        return {"name": "template", "version": "1", "window_s": 30.0}  # 2. here

    def generate(self, requests):
        """A list for each request, with a reply for each of its seeds."""
        return [[self.reply(request, seed) for seed in request["seeds"]] for request in requests]

    def reply(self, request, seed):
        """One reply, greedy where the temperature is 0."""
        prompt = request["turns"][-1]["text"]  # a conversation has several turns, each with its "role"
        path = request["audio"]  # a 16 kHz mono wav file, or None
        return f"IDK, {self.model} did not hear {path} and cannot say: {prompt}"  # 3. here
