/** What charts share. */

import type uPlot from 'uplot'
import { look } from './theme.svelte'

/** A dotted upright line at the present moment, seconds. */
export function markNow(u: uPlot, now_s: number): void {
  const { ctx, bbox } = u
  const px = u.valToPos(now_s, 'x', true)
  if (!(px >= bbox.left && px <= bbox.left + bbox.width)) return
  const pixel = window.devicePixelRatio || 1
  ctx.save()
  ctx.font = `${11 * pixel}px system-ui, sans-serif`
  ctx.strokeStyle = look.ink('text')
  ctx.lineWidth = pixel
  ctx.setLineDash([2 * pixel, 3 * pixel])
  ctx.beginPath()
  ctx.moveTo(px, bbox.top)
  ctx.lineTo(px, bbox.top + bbox.height)
  ctx.stroke()
  ctx.fillStyle = look.ink('text')
  ctx.textAlign = 'left'
  ctx.textBaseline = 'bottom'
  ctx.fillText('now', px + 4 * pixel, bbox.top + bbox.height - 3 * pixel)
  ctx.restore()
}
