"""from_python.py: one agent, asked three ways."""

import asyncio

from lalm_agent import Agent

agent = Agent(model="mini")
answer = agent.ask("clip.wav", "Which animal is heard?", choices=["dog", "cat", "cow", "frog"])
print(answer.status, answer.answer, answer.confidence)
for item in agent.stream("clip.wav", "Which animal is heard?"):
    print(item)  # a Step as each node ends; the last item is the Answer
print(asyncio.run(agent.aask("clip.wav", "Who is speaking?")).reason)
