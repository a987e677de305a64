/** The real world behind the ports: this machine's clock, timers, chance and disk. Owns the one place where the adapter reads them; hides nothing. */
import { appendFileSync } from 'node:fs'
import { randomInt } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import type { Chance, Clock, Quarantine, QuarantineEntry, Timers, World } from './ports.ts'
import { UndiciHttp } from './rest-http.ts'
import { WsSockets } from './socket.ts'

/** Wall time at the start, carried on by the monotonic clock: it never steps, whatever is done to the wall clock. */
class SystemClock implements Clock {
  readonly #start = Date.now() * 1000 - Math.floor(performance.now() * 1000)

  now(): number {
    return this.#start + Math.floor(performance.now() * 1000)
  }
  wall(): number {
    return Date.now()
  }
}
const timers: Timers = {
  after: (delay, call) => {
    // A longer delay would fire at once.
    const timer = setTimeout(call, Math.min(2 ** 31 - 1, Math.ceil(Math.max(0, delay) / 1000)))
    return { cancel: () => clearTimeout(timer) }
  },
}
const chance: Chance = { next: () => randomInt(2 ** 32) / 2 ** 32 }

const RAW_MAX = 4_096
const ENTRIES_MAX = 4_096

/** Frames that nobody could read, a line each, in a file of their own: so many and no more. */
export class FileQuarantine implements Quarantine {
  readonly #path: string
  kept = 0

  constructor(path: string) {
    this.#path = path
  }
  keep(entry: QuarantineEntry): void {
    if (this.kept >= ENTRIES_MAX) return
    this.kept++
    try {
      appendFileSync(this.#path, `${JSON.stringify({ ...entry, raw: entry.raw.slice(0, RAW_MAX) })}\n`, { mode: 0o600 })
    } catch {
      // It is counted; a disk without room for it is told by whoever writes what matters.
    }
  }
}

export type SystemWorld = World & { close(): Promise<void> }
export function systemWorld(quarantine: Quarantine): SystemWorld {
  const http = new UndiciHttp()
  return { clock: new SystemClock(), timers, chance, sockets: new WsSockets(), http, quarantine, close: () => http.close() }
}
