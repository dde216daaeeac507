"""Metrics: pure functions of counts or aligned arrays, one subject a file."""
