"""Replies from elsewhere: prediction files of other harnesses, and published tables as counts."""
