"""Benchmarks: one file of data format each, all read into `lalm_agent.eval.items`."""

from lalm_agent.eval.benchmarks.loading import NAMES, load_benchmark
from lalm_agent.eval.benchmarks.rows import missing_audio

__all__ = ["NAMES", "load_benchmark", "missing_audio"]
