/** Invented answers of what forecasts and devices know: as the façade gives them, for work on the page alone. */

const LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
const SCORES = LEVELS.map((q) => 2.563 * (q - 0.5))
const HOUR = 3_600_000
const iso = (ms) => new Date(ms).toISOString()
const edges = (from, n, step) => Array.from({ length: n + 1 }, (_, k) => iso(from + k * step))

/** `net` is the head's power at a moment, house sign. */
export function outlook(group, now, net) {
  const share = group === 'all' || group === 'fleet' ? 1 : 0.1
  const start = Math.floor(now / 900_000) * 900_000
  const past = Array.from({ length: 96 }, (_, k) => start - (96 - k) * 900_000)
  const t = edges(start, 96, 900_000)
  const spread = (k) => share * (30 + 12 * Math.sqrt(k))
  return {
    group, known_at: iso(start), by: 'past days', step_s: 900, past_t: past.map(iso),
    past_kw: past.map((ms) => share * (net(ms) + 40 * Math.sin(ms / 7e5))), t, levels: LEVELS,
    ahead_kw: SCORES.map((z) => t.slice(1).map((_, k) => share * net(start + k * 900_000) + z * spread(k))),
    parts: ['outside', 'plan/sun/residential/s1', 'plan/thermal/residential/s1'].map((series, s) => ({
      series, share, steps: 1_344, below: LEVELS.map((q) => q + 0.04 * (s - 1) * Math.sin(3 * q)),
    })),
  }
}

export function card(now) {
  const marks = ['outside', 'plan/sun/residential/s1', 'plan/thermal/residential/s1'].flatMap((series, s) =>
    ['habits', 'learned'].map((method, m) => ({
      series, method, champion: m === (s < 2 ? 1 : 0), days: 14, mae_kw: 22 / (s + 1), nmae: 0.05, pinball_kw: 5,
      crps_kw: 10, crps_ratio: m ? 0.8 + 0.15 * s : 1, coverage: 0.8 - 0.07 * s,
    })),
  )
  return {
    learnt_at: iso(now - 9 * HOUR), known_days: 42, needed_days: 21, weather_until: iso(now + 48 * HOUR),
    models: { outside: 1, sun: 14 }, failed: [], marks,
    drift: [{ series: 'plan/thermal/residential/s1', rule: 'narrow', method: 'habits', value: 0.62, since: iso(now - 168 * HOUR) }],
    faults: [], hidden: [{ id: 'load-17', peak_kw: 4.2, expected_error: 0.11, correlation: 0.8, reason: '' }], hidden_looked: 91,
    near: [{ series: 'outside', days: 6, crps_kw: 9, crps_ratio: 0.71, coverage: 0.79, drift: 1.0 }],
  }
}

export function emerging(now, feeder) {
  const start = Math.floor(now / 900_000) * 900_000
  const t = edges(start, 24, HOUR)
  const limit = (kind, element, chance, at, excess, need_kw, helpers) => ({
    kind, element, chance, start: t[at], excess, need_kw, helpers,
    by_step: t.slice(1).map((_, k) => (Math.abs(k - at) < 3 ? chance * (1 - Math.abs(k - at) / 4) : 0)),
  })
  const bus = feeder.buses.at(-1)
  const helper = { id: 'vpp/north', move_kw: 12.5, relief: 0.004 }
  const limits = [
    limit('thermal', feeder.branches[8].id, 0.74, 5, 21.5, 140, [helper]),
    limit('voltage low', `${bus.id}.${bus.phases[0]}`, 0.18, 3, 0.004, null, []),
  ]
  return { plan_made_at: iso(start), t, paths: 100, by: 'past days', unsolved: 0, limits, found: limits.length }
}

export function flexibility(group, hours, notice_s, now) {
  const start = Math.floor(now / 900_000) * 900_000
  const t = edges(start, 4 * hours - 1, 900_000)
  const three = (p50, width) => Object.fromEntries([['p10', -1], ['p50', 0], ['p90', 1]].map(([p, z]) => [p, t.map((_, k) => p50(k) + z * width)]))
  const way = (most, run_s) => ({
    change_kw: three((k) => most * (1 + 0.2 * Math.sin(k / 6)), 0.08 * most),
    rebound_kwh: three(() => (most * run_s) / 3600, 0.1 * most),
    recovery_s: three(() => run_s, 60),
  })
  return {
    group, known_at: iso(start), notice_s, paths: 100, t,
    runs: [900, 3600, 14_400].map((run_s, r) => ({ run_s, up: way(420 / (r + 1), run_s), down: way(260 / (r + 1), run_s) })),
    share: three(() => 0.9, 0.05), available_kw: three(() => 380, 20),
  }
}

const lfdi = (k) => k.toString(16).toUpperCase().padStart(40, 'A')

function device(k, now) {
  return {
    lfdi: lfdi(k), sfdi: 100_000_000_000 + k, resource: k ? `battery-home-${k}` : '', name: k ? '' : 'a new inverter',
    access: k ? 'enabled' : 'pending', denied: false, registered: k ? 'out of band' : 'in band', since: iso(now - 72 * HOUR),
    aggregator: '', profile: 'csipaus12', point: '', last_contact: iso(now - 40_000), lost_since: k === 3 ? iso(now - HOUR) : '',
    trouble: '', poll_s: 300, post_s: 300, control: k % 2 ? 'opModTargetW 2.4 kW' : '', last_response: k % 2 ? 'event started' : '',
  }
}

export function devices(now) {
  const found = Array.from({ length: 12 }, (_, k) => device(k, now))
  return { total: found.length, offset: 0, devices: found }
}

export function oneDevice(id, now) {
  const found = devices(now).devices.find((d) => d.lfdi === id)
  return found && { device: found, pin: '', hosts: [], connections: 1, sites: 1, effective: [], responses: [], logs: [], subscriptions: [] }
}

export const utility = () => ({
  host: '127.0.0.1', port: 8443, registration: 'ask', pending: 1, enabled: 11, suspended: 0, removed: 0, joined: 11, lost: 1,
  stopped: 0, not_notified: 0, owed: 0, points: 0, hosts: [], denied: [], revoked: 0, counts: { requests: 1_204 },
})
