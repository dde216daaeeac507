"""Scorers: stored replies in, grades out; each published protocol in a file of its own."""
