"""Runs: what is asked, of which clip, and where every answer is kept."""
