"""Loss landscapes: lines, planes and paths between agents, frozen and re-fitted, and curvature."""
