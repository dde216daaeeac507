"""Evaluation. Empty for now: benchmarks, runs and metrics come here."""
