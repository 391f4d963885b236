"""An agent of Pydantic AI, run by a Python that has it: its test model calls the tools that it is given."""

import sys

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.test import TestModel

server = MCPToolset(sys.argv[1])
model = TestModel(call_tools=["add", "count"])
print(Agent(model, toolsets=[server]).run_sync("Add two numbers, and count.").output)
