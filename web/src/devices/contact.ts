/** How a device stands, in words. */

import type { Device } from '../api'
import { clock, seconds } from '../format'

export const MARKS: Record<string, string> = { pending: '◌', enabled: '●', suspended: '◐', removed: '○' }

/** When it was heard last, and whether it is lost. */
export function heard(device: Device, now: string | undefined, zone: string): string {
  if (device.lost_since) return `▲ lost since ${clock(device.lost_since, zone)}`
  if (!device.last_contact) return 'not since the server began'
  const ago = now ? Math.max(0, Math.round(seconds(now) - seconds(device.last_contact))) : null
  const at = clock(device.last_contact, zone, true)
  if (ago == null) return at
  return `${at}, ${ago < 90 ? `${ago} s` : ago < 5400 ? `${Math.round(ago / 60)} min` : `${Math.round(ago / 3600)} h`} ago`
}
