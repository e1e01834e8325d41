/** Mid-grey by day, dark grey by night; remembered on this machine. */

const KEY = 'gridflock-theme'
export type Theme = 'light' | 'dark'

class Look {
  theme = $state<Theme>(localStorage.getItem(KEY) === 'dark' ? 'dark' : 'light')

  apply(): void {
    document.documentElement.dataset.theme = this.theme
  }

  toggle(): void {
    this.theme = this.theme === 'light' ? 'dark' : 'light'
    localStorage.setItem(KEY, this.theme)
    this.apply()
  }

  /** A colour of the style sheet, for what is drawn on canvas. Reads `theme`, so effects follow it. */
  ink(name: string): string {
    void this.theme
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
  }
}

export const look = new Look()
