"""An agent over large audio language models: it answers a question about a clip, or says that it does not know.

Importing this package loads neither torch nor transformers nor langgraph.
"""
