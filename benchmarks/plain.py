"""A CRAR agent trained as people write it in PyTorch today: modules, backward passes, optimizers.

It knows nothing of `crar_diag`. `equality.py` checks that it does the work of the package's
sequential mode, number for number, before anything is timed.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

BATCH = 32
ACTIONS = 4
GAMMA = 0.9
PAIR_SCALE = 5.0
CLIP_NORM = 1.0
LEARNING_RATE = 5e-4
CONSECUTIVE_PAIRS_RATE = LEARNING_RATE / 5


def mlp(*sizes: int) -> list[nn.Module]:
    """Return tanh layers between the sizes, the last one linear."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return layers[:-1]


class Agent(nn.Module):
    """The five networks of the simple maze, 45,880 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), *mlp(64, 200, 100, 50, 10, 2))
        self.transition = nn.Sequential(*mlp(2 + ACTIONS, 10, 30, 30, 10, 2))
        self.reward = nn.Sequential(*mlp(2 + ACTIONS, 10, 50, 20, 1))
        self.discount = nn.Sequential(*mlp(2 + ACTIONS, 10, 50, 20, 1))
        self.q = nn.Sequential(*mlp(2, 20, 50, 20, ACTIONS))


class Losses:
    """The seven losses of one batch; each runs the networks anew, for the weights have moved.

    Args:
        agent: whose losses.
        target: the target networks.
        batch: observation, next_observation `[32, 1, 8, 8]`, action, reward, terminal `[32]`.
    """

    def __init__(self, agent: Agent, target: Agent, batch: Mapping[str, Tensor]) -> None:
        self.agent, self.target = agent, target
        self.observation, self.next_observation = batch["observation"], batch["next_observation"]
        self.action, self.reward_seen = batch["action"], batch["reward"]
        self.going_on = 1 - batch["terminal"]
        self.onehot = F.one_hot(self.action, ACTIONS).to(self.observation.dtype)

    def in_order(self) -> tuple[tuple[str, Callable[[], Tensor]], ...]:
        """Return the losses by name, in the order of the published code."""
        return (
            ("transition", self.transition),
            ("reward", self.reward),
            ("discount", self.discount),
            ("volume", self.volume),
            ("random_pairs", self.random_pairs),
            ("consecutive_pairs", self.consecutive_pairs),
            ("q", self.q),
        )

    def transition(self) -> Tensor:
        """Return mean((x + p(x, a) - x')^2 (1 - terminal))."""
        states = self.agent.encoder(self.observation)
        predicted = states + self.agent.transition(torch.cat([states, self.onehot], dim=1))
        error = predicted - self.agent.encoder(self.next_observation)
        return (error**2 * self.going_on.unsqueeze(1)).mean()

    def reward(self) -> Tensor:
        """Return mean((r - r(x, a))^2)."""
        states = self.agent.encoder(self.observation)
        predicted = self.agent.reward(torch.cat([states, self.onehot], dim=1)).squeeze(1)
        return F.mse_loss(predicted, self.reward_seen)

    def discount(self) -> Tensor:
        """Return mean((gamma (1 - terminal) - g(x, a))^2)."""
        states = self.agent.encoder(self.observation)
        predicted = self.agent.discount(torch.cat([states, self.onehot], dim=1)).squeeze(1)
        return F.mse_loss(predicted, GAMMA * self.going_on)

    def volume(self) -> Tensor:
        """Return mean(clip(max_j x_j^2 - 1, 0, 100))."""
        states = self.agent.encoder(self.observation)
        return ((states**2).amax(dim=1) - 1).clamp(0, 100).mean()

    def random_pairs(self) -> Tensor:
        """Return the repulsion of each state and the one before it in the batch."""
        states = self.agent.encoder(self.observation)
        return repulsion(states, states.roll(1, dims=0))

    def consecutive_pairs(self) -> Tensor:
        """Return the repulsion of s and s'."""
        return repulsion(
            self.agent.encoder(self.observation), self.agent.encoder(self.next_observation)
        )

    def q(self) -> Tensor:
        """Return the squared error of the taken action, divided by the number of actions."""
        with torch.no_grad():
            best = self.target.q(self.target.encoder(self.next_observation)).amax(dim=1)
            wanted = self.reward_seen + GAMMA * self.going_on * best
        values = self.agent.q(self.agent.encoder(self.observation))
        taken = values.gather(1, self.action.unsqueeze(1)).squeeze(1)
        return F.mse_loss(taken, wanted) / ACTIONS


def repulsion(states: Tensor, others: Tensor) -> Tensor:
    """Return mean exp(-C_d ||x - y||), the square of the norm clipped to [1e-6, 10]."""
    square = ((states - others) ** 2).sum(dim=1).clamp(1e-6, 10)
    return torch.exp(-PAIR_SCALE * square.sqrt()).mean()


class Training:
    """One agent, its target networks, its optimizers and its data.

    Args:
        weights: initial weights in the order of `Agent.parameters()`; they decide the precision.
        data: all transitions; see `Losses` for the entries.
        foreach: how RMSprop walks over its tensors: None is PyTorch's default, True its faster way.
        target_period: updates between two copies of the target networks.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        data: Mapping[str, Tensor],
        foreach: bool | None = None,
        target_period: int = 1000,
    ) -> None:
        self.data, self.target_period, self.updates = data, target_period, 0
        self.agent = Agent().to(data["reward"].dtype)
        with torch.no_grad():
            for own, given in zip(self.agent.parameters(), weights, strict=True):
                if own.shape != given.shape:
                    raise ValueError(f"expected a weight of {own.shape}, found {given.shape}")
                own.copy_(given)
        self.target = copy.deepcopy(self.agent)
        self.optimizers = self._optimizers(foreach)
        self.loss_sums = dict.fromkeys(self.optimizers, torch.zeros((), dtype=torch.float64))

    def _optimizers(self, foreach: bool | None) -> dict[str, torch.optim.RMSprop]:
        """Return each loss's RMSprop; reward and discount share one, as in the published code."""

        def rmsprop(*modules: nn.Module, rate: float = LEARNING_RATE) -> torch.optim.RMSprop:
            parameters = [p for module in modules for p in module.parameters()]
            return torch.optim.RMSprop(parameters, lr=rate, alpha=0.9, eps=1e-4, foreach=foreach)

        agent = self.agent
        both = rmsprop(agent.encoder, agent.reward, agent.discount)
        return {
            "transition": rmsprop(agent.encoder, agent.transition),
            "reward": both,
            "discount": both,
            "volume": rmsprop(agent.encoder),
            "random_pairs": rmsprop(agent.encoder),
            "consecutive_pairs": rmsprop(agent.encoder, rate=CONSECUTIVE_PAIRS_RATE),
            "q": rmsprop(agent.encoder, agent.q),
        }

    def update(self, rows: Tensor) -> None:
        """Apply the seven losses, one after the other, to the transitions `rows`."""
        batch = {name: values[rows] for name, values in self.data.items()}
        for name, loss in Losses(self.agent, self.target, batch).in_order():
            if name == "q" and self.updates % self.target_period == 0:
                self.target.load_state_dict(self.agent.state_dict())
            self.agent.zero_grad()
            value = loss()
            value.backward()
            self.clip()
            self.optimizers[name].step()
            self.loss_sums[name] = self.loss_sums[name] + value.detach()
        self.updates += 1

    def clip(self) -> None:
        """Scale each tensor's gradient to norm 1 at most.

        Not `clip_grad_norm_`: it adds 1e-6 to the norm and is slower when called for each tensor.
        """
        for parameter in self.agent.parameters():
            if parameter.grad is not None:
                parameter.grad /= parameter.grad.norm().clamp_min(CLIP_NORM) / CLIP_NORM

    def advance(self, updates: int) -> None:
        """Apply updates on uniformly drawn batches."""
        transitions = len(self.data["reward"])
        for _ in range(updates):
            self.update(torch.randint(transitions, (BATCH,)))
