/** The one state of the page: what the server said last, what is selected, and how fresh it is. */

import {
  api,
  dropToken,
  keepToken,
  Refused,
  takeToken,
  ticks,
  type Active,
  type Delivery,
  type Feeder,
  type FeederState,
  type Group,
  type Guard,
  type GroupDetail,
  type LedgerEvent,
  type Plan,
  type Status,
  type Tick,
  type Timeline,
} from './api'
import { knownZone } from './format'

export type Link = 'login' | 'connecting' | 'live' | 'stale' | 'lost'

const STALE_MS = 10_000
const SILENT_MS = 30_000
const EVENTS_KEPT = 400
const TREND_KEPT = 240

export interface TrendPoint {
  head_kw: number | null
  v_min_pu: number | null
  v_max_pu: number | null
}

/** What may break ahead and where, to be seen on the map. */
export interface Mark {
  bus: string | null
  branch: string | null
  chance: number
}

/** What the form is to be filled with: a change of a group's or resource's power. */
export interface Draft {
  group: string
  move_kw: number
  minutes: number
  why: string
}

class Live {
  link = $state<Link>('connecting')
  /** Wall-clock moment of the last thing heard, ms. */
  heard = $state(0)
  /** Wall clock, ms; moves each second so that ages count up. */
  wall = $state(0)
  complaint = $state('')

  status = $state.raw<Status | null>(null)
  feeder = $state.raw<Feeder | null>(null)
  net = $state.raw<FeederState | null>(null)
  groups = $state.raw<Group[]>([])
  detail = $state.raw<GroupDetail | null>(null)
  timeline = $state.raw<Timeline | null>(null)
  plan = $state.raw<Plan | null>(null)
  events = $state.raw<LedgerEvent[]>([])
  active = $state.raw<Active[]>([])
  guard = $state.raw<Guard | null>(null)
  delivery = $state.raw<Delivery | null>(null)
  trend = $state.raw<TrendPoint[]>([])

  marks = $state.raw<Mark[]>([])
  draft = $state.raw<Draft | null>(null)
  group = $state<string | null>(null)
  bus = $state<string | null>(null)

  byId = $derived(new Map(this.groups.map((g) => [g.id, g])))
  zone = $derived(knownZone(this.feeder?.timezone))
  /** True whenever the numbers on the page may be old. */
  old = $derived(this.link === 'stale' || this.link === 'lost')
  age_s = $derived(this.heard ? Math.max(0, Math.round((this.wall - this.heard) / 1000)) : 0)

  #abort: AbortController | null = null
  #turn = 0

  start(): void {
    takeToken()
    setInterval(() => this.#watch(), 1000)
    void this.connect()
  }

  login(token: string): void {
    keepToken(token)
    this.complaint = ''
    void this.connect()
  }

  logout(): void {
    dropToken()
    this.#abort?.abort()
    this.link = 'login'
  }

  select(group: string | null): void {
    this.group = group
    this.detail = this.detail?.id === group ? this.detail : null
    void this.refreshDetail()
  }

  propose(draft: Draft): void {
    this.select(draft.group)
    this.draft = draft
  }

  /** Selects a bus and, if there is one, the group of its section. */
  pickBus(id: string | null): void {
    this.bus = id
    const section = this.feeder?.buses.find((b) => b.id === id)?.section
    const group = section ? this.groupOfSection(section) : undefined
    if (group) this.select(group.id)
  }

  groupOfSection(section: string): Group | undefined {
    return (
      this.byId.get(section) ??
      this.groups.find((g) => g.id.endsWith(`/${section}`)) ??
      this.groups.find((g) => g.id.endsWith(`:${section}`))
    )
  }

  async refreshDetail(): Promise<void> {
    const wanted = this.group
    if (!wanted) return
    const detail = await this.#quiet(api.group(wanted))
    if (detail && this.group === wanted) this.detail = detail
  }

  async refreshActive(): Promise<void> {
    this.active = (await this.#quiet(api.active())) ?? this.active
  }

  async refreshGuard(): Promise<void> {
    this.guard = (await this.#quiet(api.guard())) ?? this.guard
  }

  /** Loads everything, then follows the stream, again and again, waiting longer after each failure. */
  async connect(): Promise<void> {
    this.#abort?.abort()
    const mine = new AbortController()
    this.#abort = mine
    this.link = this.heard && this.link !== 'login' ? 'lost' : 'connecting'
    for (let wait = 500; !mine.signal.aborted; wait = Math.min(wait * 2, 10_000)) {
      try {
        await this.#load()
        for await (const tick of ticks(mine.signal)) {
          wait = 500
          this.#take(tick)
        }
      } catch (problem) {
        if (mine.signal.aborted) return
        if (problem instanceof Refused && (problem.status === 401 || problem.status === 403)) {
          this.complaint = problem.message
          this.logout()
          return
        }
        this.complaint = problem instanceof Error ? problem.message : String(problem)
      }
      this.link = 'lost'
      await new Promise((done) => setTimeout(done, wait))
    }
  }

  async #load(): Promise<void> {
    const status = await api.status()
    const [feeder, net, groups, timeline, events, active] = await Promise.all([
      api.feeder(),
      api.state(),
      api.groups(),
      api.timeline(),
      api.events(Math.max(0, status.seq - EVENTS_KEPT), EVENTS_KEPT),
      api.active(),
    ])
    Object.assign(this, { feeder, net, groups, timeline, active })
    this.#heard(status)
    this.#remember(events)
    void this.refreshGuard()
    if (!this.group) this.select(groups.find((g) => !g.parents.length)?.id ?? groups[0]?.id ?? null)
  }

  #heard(status: Status): void {
    this.status = status
    this.heard = this.wall = Date.now()
    this.link = 'live'
    this.complaint = ''
    const { head_kw, v_min_pu, v_max_pu } = status
    this.trend = [...this.trend, { head_kw, v_min_pu, v_max_pu }].slice(-TREND_KEPT)
  }

  #take(tick: Tick): void {
    if (tick.type !== 'tick') {
      this.heard = Date.now()
      return
    }
    this.#heard(tick.status)
    this.delivery = tick.delivery ?? this.delivery
    if (this.net) {
      this.net = { ...this.net, now: tick.status.now, v_pu: tick.v_pu, loading: tick.loading }
    }
    this.#remember(tick.events)
  }

  #remember(events: LedgerEvent[]): void {
    const last = this.events[0]?.seq ?? -1
    const fresh = events.filter((e) => e.seq > last).sort((a, b) => b.seq - a.seq)
    if (fresh.length) this.events = [...fresh, ...this.events].slice(0, EVENTS_KEPT)
  }

  /** Each second: how old is what is shown, and a look at what the stream does not carry. */
  #watch(): void {
    this.wall = Date.now()
    if (this.link === 'login' || this.link === 'connecting') return
    const silent = this.wall - this.heard
    if (silent > STALE_MS && this.link === 'live') this.link = 'stale'
    if (silent > SILENT_MS && this.link === 'stale') void this.connect()
    this.#turn += 1
    if (this.link !== 'live' || document.hidden) return
    if (this.#turn % 2 === 0) void this.#refreshGroups()
    if (this.#turn % 4 === 1) void this.#refreshNet()
    if (this.#turn % 5 === 2) void this.#refreshTimeline()
  }

  async #refreshGroups(): Promise<void> {
    this.groups = (await this.#quiet(api.groups())) ?? this.groups
    await this.refreshDetail()
  }

  async #refreshNet(): Promise<void> {
    this.net = (await this.#quiet(api.state())) ?? this.net
  }

  async #refreshTimeline(): Promise<void> {
    this.timeline = (await this.#quiet(api.timeline())) ?? this.timeline
    await this.#refreshPlan()
    await Promise.all([this.refreshActive(), this.refreshGuard()])
  }

  /** The plan changes every quarter of an hour only; a system that just watches has none. */
  async #refreshPlan(): Promise<void> {
    const made = this.status?.plan_made_at
    if (made && made !== this.plan?.made_at) this.plan = (await this.#quiet(api.plan())) ?? this.plan
  }

  /** A failed look in between shows as staleness soon enough; it needs no message of its own. */
  async #quiet<T>(answer: Promise<T>): Promise<T | null> {
    return answer.catch(() => null)
  }
}

export const live = new Live()
