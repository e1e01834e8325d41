/** Where feeder coordinates land on the canvas: fit, pan, zoom, pick. */

import type { Bus } from '../api'

export interface View {
  scale: number
  /** Canvas position of the coordinate origin, CSS pixels. */
  x: number
  y: number
}

const MARGIN = 34

/** The whole feeder inside the canvas; y grows upwards as on a map. */
export function fit(buses: readonly Bus[], width: number, height: number): View {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity]
  for (const { x, y } of buses) {
    x0 = Math.min(x0, x)
    x1 = Math.max(x1, x)
    y0 = Math.min(y0, y)
    y1 = Math.max(y1, y)
  }
  if (x0 > x1) return { scale: 1, x: width / 2, y: height / 2 }
  const scale = Math.min(
    (width - 2 * MARGIN) / Math.max(x1 - x0, 1e-9),
    (height - 2 * MARGIN) / Math.max(y1 - y0, 1e-9),
  )
  return {
    scale,
    x: width / 2 - (scale * (x0 + x1)) / 2,
    y: height / 2 + (scale * (y0 + y1)) / 2,
  }
}

export const at = (view: View, bus: { x: number; y: number }): [number, number] => [
  view.x + view.scale * bus.x,
  view.y - view.scale * bus.y,
]

/** Zooms about a canvas point, which stays where it is. */
export function zoom(view: View, factor: number, px: number, py: number): View {
  return {
    scale: view.scale * factor,
    x: px + (view.x - px) * factor,
    y: py + (view.y - py) * factor,
  }
}

/** The nearest bus within `reach` pixels. */
export function pick(buses: readonly Bus[], view: View, px: number, py: number, reach = 14): Bus | null {
  let best: Bus | null = null
  let least = reach * reach
  for (const bus of buses) {
    const [x, y] = at(view, bus)
    const d = (x - px) ** 2 + (y - py) ** 2
    if (d < least) {
      best = bus
      least = d
    }
  }
  return best
}
