/** One keyboard for the whole page: j/k move, Enter opens, / searches, g then a letter jumps. */

import { view } from './view.svelte'

const JUMPS: Record<string, string> = {
  f: 'feeder',
  t: 'timeline',
  g: 'groups',
  e: 'events',
  o: 'orders',
  p: 'propose',
  u: 'guard',
  c: 'forecast',
  l: 'limits',
  x: 'flexibility',
  d: 'devices',
}

const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement && target.matches('input, textarea, select')

const panel = (name: string) => document.querySelector<HTMLElement>(`[data-panel="${name}"]`)

/** Opens the page of a panel, and puts the focus on what it is for: the current item, the map, the first field. */
export async function jump(name: string): Promise<void> {
  await view.home(name)
  const home = panel(name)
  const goal =
    home?.querySelector<HTMLElement>('[data-item][aria-selected="true"]') ??
    home?.querySelector<HTMLElement>('[data-home], [data-item]') ??
    home?.querySelector<HTMLElement>('button:not([disabled])')
  goal?.focus()
}

async function search(): Promise<void> {
  await view.home('groups')
  panel('groups')?.querySelector<HTMLInputElement>('input[type=search]')?.focus()
}

/** Moves the focus by one item in the list that has it; without a list, in the groups. */
function move(step: number): void {
  const at = document.activeElement
  const home = at?.closest<HTMLElement>('[data-panel]') ?? panel('groups')
  const items = [...(home?.querySelectorAll<HTMLElement>('[data-item]') ?? [])]
  if (!items.length) return void jump('groups')
  const here = items.findIndex((item) => item === at)
  const next = here < 0 ? (step > 0 ? 0 : items.length - 1) : here + step
  items[Math.max(0, Math.min(items.length - 1, next))]?.focus()
}

/** Listens on the window; `help` is called on "?". Returns the way to stop. */
export function listen(help: () => void): () => void {
  let waiting = 0
  const onkey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === 'Escape' && typing(event.target)) (event.target as HTMLElement).blur()
    if (typing(event.target) || event.defaultPrevented) return
    const goal = JUMPS[event.key]
    if (goal && event.timeStamp - waiting < 1200) {
      waiting = 0
      void jump(goal)
    } else if (event.key === 'g') waiting = event.timeStamp
    else if (event.key === 'j') move(1)
    else if (event.key === 'k') move(-1)
    else if (event.key === '/') void search()
    else if (event.key === '?') help()
    else return
    event.preventDefault()
  }
  window.addEventListener('keydown', onkey)
  return () => window.removeEventListener('keydown', onkey)
}
