"""Agent-updates a second against the number of agents on one device, and where the time goes.

python benchmarks/gpu.py [--device cuda] [--environment NAME ...] [--members M ...] [--json FILE]

For each environment and number of agents: the update launched kernel by kernel, and as a CUDA
graph. Beside the rates: what an update takes by its floating-point operations alone, at the rate of
one large product in single precision, and by the bytes of the members' state, at the rate of a
copy; and the shares of the kernels' time. `--device cpu` shows that the script runs, not how fast a
GPU is: a CPU has the fused engine, and `train.py` for it.
"""

import argparse
import gc
import itertools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from crar_diag.agent import networks, replay
from crar_diag.agent.architecture import architecture_for
from crar_diag.agent.assembly import member_rule, update_rule
from crar_diag.agent.config import TrainConfig
from crar_diag.agent.engine import Engine, ReferenceEngine
from crar_diag.agent.graphed import GraphedEngine
from crar_diag.agent.population import Population
from crar_diag.agent.presets import preset
from crar_diag.agent.replay import Replay
from crar_diag.agent.streams import stream
from crar_diag.envs.data import gather
from crar_diag.envs.names import ENVIRONMENTS, SIMPLE_MAZE, Environment
from crar_diag.envs.observer import Observer

# Of each agent: a batch takes as long from few as from many, if its pictures are drawn anew for
# it, as a labyrinth's 200,000 transitions have them.
TRANSITIONS = 2000
_TABLE_LIMIT = replay.TABLE_LIMIT
_KINDS = {
    "convolution": ("conv", "cudnn", "implicit_gemm", "winograd"),
    "product": ("gemm", "cutlass", "cublas", "addmm", "bmm", "mm"),
    "picture": ("index", "gather"),
}


@dataclass(frozen=True)
class Row:
    """One measurement: rates in agent-updates a second, memory of the device."""

    environment: str
    engine: str
    agents: int
    rate: float
    by_operations: float
    by_bytes: float
    memory_gb: float
    shares: dict[str, float]


def make(config: TrainConfig, members: int, device: torch.device) -> tuple[Population, Replay]:
    """Return untrained agents with little data, on the device."""
    architecture = architecture_for(config.environment, config.observation)
    agents = [
        networks.initialise(architecture, stream(seed, "initialisation")) for seed in range(members)
    ]
    rules = [member_rule(config)] * members
    population = Population(architecture, networks.stack(agents), update_rule(config), rules)
    data = gather(config.environment, TRANSITIONS, stream(0, "data"))
    observer = Observer(config.environment, config.observation, config.domain)
    replay.TABLE_LIMIT = _TABLE_LIMIT if config.environment == SIMPLE_MAZE else 0
    everyone = [data] * members, [observer] * members, range(members)
    made = Replay(*everyone, config.batch_size, torch.float32, device)
    assert (made.members[0].table is None) == (config.environment != SIMPLE_MAZE)
    return population.to(device), made


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate_of(engine: Engine, population: Population, data: Replay, seconds: float) -> float:
    """Return agent-updates a second; the first updates, which capture and choose, are not timed."""
    device = population.parameters.device
    engine.advance(population, data, 2)
    updates, took = 1, 0.0
    while took < seconds:
        updates *= 2
        synchronise(device)
        start = time.perf_counter()
        engine.advance(population, data, updates)
        synchronise(device)
        took = time.perf_counter() - start
    return updates * len(population) / took


def product_rate(device: torch.device, size: int) -> float:
    """Return operations a second of one product in single precision, without TF32."""
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / best(lambda: torch.mm(a, b), device)


def copy_rate(device: torch.device, count: int) -> float:
    """Return bytes a second that are read and written by a copy."""
    a = torch.randn(count, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / best(lambda: b.copy_(a), device)


def best(work: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    """Return the shortest time of several."""
    found = math.inf
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        found = min(found, time.perf_counter() - start)
    return found


@cache
def operations(environment: Environment, device: torch.device) -> float:
    """Return the floating-point operations of one agent's products and convolutions in an update.

    Of several agents PyTorch would count those of a grouped convolution's gradient once too often
    for each.
    """
    population, data = make(preset(environment), 1, device)
    with FlopCounterMode(display=False) as counted:
        ReferenceEngine().advance(population, data, 1)
    return float(counted.get_total_flops())


def state_bytes(population: Population) -> float:
    """Return the bytes that an update of one agent must move: parameters and squares, both ways."""
    moved = population.parameters.nbytes + population.squares.nbytes
    return 2.0 * moved / len(population)


def shares_of(engine: Engine, population: Population, data: Replay) -> dict[str, float]:
    """Return the share of each kind of kernel in the time of all, from five updates."""
    on_cuda = population.parameters.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with profile(activities=kinds) as seen:
        engine.advance(population, data, 5)
    events = seen.key_averages()
    if on_cuda:
        events = [event for event in events if event.device_type == DeviceType.CUDA]
        if not events:
            sys.exit("the profiler saw no kernel on the device")
    spent: Counter[str] = Counter()
    for event in events:
        took = event.self_device_time_total if on_cuda else event.self_cpu_time_total
        name = event.key.lower()
        fits = (kind for kind, words in _KINDS.items() if any(word in name for word in words))
        spent[next(fits, "other")] += took
    total = sum(spent.values())
    return {kind: took / total for kind, took in spent.most_common()} if total else {}


def measure(
    environment: Environment,
    name: str,
    engine: Engine,
    members: int,
    device: torch.device,
    seconds: float,
    rates: tuple[float, float],
) -> Row:
    """Return the row of one engine and number of agents."""
    config, on_cuda = preset(environment), device.type == "cuda"
    population, data = make(config, members, device)
    rate = rate_of(engine, population, data, seconds)
    # Reserved, for what graphs use counts as allocated in their capture alone.
    memory = torch.cuda.max_memory_reserved(device) / 1e9 if on_cuda else 0.0
    return Row(
        environment,
        name,
        members,
        rate,
        rates[0] / operations(environment, device),
        rates[1] / state_bytes(population),
        memory,
        shares_of(engine, population, data),
    )


def free(device: torch.device) -> None:
    """Give back what the row before has used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    head = (
        "| environment | update | agents | agent-updates/s | by operations | by bytes | GB | "
        "kernels' time |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
    )
    lines = [
        f"| {r.environment} | {r.engine} | {r.agents} | {r.rate:,.4g} | {r.by_operations:,.4g} | "
        f"{r.by_bytes:,.4g} | {r.memory_gb:.2f} | "
        + ", ".join(f"{kind} {share:.0%}" for kind, share in r.shares.items())
        + " |"
        for r in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--environment", action="append", choices=ENVIRONMENTS, help="default both")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 64, 256], metavar="M")
    parser.add_argument("--seconds", type=float, default=3.0, help="timed for each row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args()
    device = torch.device(options.device)
    on_cuda = device.type == "cuda"
    if on_cuda and not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device here: --device cpu shows that the script runs")
    torch.backends.cuda.matmul.allow_tf32 = False
    name = torch.cuda.get_device_name(device) if on_cuda else "CPU"
    rates = (
        product_rate(device, 8192 if on_cuda else 1024),
        copy_rate(device, 10**9 if on_cuda else 10**7),
    )
    print(
        f"{name}; torch {torch.__version__}, numpy {np.__version__}; products "
        f"{rates[0] / 1e12:.2f} TFLOP/s, copies {rates[1] / 1e9:.0f} GB/s\n"
    )
    about = {
        "device": name,
        "torch": torch.__version__,
        "product_flops": rates[0],
        "copy_bytes": rates[1],
    }
    engines: dict[str, Callable[[], Engine]] = {"kernel by kernel": ReferenceEngine}
    if on_cuda:
        engines["graph"] = GraphedEngine
    rows: list[Row] = []
    for environment in options.environment or ENVIRONMENTS:
        for members, (update, engine) in itertools.product(options.members, engines.items()):
            free(device)
            what = f"{environment}, {members} agents, {update}"
            try:
                row = measure(
                    environment, update, engine(), members, device, options.seconds, rates
                )
            except torch.OutOfMemoryError:
                print(f"{what}: more than the device's memory", file=sys.stderr)
                continue
            rows.append(row)
            print(f"{what}: {row.rate:,.4g} a second", file=sys.stderr)
            if options.json:  # after every row: what is measured is kept
                found = {**about, "rows": [asdict(one) for one in rows]}
                options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
