/** Numbers and moments as operators read them. */

const NONE = '–'

function grouped(value: number, digits: number): string {
  const text = Math.abs(value).toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
  return text
}

/** 1234.5 -> "1,235"; small values keep one decimal; minus is U+2212. */
export function kw(value: number | null | undefined, signed = false): string {
  if (value == null || !Number.isFinite(value)) return NONE
  const digits = Math.abs(value) < 9.95 ? 1 : 0
  const text = grouped(value, digits)
  const zero = Number(Math.abs(value).toFixed(digits)) === 0
  if (zero) return '0'
  return (value < 0 ? '−' : signed ? '+' : '') + text
}

/** Energy in kWh or, from 10,000 on, MWh. */
export function energy(kwh: number | null | undefined): string {
  if (kwh == null || !Number.isFinite(kwh)) return NONE
  return Math.abs(kwh) >= 10_000 ? `${kw(kwh / 1000)} MWh` : `${kw(kwh)} kWh`
}

/** Direction in words, so that no reader has to remember a sign. */
export function flow(head_kw: number | null | undefined): { word: string; kw: string } {
  if (head_kw == null || !Number.isFinite(head_kw)) return { word: 'Head', kw: NONE }
  return { word: head_kw > 0 ? 'Export' : 'Import', kw: kw(Math.abs(head_kw)) }
}

export function pu(value: number | null | undefined): string {
  return value == null || !Number.isFinite(value) ? NONE : value.toFixed(3)
}

export function percent(fraction: number | null | undefined): string {
  return fraction == null || !Number.isFinite(fraction) ? NONE : `${Math.round(fraction * 100)} %`
}

/** "NOT_READY" -> "not ready". */
export function words(code: string | null | undefined): string {
  return code ? String(code).toLowerCase().replaceAll('_', ' ') : NONE
}

export const seconds = (iso: string): number => Date.parse(iso) / 1000

const formats = new Map<string, Intl.DateTimeFormat>()

function formatter(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options)
  let found = formats.get(key)
  if (!found) {
    found = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone })
    formats.set(key, found)
  }
  return found
}

export function clock(iso: string | null | undefined, zone: string, withSeconds = false): string {
  if (!iso || Number.isNaN(Date.parse(iso))) return NONE
  const options: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' }
  if (withSeconds) options.second = '2-digit'
  return formatter(zone, options).format(new Date(iso))
}

export function day(iso: string | null | undefined, zone: string): string {
  if (!iso || Number.isNaN(Date.parse(iso))) return NONE
  return formatter(zone, { weekday: 'short', day: 'numeric', month: 'short' }).format(new Date(iso))
}

/** A zone the browser does not know falls back to UTC instead of failing the page. */
export function knownZone(zone: string | undefined): string {
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: zone })
    return zone ?? 'UTC'
  } catch {
    return 'UTC'
  }
}
