/**
 * One question of a panel: at most one request at a time, given up when the panel goes or asks another.
 * The last answer stays while the next is awaited, so that nothing jumps.
 */

import { untrack } from 'svelte'
import { Refused } from './api'
import { live } from './live.svelte'

export class Asked<T> {
  answer = $state.raw<T | null>(null)
  problem = $state('')
  /** HTTP status of a refusal; 0 without one. */
  status = $state(0)
  /** Wall clock at which the request in hand was sent, ms; 0 without one. */
  since = $state(0)
  stopped = $state(false)
  /** Seconds after which a busy server wants to be asked again; 0 else. */
  later_s = 0

  readonly busy = $derived(this.since > 0)
  /** Seconds that the request in hand has taken so far. */
  readonly age_s = $derived(this.since ? Math.max(0, Math.round((live.wall - this.since) / 1000)) : 0)

  #abort: AbortController | null = null

  async ask(question: (signal: AbortSignal) => Promise<T>): Promise<void> {
    this.stop()
    const mine = new AbortController()
    this.#abort = mine
    this.since = Date.now()
    this.stopped = false
    try {
      const answer = await question(mine.signal)
      if (this.#abort !== mine) return
      this.answer = answer
      this.problem = ''
      this.status = this.later_s = 0
    } catch (problem) {
      if (this.#abort !== mine) return
      this.problem = problem instanceof Error ? problem.message : String(problem)
      this.status = problem instanceof Refused ? problem.status : 0
      this.later_s = problem instanceof Refused ? problem.later_s : 0
    }
    this.#abort = null
    this.since = 0
  }

  /** Gives the request in hand up. */
  stop(): void {
    this.#abort?.abort()
    this.#abort = null
    this.stopped = this.since > 0
    this.since = 0
  }
}

/**
 * For an `$effect`: asks now and again `every_s` after each answer, while the page is seen and the link lives.
 * What the question reads at once (a group, a plan) makes it be asked anew.
 */
export function repeat<T>(asked: Asked<T>, every_s: number, question: (signal: AbortSignal) => Promise<T>): () => void {
  let timer = 0
  let gone = false
  const turn = async () => {
    const seen = !document.hidden && live.link === 'live'
    if (seen) await asked.ask(question)
    const wait_s = seen ? asked.later_s || every_s : 0.5
    if (!gone) timer = window.setTimeout(() => void turn(), wait_s * 1000)
  }
  untrack(() => void turn())
  return () => {
    gone = true
    clearTimeout(timer)
    untrack(() => asked.stop())
  }
}
