"""Reports as text: one table type for terminal, Markdown, LaTeX and CSV, and the pages that are built from it."""
