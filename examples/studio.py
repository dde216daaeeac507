"""The agent as a graph that needs nothing beside its input: what langgraph.json names.

    pip install 'langgraph-cli[inmem]'
    langgraph dev

Input: {"audio": "examples/clip.wav", "question": "Which animal is heard?", "choices": ["dog", "cat", "frog"]}.
The settings are those of the command line: LALM_MODEL and the like, or lalm-agent.toml.
"""

from lalm_agent import Agent, build_graph, load_config

graph = build_graph(Agent(load_config()))
