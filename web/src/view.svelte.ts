/** Which page is open. It stands in the address, so that the browser's back button and a link lead there. */

import { tick } from 'svelte'

export const VIEWS = { operate: 'Operate', foresight: 'Foresight', devices: 'Devices' } as const
export type ViewName = keyof typeof VIEWS

/** Panels that are on one page only; what is not named here is on the first. */
const HOMES: Record<string, ViewName[]> = {
  feeder: ['operate', 'foresight'],
  groups: ['operate', 'foresight'],
  forecast: ['foresight'],
  limits: ['foresight'],
  flexibility: ['foresight'],
  devices: ['devices'],
}

const named = (): ViewName => {
  const name = location.hash.slice(1)
  return name in VIEWS ? (name as ViewName) : 'operate'
}

class View {
  name = $state<ViewName>(named())

  constructor() {
    window.addEventListener('hashchange', () => (this.name = named()))
  }

  show(name: ViewName): void {
    if (name !== this.name) location.hash = name === 'operate' ? '' : name
    this.name = name
  }

  /** Opens a page that has a panel; the present one if it can be. */
  async home(panel: string): Promise<void> {
    const homes = HOMES[panel] ?? ['operate']
    if (!homes.includes(this.name)) this.show(homes[0] ?? 'operate')
    await tick()
  }
}

export const view = new View()
