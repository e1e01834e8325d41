/**
 * A stand-in for the real server, for work on the page alone: the same routes with invented numbers.
 *
 *   node mock/server.mjs [--port 8650] [--feeder feeder.json] [--trouble] [--silent-after 20]
 *
 * Without --feeder it invents a radial feeder. --trouble breaks limits; --silent-after stops the
 * stream after so many seconds. It serves the built page too, under the policy the page must live with.
 */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { parseArgs } from 'node:util'
import * as ahead from './ahead.mjs'

const { values: flags } = parseArgs({
  options: {
    port: { type: 'string', default: '8650' },
    static: { type: 'string', default: join(import.meta.dirname, '../../src/gridflock/console/static') },
    feeder: { type: 'string' },
    trouble: { type: 'boolean', default: false },
    'silent-after': { type: 'string' },
  },
})
const TOKEN = 'mock-token'
const POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
const DAY = Date.parse('2025-07-15T04:00:00Z')
const SPEED = 60
const KINDS = ['pv_rooftop', 'battery_home', 'ev_v1g', 'thermostat', 'water_heater', 'curtailable']
const born = Date.now()

/** A seeded generator, so that two runs show the same feeder. */
let seed = 7
const random = () => ((seed = (seed * 16807) % 2147483647) - 1) / 2147483646

function inventFeeder() {
  const buses = [{ id: 'sub', x: 0, y: 0, phases: 'abc', section: 'trunk', ders: 0 }]
  const branches = []
  const sections = [{ id: 'trunk', title: 'Trunk' }]
  const grow = (from, id, angle, length, phases, section, kind = 'line') => {
    const bus = {
      id,
      x: from.x + length * Math.cos(angle),
      y: from.y + length * Math.sin(angle),
      phases,
      section,
      ders: Math.floor(random() * 36),
    }
    buses.push(bus)
    branches.push({ id: `line.${id}`, from: from.id, to: id, kind, phases, rating_a: phases.length > 1 ? 400 : 120 })
    return bus
  }
  let trunk = buses[0]
  for (let i = 1; i <= 14; i++) {
    trunk = grow(trunk, `t${i}`, 0.25 * Math.sin(i), 90, 'abc', 'trunk', i === 1 || i === 8 ? 'regulator' : 'line')
    const section = `s${i}`
    sections.push({ id: section, title: `Street ${i}` })
    let side = trunk
    const angle = (i % 2 ? 1 : -1) * (1.2 + 0.5 * random())
    for (let k = 1; k <= 6; k++) {
      side = grow(side, `${section}-${k}`, angle + 0.5 * (random() - 0.5), 55, 'abc', section, k === 1 ? 'switch' : 'line')
      if (k % 2) grow(side, `${section}-${k}x`, angle - 1.4, 38, 'abc'[k % 3], section)
    }
  }
  return { name: 'mock', timezone: 'America/New_York', buses, branches, sections }
}

const feeder = flags.feeder ? JSON.parse(await readFile(flags.feeder, 'utf8')) : inventFeeder()
const parentOf = new Map(feeder.branches.map((b) => [b.to, b.from]))
const depthOf = (id, hops = 0) => (parentOf.has(id) && hops < 60 ? depthOf(parentOf.get(id), hops + 1) : hops)
const depth = new Map(feeder.buses.map((b) => [b.id, depthOf(b.id)]))
const devices = feeder.buses.flatMap((bus) =>
  Array.from({ length: bus.ders }, (_, i) => {
    const kind = KINDS[Math.floor(random() * KINDS.length)]
    const rated = kind === 'curtailable' ? 60 : 3 + 6 * random()
    return { id: `${kind.replace('_', '-')}-${bus.id}-${i}`, kind, bus: bus.id, phases: bus.phases[i % bus.phases.length], rated, section: bus.section }
  }),
)

const now = () => DAY + 11 * 3_600_000 + (Date.now() - born) * SPEED
const iso = (ms) => new Date(ms).toISOString()
const hour = (ms) => ((ms - DAY) / 3_600_000) % 24
const sun = (ms) => Math.max(0, Math.sin(((hour(ms) - 6) / 14) * Math.PI)) ** 1.4
const evening = (ms) => Math.exp(-(((hour(ms) - 19) / 3) ** 2))
const ordered = () => [...active.values()].reduce((sum, a) => sum + (a.shift_kw ?? 0), 0)
const net = (ms) => -(1150 + 1500 * evening(ms) + 350 * Math.sin(hour(ms) * 1.7) * 0.3 - 1500 * sun(ms))

const active = new Map()
const events = []
let nextProposal = 1
function record(kind, text, author = 'gridflock', group = null, data = null) {
  events.push({ seq: events.length + 1, time: iso(now()), kind, text, author, group, data })
  return events.length
}

function deviceState(d, ms) {
  const s = sun(ms)
  const [p, lo, hi, los, his] = {
    pv_rooftop: [d.rated * s, 0, d.rated * s, 'nameplate', 'available'],
    battery_home: [-0.3 * d.rated * s, -d.rated, d.rated, 'nameplate', 'nameplate'],
    ev_v1g: [-0.5 * d.rated, -d.rated, 0, 'nameplate', 'departure'],
    thermostat: [-0.6 * d.rated, -d.rated, 0, 'nameplate', 'comfort'],
    water_heater: [-0.2 * d.rated, -d.rated, 0, 'energy', 'nameplate'],
    curtailable: [-0.8 * d.rated, -0.8 * d.rated, -0.2 * d.rated, 'available', 'locked'],
  }[d.kind]
  return {
    id: d.id, kind: d.kind, bus: d.bus, phases: d.phases, p_kw: p, p_lo_kw: lo, p_hi_kw: hi,
    lo_source: los, hi_source: his, ready: !d.id.endsWith('3'),
  }
}

const groupTable = [
  { id: 'fleet', title: 'Whole fleet', parents: [], of: () => true },
  { id: 'feeder', title: feeder.name, parents: ['fleet'], of: () => true },
  ...feeder.sections.map((s) => ({ id: `feeder/${s.id}`, title: s.title, parents: ['feeder'], of: (d) => d.section === s.id })),
  { id: 'kinds', title: 'By kind', parents: ['fleet'], of: () => true },
  ...KINDS.map((k) => ({ id: `kinds/${k}`, title: k.replace('_', ' '), parents: ['kinds'], of: (d) => d.kind === k })),
  { id: 'vpp/north', title: 'VPP North', parents: ['fleet', 'kinds'], of: (d) => d.kind === 'battery_home' && d.phases === 'a' },
]

function groupState(g) {
  const rows = devices.filter(g.of).map((d) => deviceState(d, now()))
  const sum = (key) => rows.reduce((total, r) => total + r[key], 0)
  const stores = rows.filter((r) => r.kind === 'battery_home').length
  const shift = [...active.values()].filter((a) => a.group === g.id).reduce((s, a) => s + a.shift_kw, 0)
  return {
    id: g.id, title: g.title, parents: g.parents, members: rows.length,
    online: rows.filter((r) => r.ready).length, p_kw: sum('p_kw') + shift, q_kvar: 0.1 * sum('p_kw'),
    p_lo_kw: sum('p_lo_kw'), p_hi_kw: sum('p_hi_kw'),
    lo_source: 'nameplate', hi_source: sun(now()) > 0.2 ? 'available' : 'comfort',
    e_kwh: 7 * stores, e_max_kwh: 12 * stores,
  }
}

function state() {
  const load = -net(now()) / 3000
  const v_pu = {}
  for (const bus of feeder.buses) {
    const drop = (depth.get(bus.id) / 45) * (flags.trouble ? 0.15 : 0.055) * load
    v_pu[bus.id] = ['a', 'b', 'c'].map((p, i) =>
      bus.phases.includes(p) ? 1.035 - drop + 0.006 * i * (flags.trouble ? 2 : 1) : null,
    )
  }
  const loading = Object.fromEntries(
    feeder.branches.map((b, i) => [b.id, Math.max(0.03, 0.75 - depth.get(b.to) * 0.025) * load * (flags.trouble && i === 9 ? 2.6 : 1)]),
  )
  const taps = Object.fromEntries(feeder.branches.filter((b) => b.kind === 'regulator').map((b, i) => [b.id, 5 - i]))
  const violations = []
  for (const [bus, volts] of Object.entries(v_pu)) {
    volts.forEach((v, i) => {
      if (v != null && v > 1.05) violations.push({ kind: 'v_high', element: bus, phase: 'abc'[i], value: v, limit: 1.05 })
      if (v != null && v < 0.95) violations.push({ kind: 'v_low', element: bus, phase: 'abc'[i], value: v, limit: 0.95 })
    })
  }
  for (const [id, x] of Object.entries(loading)) {
    if (x > 1) violations.push({ kind: 'overload', element: id, phase: 'a', value: x, limit: 1 })
  }
  return { now: iso(now()), v_pu, loading, taps, violations }
}

function status() {
  const s = state()
  const all = Object.values(s.v_pu).flat().filter((v) => v != null)
  return {
    feeder: feeder.name, title: 'IEEE 123-bus feeder', now: iso(now()), speed: SPEED,
    tick: Math.floor((now() - DAY) / 60_000), mode: 'managed', head_kw: net(now()) + ordered(), head_kvar: -420,
    import_limit_kw: 2600, peak_kw: 2410, v_min_pu: Math.min(...all), v_max_pu: Math.max(...all),
    violations: s.violations.length, losses_kw: 61, resources: devices.length, online: devices.length - 14,
    seq: events.length, plan_made_at: iso(Math.floor(now() / 900_000) * 900_000),
    day: { start: iso(DAY), end: iso(DAY + 86_400_000) },
  }
}

function band(from, to, step, value) {
  const t = []
  for (let ms = from; ms <= to; ms += step) t.push(ms)
  const spread = (ms, i) => 40 + 14 * Math.sqrt(i) + 60 * sun(ms)
  return {
    t: t.map(iso),
    q10: t.map((ms, i) => value(ms) - spread(ms, i)),
    q50: t.map(value),
    q90: t.map((ms, i) => value(ms) + spread(ms, i)),
  }
}

function timeline() {
  const t = []
  for (let ms = DAY; ms <= now(); ms += 300_000) t.push(ms)
  const to_come = band(Math.floor(now() / 900_000) * 900_000, DAY + 86_400_000, 900_000, net)
  return {
    t: t.map(iso),
    actual_kw: t.map((ms) => net(ms) + 35 * Math.sin(ms / 7e5) + 20 * Math.sin(ms / 2.3e5)),
    forecast: to_come,
    plan: { t: to_come.t, net_kw: to_come.q50.map((v) => Math.max(v, -2300)) },
    limits: { import_kw: 2600, export_kw: 1500 },
  }
}

function propose(body, dry) {
  const faults = []
  const group = groupTable.find((g) => g.id === body.group)
  if (!group) faults.push({ field: 'group', rule: 'known', reason: `there is no group ${body.group}` })
  if (!body.why) faults.push({ field: 'why', rule: 'given', reason: 'say why: it goes into the ledger' })
  if (!(body.minutes > 0 && body.minutes <= 1440)) faults.push({ field: 'minutes', rule: '1 to 1440', reason: `${body.minutes} minutes is not between 1 and 1440` })
  if (faults.length) return [422, { detail: faults }]
  const g = groupState(group)
  const target = body.p_kw ?? Math.max(body.p_lo_kw ?? -Infinity, Math.min(body.p_hi_kw ?? Infinity, g.p_kw))
  const given = Math.max(g.p_lo_kw, Math.min(g.p_hi_kw, target))
  const until = iso(now() + body.minutes * 60_000)
  const proposal = { ...body, id: `op-${nextProposal}`, author: 'operator', priority: 'operator', until, shift_kw: given - g.p_kw }
  if (!dry) {
    active.set(`op-${nextProposal++}`, proposal)
    const seq = record('proposal', `${g.title}: ${Math.round(given)} kW for ${body.minutes} min, ${body.why}`, 'operator', g.id)
    return [201, { proposal, seq }]
  }
  const rows = devices.filter(group.of).slice(0, 12).map((d) => deviceState(d, now()))
  const before = status()
  return [200, {
    proposal, dry_run: true, target_kw: target, given_kw: given, shortfall_kw: target - given,
    causes: target === given ? {} : { available: (target - given) * 0.7, comfort: (target - given) * 0.3 },
    by_family: { storage: (given - g.p_kw) * 0.6, vehicle: (given - g.p_kw) * 0.3, thermal: (given - g.p_kw) * 0.1 },
    members: rows.map((r) => ({ id: r.id, kind: r.kind, from_kw: r.p_kw, to_kw: r.p_kw + (given - g.p_kw) / 12 })),
    before, after: { ...before, head_kw: before.head_kw + given - g.p_kw, v_min_pu: before.v_min_pu + 0.004 },
    expires: until, default: 'each device returns to its own programme',
  }]
}

function stream(res) {
  res.writeHead(200, { 'content-type': 'application/x-ndjson' })
  let sent = events.length
  const orders = { since: new Date().toISOString(), sent: 240, in_force: 180, awaited: 3, accepted: 220, partial: 8, refused: 4, expired: 2, unreachable: 6 }
  const wish = { id: 'plan', group: 'plan', priority: 'schedule', author: 'plan', why: '', until: '', causes: {} }
  const wishes = [{ ...wish, asked_kw: -820, given_kw: -815, accepted_kw: -810, delivered_kw: -806, members: 180, answered: 177 }]
  const timer = setInterval(() => {
    if (flags['silent-after'] && Date.now() - born > 1000 * flags['silent-after']) return
    const { v_pu, loading } = state()
    res.write(`${JSON.stringify({ type: 'tick', status: status(), v_pu, loading, events: events.slice(sent), delivery: { now: status().now, orders, wishes } })}\n`)
    sent = events.length
  }, 1000)
  res.on('close', () => clearInterval(timer))
}

async function answer(req, url) {
  const path = decodeURIComponent(url.pathname)
  const simple = {
    '/api/status': status,
    '/api/feeder': () => feeder,
    '/api/feeder/state': state,
    '/api/groups': () => groupTable.map(groupState),
    '/api/timeline': timeline,
    '/api/events': () => events.filter((e) => e.seq > Number(url.searchParams.get('after') ?? 0)),
    '/api/guard': () => ({
      modes: groupTable.filter((g) => g.id === 'all' || g.id.startsWith('section/')).map((g) => ({ group: g.id, title: g.title, mode: 'automatic', wanted: '' })),
      default: null, waiting: [], approvals: [], budgets: [], trials: [], held: {}, window_s: 300, step_kw: 150, approval_kw: 1000,
    }),
    '/api/plan': () => ({ made_at: status().plan_made_at, cost: 812, peak_kw: 2300, t: [], price: [], reasons: [], conflicts: [] }),
    '/api/explain': () => ({ id: url.searchParams.get('name'), time: status().now, plan_made_at: status().plan_made_at, text: 'An invented reason.', groups: [] }),
    '/api/card': () => ahead.card(now()),
    '/api/emerging': () => ahead.emerging(now(), feeder),
    '/api/outlook': () => ahead.outlook(url.searchParams.get('group') ?? 'all', now(), net),
    '/api/flexibility': () =>
      ahead.flexibility(url.searchParams.get('group'), Number(url.searchParams.get('hours')), Number(url.searchParams.get('notice_s')), now()),
    '/api/utility': ahead.utility,
    '/api/devices': () => ahead.devices(now()),
    '/api/resources': () => devices.slice(0, 50).map((d) => deviceState(d, now())),
  }
  if (simple[path]) return [200, simple[path]()]
  if (path === '/api/proposals' && req.method === 'POST') {
    let text = ''
    for await (const part of req) text += part
    return propose(JSON.parse(text), url.searchParams.get('dry_run') !== 'false')
  }
  if (path === '/api/proposals') return [200, [...active.values()]]
  if (path.startsWith('/api/proposals/') && req.method === 'DELETE') {
    const id = path.slice('/api/proposals/'.length)
    if (!active.delete(id)) return [404, { detail: [{ field: 'id', rule: 'active', reason: `${id} is not active` }] }]
    return [200, { seq: record('withdrawal', `${id} withdrawn`, 'operator') }]
  }
  if (path.startsWith('/api/devices/')) {
    const found = ahead.oneDevice(path.split('/').at(-1), now())
    return found ? [200, found] : [404, { detail: 'no such device' }]
  }
  const group = groupTable.find((g) => path === `/api/groups/${g.id}`)
  if (!group) return [404, { detail: 'no such thing' }]
  const own = groupState(group)
  const forecast = band(now(), now() + 86_400_000, 900_000, (ms) => own.p_kw * (0.6 + 0.5 * evening(ms)))
  return [200, {
    ...own,
    children: groupTable.filter((g) => g.parents.includes(group.id)).map((g) => g.id),
    forecast,
    members_sample: devices.filter(group.of).slice(0, 20).map((d) => deviceState(d, now())),
  }]
}

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' }

async function file(url, res) {
  const name = normalize(url.pathname === '/' ? '/index.html' : url.pathname)
  const body = await readFile(join(flags.static, name)).catch(() => null)
  if (!body) return res.writeHead(404).end()
  res.writeHead(200, { 'content-type': TYPES[extname(name)] ?? 'application/octet-stream', 'content-security-policy': POLICY })
  res.end(body)
}

createServer(async (req, res) => {
  const url = new URL(req.url, 'http://mock')
  if (!url.pathname.startsWith('/api/')) return file(url, res)
  if (req.headers.authorization !== `Bearer ${TOKEN}`) {
    res.writeHead(401, { 'content-type': 'application/json' })
    return res.end(JSON.stringify({ detail: [{ field: 'token', rule: 'known', reason: 'sign in: the token is missing or not known' }] }))
  }
  if (url.pathname === '/api/stream') return stream(res)
  const [code, body] = await answer(req, url)
  res.writeHead(code, { 'content-type': 'application/json' })
  res.end(JSON.stringify(body))
}).listen(Number(flags.port), '127.0.0.1', () => console.log(`http://127.0.0.1:${flags.port}/#token=${TOKEN}`))

record('opened', `${feeder.name}: ${devices.length} resources on ${feeder.buses.length} buses`)
record('plan', 'Plan made: peak 2,300 kW, import limit not reached')
setInterval(() => record('orders', '412 devices ordered', 'plan', 'fleet', { accepted: 398, partial: 9, unreachable: 5 }), 7000)
setInterval(() => record('plan', 'Plan made: peak 2,300 kW, import limit not reached'), 15_000)
