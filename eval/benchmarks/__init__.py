"""Benchmarks: one file of data format each, all read into `lalm_agent.eval.items`."""
