"""The workbench of `lalm-agent web`: a question asked live, and asked again with one thing changed.

`workbench` knows clips, questions and agents, `view` makes text of what came of them, `page` is the Gradio page around
both, and `server` serves it with the report of a run and guards it.
"""
