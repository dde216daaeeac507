"""The agent as graphs that need nothing beside their input: what langgraph.json names.

    pip install 'langgraph-cli[inmem]'
    langgraph dev

Input: {"audio": "examples/clip.wav", "question": "Which animal is heard?", "choices": ["dog", "cat", "frog"]}.
`agent` answers or abstains; `chat` is interrupted where it abstains, to ask back: resume it with the reply, a text.
The settings are those of the command line: LALM_MODEL and the like, or lalm-agent.toml.
"""

from lalm_agent import Agent, build_graph, load_config

agent = Agent(load_config())
graph = build_graph(agent)
chat = build_graph(agent, asks_back=True)
