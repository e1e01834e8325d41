/**
 * The feeder on a canvas. Normal is grey: lightness says the voltage inside the band. Outside it a
 * bus is a saturated triangle, up for high and down for low, and the worst carry their number.
 */

import type { Branch, Bus, Feeder, FeederState, PhaseVolts } from '../api'
import { percent, pu } from '../format'
import type { Mark } from '../live.svelte'
import { at, type View } from './view'

export const V_LOW = 0.95
export const V_HIGH = 1.05
const LABELLED = 3

export interface Ink {
  faint: string
  text: string
  muted: string
  panel: string
  high: string
  low: string
  alarm: string
  accent: string
  warn: string
  /** Grey of the lowest and of the highest voltage inside the band, as r g b. */
  gradient: [number[], number[]]
}

export interface Scene {
  feeder: Feeder
  state: FeederState | null
  view: View
  width: number
  height: number
  selectedBus: string | null
  section: string | null
  hovered: string | null
  marks: readonly Mark[]
}

/** The phase farthest from 1.0 pu; null without any reading. */
export function worst(volts: PhaseVolts | undefined): number | null {
  let found: number | null = null
  for (const v of volts ?? []) {
    if (v != null && (found == null || Math.abs(v - 1) > Math.abs(found - 1))) found = v
  }
  return found
}

const outside = (v: number | null) => v != null && (v > V_HIGH || v < V_LOW)

function grey(v: number | null, ink: Ink): string {
  if (v == null) return ink.faint
  const t = Math.max(0, Math.min(1, (v - V_LOW) / (V_HIGH - V_LOW)))
  const [a, b] = ink.gradient
  return `rgb(${a.map((c, i) => Math.round(c + t * ((b[i] ?? c) - c))).join(' ')})`
}

function colour(v: number | null, ink: Ink): string {
  if (v != null && v > V_HIGH) return ink.high
  if (v != null && v < V_LOW) return ink.low
  return grey(v, ink)
}

/** Line width in pixels: three-phase a little heavier, and with the loading. */
function width(branch: Branch, loading: number | null): number {
  const base = branch.phases.length >= 2 ? 1.8 : 1.1
  return base + 5 * Math.min(loading ?? 0, 1.4)
}

export function draw(ctx: CanvasRenderingContext2D, scene: Scene, ink: Ink): void {
  const { feeder, state, view } = scene
  ctx.clearRect(0, 0, scene.width, scene.height)
  ctx.lineCap = 'round'
  const place = new Map(feeder.buses.map((b) => [b.id, at(view, b)]))
  const volts = new Map(feeder.buses.map((b) => [b.id, worst(state?.v_pu[b.id])]))
  sections(ctx, scene, ink)
  for (const branch of feeder.branches) {
    const a = place.get(branch.from)
    const b = place.get(branch.to)
    if (a && b) line(ctx, branch, a, b, volts.get(branch.to) ?? null, scene, ink)
  }
  for (const bus of feeder.buses) {
    const xy = place.get(bus.id)
    if (xy) dot(ctx, bus, xy, volts.get(bus.id) ?? null, scene, ink)
  }
  source(ctx, feeder, place, ink)
  for (const branch of feeder.branches) {
    const a = place.get(branch.from)
    const b = place.get(branch.to)
    if (a && b) device(ctx, branch, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], state, ink)
  }
  numbers(ctx, feeder.buses, place, volts, ink)
  ahead(ctx, scene, place, ink)
}

function line(
  ctx: CanvasRenderingContext2D,
  branch: Branch,
  [ax, ay]: [number, number],
  [bx, by]: [number, number],
  v: number | null,
  scene: Scene,
  ink: Ink,
): void {
  const loading = scene.state?.loading[branch.id] ?? null
  const over = loading != null && loading > 1
  ctx.beginPath()
  ctx.moveTo(ax, ay)
  ctx.lineTo(bx, by)
  ctx.lineWidth = width(branch, loading)
  ctx.strokeStyle = over ? ink.alarm : colour(v, ink)
  ctx.setLineDash(over ? [7, 5] : [])
  ctx.stroke()
  ctx.setLineDash([])
  if (over) tag(ctx, (ax + bx) / 2, (ay + by) / 2, `! ${Math.round(loading * 100)} %`, ink.alarm, ink)
}

/** Bus: a dot that grows with the number of DERs on it; a triangle when out of the band. */
function dot(
  ctx: CanvasRenderingContext2D,
  bus: Bus,
  [x, y]: [number, number],
  v: number | null,
  scene: Scene,
  ink: Ink,
): void {
  const radius = 1.6 + 0.42 * Math.sqrt(bus.ders)
  if (bus.id === scene.selectedBus || bus.id === scene.hovered) {
    ctx.beginPath()
    ctx.arc(x, y, radius + 5, 0, 2 * Math.PI)
    ctx.lineWidth = bus.id === scene.selectedBus ? 2.5 : 1.2
    ctx.strokeStyle = ink.accent
    ctx.stroke()
  }
  ctx.fillStyle = colour(v, ink)
  ctx.beginPath()
  if (outside(v)) {
    const r = radius + 4
    const up = (v ?? 1) > 1 ? -1 : 1
    ctx.moveTo(x, y + up * r)
    ctx.lineTo(x - 0.9 * r, y - up * 0.7 * r)
    ctx.lineTo(x + 0.9 * r, y - up * 0.7 * r)
    ctx.closePath()
  } else ctx.arc(x, y, radius, 0, 2 * Math.PI)
  ctx.fill()
  ctx.lineWidth = 1
  ctx.strokeStyle = ink.panel
  ctx.stroke()
}

/** The chosen section as a wide pale band under its lines, and every section's title. */
function sections(ctx: CanvasRenderingContext2D, scene: Scene, ink: Ink): void {
  const { feeder, view } = scene
  const home = new Map(feeder.buses.map((b) => [b.id, b]))
  ctx.strokeStyle = ink.accent
  ctx.globalAlpha = 0.2
  ctx.lineWidth = 15
  ctx.lineJoin = 'round'
  ctx.beginPath()
  for (const branch of feeder.branches) {
    const [a, b] = [home.get(branch.from), home.get(branch.to)]
    if (!a || !b || scene.section == null || b.section !== scene.section) continue
    if (a.section === scene.section) ctx.moveTo(...at(view, a))
    else ctx.moveTo(...at(view, b))
    ctx.lineTo(...at(view, b))
  }
  ctx.stroke()
  ctx.globalAlpha = 1
}

function source(
  ctx: CanvasRenderingContext2D,
  feeder: Feeder,
  place: Map<string, [number, number]>,
  ink: Ink,
): void {
  const fed = new Set(feeder.branches.map((b) => b.to))
  const feeding = new Set(feeder.branches.map((b) => b.from))
  for (const bus of feeder.buses) {
    const xy = place.get(bus.id)
    if (!xy || fed.has(bus.id) || !feeding.has(bus.id)) continue
    ctx.fillStyle = ink.text
    ctx.fillRect(xy[0] - 7, xy[1] - 7, 14, 14)
    ctx.fillStyle = ink.panel
    ctx.font = '600 10px system-ui, sans-serif'
    ctx.textAlign = 'center'
    ctx.textBaseline = 'middle'
    ctx.fillText('S', xy[0], xy[1] + 0.5)
  }
}

/** Switches are small squares, transformers two rings, regulators a ring with the tap number. */
function device(
  ctx: CanvasRenderingContext2D,
  branch: Branch,
  [x, y]: [number, number],
  state: FeederState | null,
  ink: Ink,
): void {
  ctx.lineWidth = 1.4
  ctx.strokeStyle = ink.text
  ctx.fillStyle = ink.panel
  if (branch.kind === 'switch') {
    ctx.fillRect(x - 3.5, y - 3.5, 7, 7)
    ctx.strokeRect(x - 3.5, y - 3.5, 7, 7)
  } else if (branch.kind === 'transformer') {
    for (const dx of [-3, 3]) {
      ctx.beginPath()
      ctx.arc(x + dx, y, 4.5, 0, 2 * Math.PI)
      ctx.stroke()
    }
  } else if (branch.kind === 'regulator') {
    ctx.beginPath()
    ctx.arc(x, y, 8, 0, 2 * Math.PI)
    ctx.fill()
    ctx.stroke()
    ctx.fillStyle = ink.text
    ctx.font = '600 9px system-ui, sans-serif'
    ctx.textAlign = 'center'
    ctx.textBaseline = 'middle'
    const tap = tapOf(branch, state)
    ctx.fillText(tap == null ? 'R' : `${tap > 0 ? '+' : tap < 0 ? '−' : ''}${Math.abs(tap)}`, x, y + 0.5)
  }
}

export function tapOf(branch: Branch, state: FeederState | null): number | null {
  return state?.taps[branch.id] ?? state?.taps[branch.id.replace(/^\w+\./, '')] ?? null
}

/** The few worst voltages carry their number; more would hide the map. */
function numbers(
  ctx: CanvasRenderingContext2D,
  buses: readonly Bus[],
  place: Map<string, [number, number]>,
  volts: Map<string, number | null>,
  ink: Ink,
): void {
  const bad = buses
    .map((b) => ({ id: b.id, v: volts.get(b.id) ?? null }))
    .filter((b): b is { id: string; v: number } => outside(b.v))
  const high = bad.filter((b) => b.v > 1).sort((a, b) => b.v - a.v).slice(0, LABELLED)
  const low = bad.filter((b) => b.v < 1).sort((a, b) => a.v - b.v).slice(0, LABELLED)
  for (const { id, v } of [...high, ...low]) {
    const xy = place.get(id)
    if (xy) tag(ctx, xy[0], xy[1] - 17, `${v > 1 ? '▲' : '▼'} ${pu(v)}`, v > 1 ? ink.high : ink.low, ink)
  }
}

/** What may break ahead: a hollow diamond round the place; the first of them, as listed, with the chance. */
function ahead(
  ctx: CanvasRenderingContext2D,
  { feeder, marks }: Scene,
  place: Map<string, [number, number]>,
  ink: Ink,
): void {
  const seen = new Set<string>()
  const told: [number, number][] = []
  for (const { bus, branch, chance } of marks) {
    const line = branch ? feeder.branches.find((b) => b.id === branch) : undefined
    const ends = (line ? [line.from, line.to] : [bus ?? '']).map((id) => place.get(id)).filter((p) => p != null)
    const where = line?.id ?? bus ?? ''
    if (!ends.length || seen.has(where)) continue
    const x = ends.reduce((sum, [px]) => sum + px, 0) / ends.length
    const y = ends.reduce((sum, [, py]) => sum + py, 0) / ends.length
    ctx.beginPath()
    ctx.moveTo(x, y - 12)
    ctx.lineTo(x + 12, y)
    ctx.lineTo(x, y + 12)
    ctx.lineTo(x - 12, y)
    ctx.closePath()
    ctx.lineWidth = 2
    ctx.strokeStyle = ink.warn
    ctx.stroke()
    seen.add(where)
    // The first keeps its label where two would lie upon each other.
    if (told.length >= LABELLED || told.some(([tx, ty]) => Math.abs(tx - x) < 52 && Math.abs(ty - y) < 18)) continue
    tag(ctx, x, y + 21, `◇ ${percent(chance)}`, ink.warn, ink)
    told.push([x, y])
  }
}

function tag(
  ctx: CanvasRenderingContext2D,
  x: number,
  y: number,
  text: string,
  edge: string,
  ink: Ink,
): void {
  ctx.font = '600 11px system-ui, sans-serif'
  ctx.textAlign = 'center'
  ctx.textBaseline = 'middle'
  const half = ctx.measureText(text).width / 2 + 4
  ctx.fillStyle = ink.panel
  ctx.fillRect(x - half, y - 8, 2 * half, 16)
  ctx.lineWidth = 1.2
  ctx.strokeStyle = edge
  ctx.strokeRect(x - half, y - 8, 2 * half, 16)
  ctx.fillStyle = edge
  ctx.fillText(text, x, y + 0.5)
}
