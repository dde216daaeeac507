"""Ways of reading a stored reply: published protocols reimplemented from their descriptions, and language models."""

from lalm_agent.eval.scorers.making import ASKING, SCORERS, make_scorer, model_ref, published_match

__all__ = ["ASKING", "SCORERS", "make_scorer", "model_ref", "published_match"]
