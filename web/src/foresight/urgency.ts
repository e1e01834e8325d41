/** Emerging limits in the order in which an operator should look at them, and in words. */

import type { Branch, Emerging, Feeder, Limit } from '../api'
import { seconds } from '../format'

/** Likely before possible before slim; of equally likely ones the earliest first. */
const CLASSES: [number, string][] = [
  [0.5, 'likely'],
  [0.1, 'possible'],
  [0, 'slim'],
]

/** Who is named for less is named for completeness only. */
const SLIGHT_KW = 0.05

export interface Ranked extends Limit {
  key: string
  rank: number
  word: string
  title: string
  bus: string | null
  branch: string | null
  unit: string
}

export function branchOf(limit: Limit, feeder: Feeder | null): Branch | undefined {
  return limit.kind.startsWith('voltage') ? undefined : feeder?.branches.find((b) => b.id === limit.element)
}

/** A node's name is its bus and its phase: 83.a. */
function busOf(limit: Limit, feeder: Feeder | null): string | null {
  const branch = branchOf(limit, feeder)
  if (branch) return branch.to
  const at = limit.element.lastIndexOf('.')
  const bus = at > 0 ? limit.element.slice(0, at) : limit.element
  return feeder?.buses.some((b) => b.id === bus) ? bus : null
}

function titled(limit: Limit, feeder: Feeder | null): string {
  const branch = branchOf(limit, feeder)
  if (limit.kind === 'voltage high') return `High voltage at ${limit.element}`
  if (limit.kind === 'voltage low') return `Low voltage at ${limit.element}`
  const kind = branch?.kind ?? 'branch'
  return limit.kind === 'thermal' ? `Overload of ${kind} ${limit.element}` : `${limit.kind}: ${kind} ${limit.element}`
}

export function ranked(told: Emerging | null, feeder: Feeder | null): Ranked[] {
  const found = (told?.limits ?? []).map((limit, row) => {
    const rank = CLASSES.findIndex(([least]) => limit.chance >= least)
    return {
      ...limit,
      helpers: limit.helpers.filter((h) => Math.abs(h.move_kw ?? 0) >= SLIGHT_KW),
      key: `${limit.kind} ${limit.element} ${row}`,
      rank,
      word: CLASSES[rank]?.[1] ?? 'slim',
      title: titled(limit, feeder),
      bus: busOf(limit, feeder),
      branch: branchOf(limit, feeder)?.id ?? null,
      unit: limit.kind.startsWith('voltage') ? 'pu' : limit.kind === 'thermal' ? 'A' : 'kW',
    }
  })
  return found.sort((a, b) => a.rank - b.rank || seconds(a.start) - seconds(b.start) || b.chance - a.chance)
}

/** "in 3 h 10 min" from one moment to another; "now" where it has come. */
export function until(now: string | undefined, then: string): string {
  const minutes = now ? Math.round((seconds(then) - seconds(now)) / 60) : 0
  if (minutes <= 0) return 'now'
  const hours = Math.floor(minutes / 60)
  return `in ${hours ? `${hours} h ` : ''}${minutes % 60 ? `${minutes % 60} min` : ''}`.trim()
}
