"""The recipe that makes the embedded model `mini`: tokenizer, features, warm start, joint training, export.

Run it with `python -m lalm_agent.training.mini --out FOLDER`; measure a model with
`python -m lalm_agent.training.mini.evaluate --model FOLDER`.
"""
