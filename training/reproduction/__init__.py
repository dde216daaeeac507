"""The paper's tables and figures in one run: what is made, in which order, and the report of it."""
