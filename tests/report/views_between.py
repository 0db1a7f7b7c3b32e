"""Views between shipped transfers, for the tests of what becomes of them in a report."""

from functools import cache

from crar_diag.agent.loading import load_agents
from crar_diag.landscape.agents import agent_problem, comparable
from crar_diag.landscape.views import Between
from tests.cli.landscapes import A, B, C


@cache
def between(third: bool = False) -> Between:
    """Return A, B and maybe C, in the domain `inverse`, with A's dynamics."""
    ends = comparable(load_agents([A, B, C] if third else [A, B]))
    return Between(agent_problem(ends.agents[0], ends.domain), ends, ends.agents[0])
