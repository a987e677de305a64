/**
 * Alerts: what is wrong, told once, again while it lasts, and once more when it is over. Owns when; hides how they travel. A reducer, one for each channel. Invariants: one entry a condition, so that it stays
 * small for weeks; what could not be delivered is tried again, later each time, and never holds up anything else.
 */
import type { Condition, ConditionClass } from './watchdog.ts'

/** What leaves the machine. Nothing secret is in it, because nothing secret comes near it. */
export type Alert = {
  readonly schema: 'tapeline.alert/1'
  readonly session: string
  readonly environment: string
  readonly class: ConditionClass
  readonly status: 'begun' | 'lasting' | 'over'
  readonly text: string
  /** RFC 3339. */
  readonly since: string
  readonly time: string
  /** Of this condition, from 1. */
  readonly number: number
}

type Entry = {
  text: string
  lines: ReadonlySet<string>
  /** Those of the last one that was handed out. */
  told: ReadonlySet<string>
  /** Monotonic ms of the last one that was delivered. */
  sentAt: number
  /** ms of this machine's clock, for whoever reads it. */
  since: number
  /** Monotonic ms. */
  dueAt: number
  sent: number
  failures: number
  goneAt: number | null
  onItsWay: boolean
}

const REPEAT_FIRST = 60_000
const REPEAT_MAX = 3_600_000
const RETRY_FIRST = 5_000
const RETRY_MAX = 60_000
/** What comes back within this was never away. */
const SETTLE = 10_000

export class Alerts {
  readonly #place: { readonly session: string; readonly environment: string }
  readonly #entries = new Map<ConditionClass, Entry>()

  constructor(place: { readonly session: string; readonly environment: string }) {
    this.#place = place
  }

  get open(): readonly { readonly class: ConditionClass; readonly since: number; readonly text: string }[] {
    return [...this.#entries].filter(([, e]) => e.goneAt === null).map(([name, { since, text }]) => ({ class: name, since, text }))
  }
  /** All that is wrong now. `now` monotonic, `wall` of this machine's clock, ms. */
  set(conditions: readonly Condition[], now: number, wall: number): void {
    const there = new Set<ConditionClass>()
    for (const { class: name, text, lines = [] } of conditions) {
      there.add(name)
      const entry = this.#entries.get(name)
      if (entry === undefined)
        this.#entries.set(name, {
          text,
          lines: new Set(lines),
          told: new Set(lines),
          sentAt: now,
          since: wall,
          dueAt: now,
          sent: 0,
          failures: 0,
          goneAt: null,
          onItsWay: false,
        })
      else {
        entry.text = text
        // One thing more is not left until the next repetition, and a storm of them is told once a minute.
        entry.lines = new Set(lines)
        if (untold(entry)) entry.dueAt = Math.min(entry.dueAt, Math.max(now, entry.sentAt + REPEAT_FIRST))
        if (entry.goneAt !== null) entry.goneAt = null
      }
    }
    for (const [name, entry] of this.#entries) {
      if (there.has(name)) continue
      entry.goneAt ??= now
      if (now - entry.goneAt < SETTLE || entry.onItsWay) continue
      // Nobody heard that it began: nobody needs to hear that it is over.
      if (entry.sent === 0) this.#entries.delete(name)
      else if (entry.dueAt > now && entry.failures === 0) entry.dueAt = now
    }
  }
  /** What is to be sent now; each is on its way until `sent` says how it ended. */
  due(now: number, wall: number): Alert[] {
    const alerts: Alert[] = []
    for (const [name, entry] of this.#entries) {
      const over = entry.goneAt !== null && now - entry.goneAt >= SETTLE
      if (entry.onItsWay || entry.dueAt > now || (entry.goneAt !== null && !over)) continue
      entry.onItsWay = true
      entry.told = entry.lines
      alerts.push({
        schema: 'tapeline.alert/1',
        ...this.#place,
        class: name,
        status: over ? 'over' : entry.sent === 0 ? 'begun' : 'lasting',
        text: entry.text,
        since: new Date(entry.since).toISOString(),
        time: new Date(wall).toISOString(),
        number: entry.sent + 1,
      })
    }
    return alerts
  }
  sent(alert: Alert, delivered: boolean, now: number): void {
    const entry = this.#entries.get(alert.class)
    if (entry === undefined) return
    entry.onItsWay = false
    if (!delivered) {
      entry.failures++
      entry.dueAt = now + Math.min(RETRY_MAX, RETRY_FIRST * 2 ** Math.min(10, entry.failures - 1))
      return
    }
    entry.failures = 0
    if (alert.status === 'over') {
      this.#entries.delete(alert.class)
      return
    }
    entry.sent++
    entry.sentAt = now
    // What came while it was on its way is told next.
    entry.dueAt = now + (untold(entry) ? REPEAT_FIRST : Math.min(REPEAT_MAX, REPEAT_FIRST * 2 ** Math.min(10, entry.sent - 1)))
  }
}

function untold({ lines, told }: Entry): boolean {
  for (const line of lines) if (!told.has(line)) return true
  return false
}
