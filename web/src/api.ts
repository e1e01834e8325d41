/** What the server says, and how it is asked. House sign: positive power is injection into the grid. */

type Num = number | null
/** Per phase a, b, c; null where the phase is not there. */
export type PhaseVolts = [Num, Num, Num]

export interface Status {
  feeder: string
  title: string
  now: string
  speed: number
  tick: number
  mode: string
  head_kw: Num
  head_kvar: Num
  import_limit_kw: Num
  peak_kw: Num
  v_min_pu: Num
  v_max_pu: Num
  violations: number
  losses_kw: Num
  resources: number
  online: number
  seq: number
  plan_made_at: string | null
  day: { start: string; end: string } | null
}

export interface Bus {
  id: string
  x: number
  y: number
  phases: string
  section: string | null
  ders: number
}

export interface Branch {
  id: string
  from: string
  to: string
  kind: string
  phases: string
  rating_a: Num
}

export interface Feeder {
  name: string
  timezone: string
  buses: Bus[]
  branches: Branch[]
  sections: { id: string; title: string }[]
}

export interface Violation {
  kind: string
  element: string
  phase: string | null
  value: number
  limit: number
}

export interface FeederState {
  now: string
  v_pu: Record<string, PhaseVolts>
  loading: Record<string, Num>
  taps: Record<string, number>
  violations: Violation[]
}

export interface Group {
  id: string
  title: string
  parents: string[]
  members: number
  online: number
  p_kw: Num
  q_kvar: Num
  p_lo_kw: Num
  p_hi_kw: Num
  lo_source: string | null
  hi_source: string | null
  e_kwh: Num
  e_max_kwh: Num
}

export interface Band {
  t: string[]
  q10: Num[]
  q50: Num[]
  q90: Num[]
}

export interface Member {
  id: string
  kind: string
  bus: string
  phases: string
  p_kw: Num
  p_lo_kw: Num
  p_hi_kw: Num
  lo_source: string | null
  hi_source: string | null
  ready: boolean
}

export interface GroupDetail extends Group {
  children: string[]
  forecast: Band | null
  members_sample: Member[]
}

export interface Timeline {
  t: string[]
  actual_kw: Num[]
  forecast: Band | null
  plan: { t: string[]; net_kw: Num[] } | null
  limits: { import_kw: Num; export_kw: Num } | null
}

export interface Plan {
  made_at: string
  cost: Num
  peak_kw: Num
  t: string[]
  price: Num[]
  reasons: { row: string; start: string; until: string; price: number; slack_kw: number }[]
  conflicts: { text: string }[]
}

export interface Explanation {
  id: string
  time: string
  plan_made_at: string
  text: string
  groups: { group: string; price: Num; parts: { name: string; price: number }[]; text: string }[]
}

export interface LedgerEvent {
  seq: number
  time: string
  kind: string
  text: string
  author: string
  group: string | null
  data: Record<string, unknown> | null
}

export interface Want {
  group: string
  p_kw?: number
  p_lo_kw?: number
  p_hi_kw?: number
  minutes: number
  why: string
}

export interface Active {
  id: string
  group: string
  author: string
  why: string
  p_kw?: Num
  p_lo_kw?: Num
  p_hi_kw?: Num
  until?: string
  expires?: string
}

/** A wish in force: asked, ordered, accepted and delivered, kW; the plan's groups together are one. */
export interface Wish {
  id: string
  group: string
  priority: string
  author: string
  until: string
  asked_kw: Num
  given_kw: Num
  accepted_kw: Num
  delivered_kw: Num
  members: number
  answered: number
  causes: Record<string, number>
}

export interface Delivery {
  now: string
  orders: {
    since: string
    sent: number
    in_force: number
    awaited: number
    accepted: number
    partial: number
    refused: number
    expired: number
    unreachable: number
  }
  wishes: Wish[]
}

export interface Waiting {
  id: string
  group: string
  author: string
  why: string
  p_kw: Num
  p_lo_kw: Num
  p_hi_kw: Num
  moved_kw: number
  limit_kw: number
  until: string
}

/** What people have set for the guard, and what it does. */
export interface Guard {
  modes: { group: string; title: string; mode: string; wanted: string }[]
  default: { author: string; why: string; since: string; until: string; ending: string[]; open: number } | null
  waiting: Waiting[]
  approvals: { proposal: string; author: string; by: string; kw: number; until: string }[]
  budgets: { account: string; moved_kw: number; held_kw: number; budget_kw: Num }[]
  trials: string[]
  held: Record<string, number>
  window_s: number
  step_kw: Num
  approval_kw: Num
}

/** Marks of one method on one series over some days; `coverage` is the share of truths in the 10–90 % band. */
export interface Marks {
  series: string
  method: string
  champion: boolean
  days: number
  mae_kw: Num
  nmae: Num
  crps_kw: Num
  crps_ratio: Num
  coverage: Num
}

export interface Drift {
  series: string
  rule: string
  method: string
  value: Num
  since: string
}

export interface Card {
  learnt_at: string
  known_days: number
  needed_days: number
  weather_until: string
  models: Record<string, number>
  failed: string[]
  marks: Marks[]
  drift: Drift[]
  faults: { series: string; rule: string; start: string; until: string; seen: string; repair: string }[]
  hidden: { id: string; peak_kw: Num; expected_error: Num; correlation: Num; reason: string }[]
  hidden_looked: number
  /** An hour ahead, against persistence. */
  near: { series: string; days: number; crps_kw: Num; crps_ratio: Num; coverage: Num; drift: Num }[]
}

/** What a group did and is expected to do unasked; `t` are the edges of the steps ahead. */
export interface Outlook {
  group: string
  known_at: string
  by: 'own' | 'past days' | 'added'
  step_s: number
  past_t: string[]
  past_kw: Num[]
  t: string[]
  levels: number[]
  ahead_kw: Num[][]
  mean_kw: Num[]
  parts: Part[]
}

export interface Part {
  series: string
  share: number
  steps: number
  below: Num[]
}

export interface Limit {
  kind: string
  element: string
  chance: number
  start: string
  excess: Num
  need_kw: Num
  by_step: Num[]
  helpers: Helper[]
}

export interface Helper {
  id: string
  move_kw: Num
  relief: Num
}

export interface Emerging {
  plan_made_at: string
  t: string[]
  paths: number
  by: string
  unsolved: number
  limits: Limit[]
  found: number
}

export interface Levels {
  p10: Num[]
  p50: Num[]
  p90: Num[]
}

export interface Way {
  change_kw: Levels
  rebound_kwh: Levels
  recovery_s: Levels
}

export interface Flexibility {
  group: string
  known_at: string
  notice_s: number
  paths: number
  t: string[]
  runs: { run_s: number; up: Way; down: Way }[]
  share: Levels
  available_kw: Levels
}

/** A device that speaks a protocol to the server of this system. */
export interface Device {
  lfdi: string
  sfdi: number
  resource: string
  name: string
  access: string
  denied: boolean
  registered: string
  since: string
  aggregator: string
  profile: string
  point: string
  last_contact: string
  lost_since: string
  trouble: string
  poll_s: number
  post_s: number
  control: string
  last_response: string
}

export interface DevicePage {
  total: number
  offset: number
  devices: Device[]
}

export interface DeviceDetail {
  device: Device
  hosts: string[]
  connections: number
  sites: number
  effective: { mode: string; value: string; control: string; until: string }[]
  responses: { subject: string; status: string; at: string }[]
  logs: { at: string; function_set: number; about: string; code: number; details: string }[]
  subscriptions: { resource: string; uri: string; owed_since: string; tries: number; ended: string }[]
}

export interface Utility {
  host: string
  port: number
  registration: string
  pending: number
  enabled: number
  suspended: number
  removed: number
  joined: number
  lost: number
  stopped: number
  not_notified: number
  owed: number
  denied: string[]
  revoked: number
  counts: Record<string, number>
}

export interface FeederFigures {
  head_kw: Num
  v_min_pu: Num
  v_max_pu: Num
  violations: Num
}

export interface Preview {
  target_kw: Num
  given_kw: Num
  shortfall_kw: Num
  causes: Record<string, unknown>
  by_family: Record<string, unknown>
  members: { id: string; kind: string; from_kw: Num; to_kw: Num }[]
  before: FeederFigures
  after: FeederFigures
  held: Record<string, number>
  waits: boolean
  expires: string
  default: string
}

export interface Tick {
  type: 'tick'
  status: Status
  v_pu: Record<string, PhaseVolts>
  loading: Record<string, Num>
  events: LedgerEvent[]
  delivery: Delivery
}

export interface Fault {
  field: string
  rule: string
  reason: string
}

/** A refusal of the server in its own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly faults: Fault[],
    /** Seconds after which to come again; 0 where the server has not said so. */
    readonly later_s = 0,
  ) {
    super(faults.map((f) => f.reason).join('; '))
  }
}

const KEY = 'gridflock-token'

/** The token comes in the address's fragment, which no server sees, and leaves the address bar at once. */
export function takeToken(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get('token')
  if (given) {
    sessionStorage.setItem(KEY, given)
    history.replaceState(null, '', location.pathname + location.search)
  }
  return sessionStorage.getItem(KEY) ?? ''
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token.trim())
}

export function dropToken(): void {
  sessionStorage.removeItem(KEY)
}

function faultsOf(body: unknown, status: number): Fault[] {
  const detail = (body as { detail?: unknown } | null)?.detail
  if (Array.isArray(detail)) {
    return detail.map((d: Record<string, unknown>) => ({
      field: String(d.field ?? (Array.isArray(d.loc) ? d.loc.at(-1) : '')),
      rule: String(d.rule ?? d.type ?? ''),
      reason: String(d.reason ?? d.msg ?? 'refused'),
    }))
  }
  const reason = typeof detail === 'string' ? detail : `the server answered ${status}`
  return [{ field: '', rule: String(status), reason }]
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  const token = sessionStorage.getItem(KEY)
  if (token) headers.set('Authorization', `Bearer ${token}`)
  if (init.body) headers.set('Content-Type', 'application/json')
  const answer = await fetch(new URL(path, document.baseURI), { ...init, headers, cache: 'no-store' })
  if (answer.ok) return answer
  const faults = faultsOf(await answer.json().catch(() => null), answer.status)
  throw new Refused(answer.status, faults, Number(answer.headers.get('Retry-After')) || 0)
}

async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  const answer = await request(path, init)
  const text = await answer.text()
  return (text ? JSON.parse(text) : null) as T
}

/** A group id may hold slashes; they stay path separators. */
const inPath = (id: string) => id.split('/').map(encodeURIComponent).join('/')

export const api = {
  status: () => ask<Status>('api/status'),
  feeder: () => ask<Feeder>('api/feeder'),
  state: () => ask<FeederState>('api/feeder/state'),
  groups: () => ask<Group[]>('api/groups'),
  group: (id: string) => ask<GroupDetail>(`api/groups/${inPath(id)}`),
  timeline: () => ask<Timeline>('api/timeline'),
  plan: () => ask<Plan>('api/plan'),
  explain: (name: string) => ask<Explanation>(`api/explain?name=${encodeURIComponent(name)}`),
  events: (after: number, limit: number) => ask<LedgerEvent[]>(`api/events?after=${after}&limit=${limit}`),
  active: () => ask<Active[]>('api/proposals'),
  preview: (want: Want) =>
    ask<Preview>('api/proposals?dry_run=true', { method: 'POST', body: JSON.stringify(want) }),
  send: (want: Want) =>
    ask<{ proposal: { id: string }; seq: number; waits: boolean }>('api/proposals?dry_run=false', {
      method: 'POST',
      body: JSON.stringify(want),
    }),
  guard: () => ask<Guard>('api/guard'),
  setMode: (group: string, mode: string, why: string) =>
    ask<Guard>(`api/guard/modes/${inPath(group)}`, { method: 'PUT', body: JSON.stringify({ mode, why }) }),
  approve: (id: string, why: string) =>
    ask<Guard>(`api/guard/waiting/${inPath(id)}?why=${encodeURIComponent(why)}`, { method: 'POST' }),
  refuse: (id: string, why: string) =>
    ask<Guard>(`api/guard/waiting/${inPath(id)}?why=${encodeURIComponent(why)}`, { method: 'DELETE' }),
  allToDefault: (minutes: number, why: string) =>
    ask<Guard>('api/guard/default', { method: 'POST', body: JSON.stringify({ minutes, why }) }),
  endDefault: (why: string) => ask<Guard>(`api/guard/default?why=${encodeURIComponent(why)}`, { method: 'DELETE' }),
  card: (signal: AbortSignal) => ask<Card>('api/card', { signal }),
  outlook: (group: string, signal: AbortSignal) => ask<Outlook>(`api/outlook?group=${encodeURIComponent(group)}`, { signal }),
  emerging: (signal: AbortSignal) => ask<Emerging>('api/emerging', { signal }),
  flexibility: (group: string, hours: number, notice_s: number, signal: AbortSignal) =>
    ask<Flexibility>(`api/flexibility?group=${encodeURIComponent(group)}&hours=${hours}&notice_s=${notice_s}`, { signal }),
  utility: (signal: AbortSignal) => ask<Utility>('api/utility', { signal }),
  devices: (access: string, text: string, offset: number, limit: number, signal: AbortSignal) =>
    ask<DevicePage>(`api/devices?${new URLSearchParams({ access, text, offset: String(offset), limit: String(limit) })}`, { signal }),
  device: (lfdi: string, signal: AbortSignal) => ask<DeviceDetail>(`api/devices/${encodeURIComponent(lfdi)}`, { signal }),
  setAccess: (lfdi: string, access: string, why: string) =>
    ask<unknown>(`api/devices/${encodeURIComponent(lfdi)}/access`, { method: 'PUT', body: JSON.stringify({ access, why }) }),
  withdraw: (id: string) => ask<unknown>(`api/proposals/${inPath(id)}`, { method: 'DELETE' }),
}

/** The ticks of the live stream, one JSON object a line, until it ends or `signal` aborts. */
export async function* ticks(signal: AbortSignal): AsyncGenerator<Tick> {
  const answer = await request('api/stream', { signal })
  if (!answer.body) return
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.trim()) yield JSON.parse(line) as Tick
    }
  }
}
