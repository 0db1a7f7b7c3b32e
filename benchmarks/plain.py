"""CRAR agents trained as people write them in PyTorch today: modules, backward passes, optimizers.

It knows nothing of `crar_diag`. `equality.py` checks that it does the package's work, number for
number, before anything is timed.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
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

LOSSES = (
    "transition",
    "reward",
    "discount",
    "volume",
    "random_pairs",
    "consecutive_pairs",
    "q",
)
"""In the order of the published code."""


def mlp(*sizes: int) -> list[nn.Module]:
    """Return tanh layers between the sizes, the last one linear."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return layers[:-1]


def conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Return a 'same' convolution with tanh; even kernels see one more at the right and below."""
    if kernel % 2:
        return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.Tanh()]
    return [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(inputs, outputs, kernel), nn.Tanh()]


class ChannelsLast(nn.Module):
    """Makes vectors of images, channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """Turn `[batch, c, h, w]` into `[batch, h * w * c]`."""
        return x.movedim(1, -1).flatten(1)


class SimpleMaze(nn.Module):
    """The five networks of the simple maze, 45,880 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), *mlp(64, 200, 100, 50, 10, 2))
        self.transition = nn.Sequential(*mlp(2 + ACTIONS, 10, 30, 30, 10, 2))
        self.reward = nn.Sequential(*mlp(2 + ACTIONS, 10, 50, 20, 1))
        self.discount = nn.Sequential(*mlp(2 + ACTIONS, 10, 50, 20, 1))
        self.q = nn.Sequential(*mlp(2, 20, 50, 20, ACTIONS))

    def join(self, states: Tensor, onehot: Tensor) -> Tensor:
        """Return the input of transition, reward and discount."""
        return torch.cat([states, onehot], dim=1)


class Labyrinth(nn.Module):
    """The five networks of the labyrinth, whose states are images of 3 x 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *conv(1, 8, 2),
            *conv(8, 16, 2),
            nn.MaxPool2d(2),
            *conv(16, 32, 3),
            nn.MaxPool2d(3),
            nn.Conv2d(32, 3, 1),
        )
        self.transition = nn.Sequential(
            *conv(3 + ACTIONS, 16, 1),
            *conv(16, 32, 2),
            *conv(32, 64, 3),
            *conv(64, 32, 2),
            *conv(32, 16, 1),
            nn.Conv2d(16, 3, 1),
        )
        self.reward = self._head(3 + ACTIONS, 1)
        self.discount = self._head(3 + ACTIONS, 1)
        self.q = self._head(3, ACTIONS)

    @staticmethod
    def _head(channels: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            *conv(channels, 16, 2),
            *conv(16, 32, 3),
            nn.MaxPool2d(2),
            *conv(32, 16, 2),
            *conv(16, 4, 1),
            ChannelsLast(),
            *mlp(4 * 4 * 4, 200, 50, 20, outputs),
        )

    def join(self, states: Tensor, onehot: Tensor) -> Tensor:
        """Return the input of transition, reward and discount: one plane an action, the state."""
        planes = onehot[:, :, None, None].expand(-1, -1, *states.shape[2:])
        return torch.cat([planes, states], dim=1)


Agent = SimpleMaze | Labyrinth


@dataclass(frozen=True)
class Task:
    """What differs between the two environments.

    Attributes:
        networks: the agent.
        double_q: whether double DQN gives the target of Q.
        consecutive_pairs: weight of that loss; all others have weight 1.
    """

    networks: type[Agent]
    double_q: bool
    consecutive_pairs: float

    def weight(self, loss: str) -> float:
        """Return the weight of a loss."""
        return self.consecutive_pairs if loss == "consecutive_pairs" else 1.0


TASKS = {
    "simple-maze": Task(SimpleMaze, double_q=False, consecutive_pairs=0.2),
    "labyrinth": Task(Labyrinth, double_q=True, consecutive_pairs=1.0),
}


class Losses:
    """The seven losses of one batch, each a method; they share one forward pass on s and on s'.

    Args:
        task: the environment.
        agent: whose losses.
        target: the target networks.
        batch: observation, next_observation `[32, 1, h, w]`, action, reward, going_on `[32]`,
            onehot `[32, 4]`.
    """

    def __init__(
        self, task: Task, agent: Agent, target: Agent, batch: Mapping[str, Tensor]
    ) -> None:
        self.task, self.agent, self.target, self.batch = task, agent, target, batch

    @cached_property
    def states(self) -> Tensor:
        """The encoded s."""
        return self.agent.encoder(self.batch["observation"])

    @cached_property
    def next_states(self) -> Tensor:
        """The encoded s'."""
        return self.agent.encoder(self.batch["next_observation"])

    @cached_property
    def joined(self) -> Tensor:
        """The states with their actions."""
        return self.agent.join(self.states, self.batch["onehot"])

    def transition(self) -> Tensor:
        """Return mean((x + p(x, a) - x')^2 (1 - terminal))."""
        error = (self.states + self.agent.transition(self.joined) - self.next_states).flatten(1)
        return (error**2 * self.batch["going_on"].unsqueeze(1)).mean()

    def reward(self) -> Tensor:
        """Return mean((r - r(x, a))^2)."""
        return F.mse_loss(self.agent.reward(self.joined).squeeze(1), self.batch["reward"])

    def discount(self) -> Tensor:
        """Return mean((gamma (1 - terminal) - g(x, a))^2)."""
        predicted = self.agent.discount(self.joined).squeeze(1)
        return F.mse_loss(predicted, GAMMA * self.batch["going_on"])

    def volume(self) -> Tensor:
        """Return mean(clip(max_j x_j^2 - 1, 0, 100)), j among channels in an image."""
        return ((self.states**2).amax(dim=1) - 1).clamp(0, 100).mean()

    def random_pairs(self) -> Tensor:
        """Return the repulsion of each state and the one before it in the batch."""
        return repulsion(self.states, self.states.roll(1, dims=0))

    def consecutive_pairs(self) -> Tensor:
        """Return the repulsion of s and s'."""
        return repulsion(self.states, self.next_states)

    def q(self) -> Tensor:
        """Return the squared error of the taken action, divided by the number of actions."""
        # Where the forward pass is shared, the transition loss has encoded s' with its gradient.
        with torch.no_grad():
            values = self.target.q(self.target.encoder(self.batch["next_observation"]))
            if self.task.double_q:
                chosen = self.agent.q(self.next_states).argmax(dim=1, keepdim=True)
                best = values.gather(1, chosen).squeeze(1)
            else:
                best = values.amax(dim=1)
            wanted = self.batch["reward"] + GAMMA * self.batch["going_on"] * best
        taken = self.agent.q(self.states).gather(1, self.batch["action"].unsqueeze(1)).squeeze(1)
        return F.mse_loss(taken, wanted) / ACTIONS


def repulsion(states: Tensor, others: Tensor) -> Tensor:
    """Return mean exp(-C_d ||x - y||), the square of the norm clipped to [1e-6, 10]."""
    square = ((states - others).flatten(1) ** 2).sum(dim=1).clamp(1e-6, 10)
    return torch.exp(-PAIR_SCALE * square.sqrt()).mean()


class Training:
    """One agent, its target networks, its optimizers and its data.

    Args:
        task: the environment.
        weights: initial weights in the order of the agent's parameters; they decide the precision.
        data: pictures `[K, 1, h, w]`; first, second (the pictures of s and s'), action, reward,
            terminal, one each a transition.
        mode: `sequential` (one step a loss, each from a forward pass of its own), `simultaneous`
            (the same steps from one forward pass) or `joint` (one step on the weighted sum).
        frozen: whether only the encoder moves.
        target_period: updates between two copies of the target networks.
    """

    def __init__(
        self,
        task: Task,
        weights: Iterable[Tensor],
        data: Mapping[str, Tensor],
        mode: str = "sequential",
        frozen: bool = False,
        target_period: int = 1000,
    ) -> None:
        self.task, self.data, self.target_period, self.updates = task, data, target_period, 0
        self.agent = task.networks().to(data["reward"].dtype)
        with torch.no_grad():
            for own, given in zip(self.agent.parameters(), weights, strict=True):
                if own.shape != given.shape:
                    raise ValueError(f"expected a weight of {own.shape}, found {given.shape}")
                own.copy_(given)
        self.target = copy.deepcopy(self.agent)
        if frozen:
            self.agent.requires_grad_(False)
            self.agent.encoder.requires_grad_(True)
        self.optimizers = self._joint_optimizer() if mode == "joint" else self._loss_optimizers()
        self.apply = {
            "sequential": self._sequential,
            "simultaneous": self._simultaneous,
            "joint": self._joint,
        }[mode]
        self.loss_sums = dict.fromkeys(LOSSES, torch.zeros((), dtype=torch.float64))

    def _joint_optimizer(self) -> dict[str, torch.optim.RMSprop]:
        return {"joint": rmsprop(LEARNING_RATE, self.agent)}

    def _loss_optimizers(self) -> dict[str, torch.optim.RMSprop]:
        """Return each loss's RMSprop; reward and discount share one, as in the published code."""
        agent = self.agent
        both = rmsprop(LEARNING_RATE, agent.encoder, agent.reward, agent.discount)
        pairs_rate = LEARNING_RATE * self.task.weight("consecutive_pairs")
        return {
            "transition": rmsprop(LEARNING_RATE, agent.encoder, agent.transition),
            "reward": both,
            "discount": both,
            "volume": rmsprop(LEARNING_RATE, agent.encoder),
            "random_pairs": rmsprop(LEARNING_RATE, agent.encoder),
            "consecutive_pairs": rmsprop(pairs_rate, agent.encoder),
            "q": rmsprop(LEARNING_RATE, agent.encoder, agent.q),
        }

    def _batch(self, rows: Tensor) -> dict[str, Tensor]:
        data = self.data
        action, reward = data["action"][rows], data["reward"][rows]
        return {
            "observation": data["pictures"][data["first"][rows]],
            "next_observation": data["pictures"][data["second"][rows]],
            "action": action,
            "reward": reward,
            "going_on": 1 - data["terminal"][rows],
            "onehot": F.one_hot(action, ACTIONS).to(reward.dtype),
        }

    def update(self, rows: Tensor) -> None:
        """Apply one update on the transitions `rows`."""
        self.apply(self._batch(rows))
        self.updates += 1

    def _sequential(self, batch: Mapping[str, Tensor]) -> None:
        for name in LOSSES:
            if name == "q":
                self._refresh_target()
            # Anew for every loss, for the weights have moved.
            loss = self._loss(name, Losses(self.task, self.agent, self.target, batch))
            self.agent.zero_grad()
            loss.backward()
            self._step(name)

    def _simultaneous(self, batch: Mapping[str, Tensor]) -> None:
        self._refresh_target()
        losses = Losses(self.task, self.agent, self.target, batch)
        values = {name: self._loss(name, losses) for name in LOSSES}
        moving = [p for p in self.agent.parameters() if p.requires_grad]
        gradients = {
            name: torch.autograd.grad(value, moving, retain_graph=True, allow_unused=True)
            for name, value in values.items()
        }
        for name, own in gradients.items():
            for parameter, gradient in zip(moving, own, strict=True):
                parameter.grad = gradient
            self._step(name)

    def _joint(self, batch: Mapping[str, Tensor]) -> None:
        self._refresh_target()
        losses = Losses(self.task, self.agent, self.target, batch)
        weighted = [self.task.weight(name) * self._loss(name, losses) for name in LOSSES]
        self.agent.zero_grad()
        torch.stack(weighted).sum().backward()
        self._step("joint")

    def _loss(self, name: str, losses: Losses) -> Tensor:
        """Return a loss and add it to its sum."""
        value: Tensor = getattr(losses, name)()
        self.loss_sums[name] = self.loss_sums[name] + value.detach()
        return value

    def _refresh_target(self) -> None:
        """Copy the agent to the target networks if it is time to."""
        if self.updates % self.target_period == 0:
            self.target.load_state_dict(self.agent.state_dict())

    def _step(self, name: str) -> None:
        """Scale each tensor's gradient to norm 1 at most, and take the optimizer's step.

        Not `clip_grad_norm_`: it adds 1e-6 to the norm and is slower when called for each tensor.
        """
        for parameter in self.agent.parameters():
            if parameter.grad is not None:
                parameter.grad /= parameter.grad.norm().clamp_min(CLIP_NORM) / CLIP_NORM
        self.optimizers[name].step()

    def advance(self, updates: int) -> None:
        """Apply updates on uniformly drawn batches."""
        transitions = len(self.data["reward"])
        for _ in range(updates):
            self.update(torch.randint(transitions, (BATCH,)))


def rmsprop(rate: float, *modules: nn.Module) -> torch.optim.RMSprop:
    """Return the optimizer of what moves in the modules, in PyTorch's faster way (`foreach`)."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return torch.optim.RMSprop(parameters, lr=rate, alpha=0.9, eps=1e-4, foreach=True)
