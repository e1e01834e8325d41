"""Small random coordination problems and the whole as one linear program."""

from gridflock.bench._coordination_monolith import monolith
from gridflock.bench._coordination_world import World, world
from gridflock.plan.coordination import Coordinator, answered


def batteries(seed, ders=24, feeders=2, steps=16):
    """A world of batteries only: those the one program knows."""
    return world(ders, feeders, steps, "batteries", seed, map, 1)


def mixed(seed, ders=60, feeders=3, steps=48, fleet="tight"):
    """Batteries and vehicles."""
    return world(ders, feeders, steps, fleet, seed, map, 1)


def optimum(of: World) -> float:
    """By HiGHS."""
    return monolith(of, 60.0)[0]


def ask(of, question):
    """All oracles' answers, in order."""
    return answered(of.oracles, question)


def run(of, rounds, change=lambda _, answer: answer, **options):
    """A coordinator after so many rounds, or at its target."""
    coordinator = Coordinator(of.problem, **options)
    for k in range(rounds):
        coordinator.absorb(change(k, ask(of, coordinator.question())))
        if coordinator.status().done:
            break
    return coordinator
