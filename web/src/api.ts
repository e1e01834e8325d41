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
  modes: { group: string; title: string; mode: string }[]
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
  throw new Refused(answer.status, faultsOf(await answer.json().catch(() => null), answer.status))
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
