"""from_python.py: three ways to ask one agent."""

import asyncio

from lalm_agent import Agent

agent = Agent(model="mini")
answer = agent.ask("examples/clip.wav", "Which animal is heard?", choices=["dog", "cat", "cow", "frog"])
print(answer.status, answer.answer, answer.confidence)
for item in agent.stream("examples/clip.wav", "Which animal is heard?"):
    print(item)  # a Step as each node ends; the last item is the Answer
print(asyncio.run(agent.aask("examples/clip.wav", "Who is speaking?")).reason)
