"""A limit on what a model is asked, for endpoints that cost money."""

from collections.abc import Sequence
from threading import Lock

from lalm_agent.errors import BudgetSpent
from lalm_agent.models.base import LALM, Request, Response


class Budget:
    """How many requests may be made, and how many were. Several models may share one.

    limit: None for no limit; the requests are counted all the same.
    """

    def __init__(self, limit: int | None = None) -> None:
        """Nothing is spent yet."""
        self.limit = limit
        self.spent = 0
        self._lock = Lock()

    def take(self, count: int) -> None:
        """Spend that many requests, all of them or none.

        Raises:
            BudgetSpent: the limit would be passed.
        """
        with self._lock:
            if self.limit is not None and self.spent + count > self.limit:
                raise BudgetSpent(
                    f"the limit of {self.limit} requests is reached: {self.spent} were made, {count} more are needed",
                    "raise --max-requests and run the same command again",
                )
            self.spent += count


class Counted:
    """A model that is asked only while the budget lasts.

    One completion is one request; so is one that asks for no completion but only for scores. What is counted is what
    the model is asked: an endpoint's own retries after a rate limit or a cut connection are not in it, a graph's are.
    """

    def __init__(self, model: LALM, budget: Budget) -> None:
        """Keep both."""
        self._model = model
        self._budget = budget
        self.spec = model.spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request. Raises what the model raises, and `BudgetSpent` before anything is asked."""
        self._budget.take(sum(max(1, request.n) for request in requests))
        return self._model.generate(requests)
