"""A feeder of straight lines for the laws of feedback: quantities follow injections exactly linearly."""

from dataclasses import dataclass, field

import numpy as np

from gridflock.dispatch.feedback import Able, Feedback, Powers, Quantity, Sight, Standing, correct, effects


@dataclass
class Line:
    """Devices along a line, a voltage at each port and a power at the head; readings without noise or delay.

    ``wrong`` is what each sensitivity handed to feedback is multiplied by.
    """

    true: np.ndarray
    wrong: np.ndarray
    able: Able
    wanted: Powers
    idle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ramp: np.ndarray
    noise: float = 0.0
    drift: float = 0.0
    version: int = 0
    p_kw: np.ndarray = field(init=False)
    q_kvar: np.ndarray = field(init=False)

    def __post_init__(self):
        self.p_kw, self.q_kvar = self.wanted.p_kw.copy(), np.zeros(len(self.wanted.p_kw))

    @property
    def n(self):
        """Devices, one at each port."""
        return len(self.p_kw)

    def value(self):
        """True quantities now."""
        return self.idle + self.true @ np.concatenate([self.p_kw, self.q_kvar])

    def sight(self, now_s, value=None, at_s=None):
        """What is seen, of now unless told otherwise."""
        m = len(self.idle)
        model = (self.true * self.wrong).astype(np.float32)
        quantity = np.array([Quantity.VOLTAGE] * (m - 1) + [Quantity.POWER], dtype=np.uint8)
        place = np.arange(self.n, dtype=np.int32)
        return Sight(
            tuple(f"row {k}" for k in range(m)), quantity, self.value() if value is None else value,
            np.full(m, float(now_s if at_s is None else at_s)), self.low, self.high,
            np.full(m, self.noise), np.full(m, self.drift), self.ramp,
            effects(model[:, : self.n], model[:, self.n :], place, quantity, self.version),
        )  # fmt: skip

    def tick(self, state, now_s, tuning=None):
        """One tick: all orders are followed at once and known to be."""
        standing = Standing(self.p_kw, self.q_kvar, np.full(self.n, float(now_s) - 0.5))
        answer = correct(state, self.sight(now_s), self.wanted, standing, self.able, float(now_s), tuning)
        self.p_kw = np.where(np.isfinite(answer.p_kw), answer.p_kw, self.p_kw)
        self.q_kvar = np.where(np.isfinite(answer.q_kvar), answer.q_kvar, self.q_kvar)
        return answer


def line(rng, n=6, *, reactive=True, lift=0.0):
    """A line drawn: the further out the higher the voltage when all inject."""
    at = np.sort(rng.uniform(0.2, 1.0, n))
    by_kw = np.minimum(at[:, None], at[None, :]) * 1e-3
    head = np.full((1, 2 * n), 1.0)
    head[0, n:] = 0.0
    true = np.vstack([np.hstack([by_kw, 0.8 * by_kw]), head])
    size = rng.uniform(3.0, 8.0, n)
    able = Able(
        -size * rng.integers(0, 2, n), size, (0.44 if reactive else 0.0) * size, 1.1 * size,
        np.ones(n, dtype=bool), size,
    )  # fmt: skip
    wanted = Powers(size * rng.uniform(0.3, 1.0, n), np.zeros(n))
    low = np.append(np.full(n, 0.95), -np.inf)
    high = np.append(np.full(n, 1.05), np.inf)
    wrong = rng.uniform(0.7, 1.3, true.shape)
    idle = np.append(np.full(n, 1.03 + lift), 0.0)
    return Line(true, wrong, able, wanted, idle, low, high, np.full(n + 1, np.inf))


def begun(world):
    """The state before the first tick."""
    return Feedback.none(world.n)
