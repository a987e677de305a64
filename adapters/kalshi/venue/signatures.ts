/**
 * Signatures made ahead: creating an order always signs the same path, and with RSA the signature costs more than everything else before the first byte. Owns a few of them, made off the main thread;
 * hides when. Invariants: each is used once and at most a second old; without one the caller signs by itself.
 */
import type { Clock, Timer, Timers } from '../ports.ts'
import type { Signer } from '../sign.ts'

type Headers = Readonly<Record<string, string>>
const AGE_MAX = 1_000
/** They are renewed before they are too old. */
const RENEW = 400_000
/** µs after one was taken. */
const REFILL = 5_000

export class Signatures {
  readonly #signer: Pick<Signer, 'headersLater'>
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #method: string
  readonly #path: string
  readonly #count: number
  readonly #ready: { readonly wall: number; readonly headers: Headers }[] = []
  #making = 0
  #timer: Timer | null = null
  #refill: Timer | null = null
  #open = true

  /** `count`: kept ready. `path` from the root. */
  constructor(signer: Pick<Signer, 'headersLater'>, clock: Clock, timers: Timers, method: string, path: string, count: number) {
    this.#signer = signer
    this.#clock = clock
    this.#timers = timers
    this.#method = method
    this.#path = path
    this.#count = count
    this.#renew()
  }

  take(method: string, path: string, wall: number): Headers | null {
    if (method !== this.#method || path !== this.#path) return null
    let found: Headers | null = null
    for (let next = this.#ready.shift(); next !== undefined && found === null; next = found === null ? this.#ready.shift() : undefined)
      if (wall >= next.wall && wall - next.wall <= AGE_MAX) found = next.headers
    // Not now: whoever takes one is about to write his first byte.
    this.#refill ??= this.#timers.after(REFILL, () => {
      this.#refill = null
      this.#fill()
    })
    return found
  }
  close(): void {
    this.#open = false
    this.#timer?.cancel()
    this.#refill?.cancel()
    this.#ready.length = 0
  }

  #renew(): void {
    if (!this.#open) return
    const wall = this.#clock.wall()
    while (this.#ready[0] !== undefined && (wall < this.#ready[0].wall || wall - this.#ready[0].wall > AGE_MAX / 2)) this.#ready.shift()
    this.#fill()
    this.#timer = this.#timers.after(RENEW, () => this.#renew())
  }
  #fill(): void {
    while (this.#open && this.#ready.length + this.#making < this.#count) {
      this.#making++
      const wall = this.#clock.wall()
      this.#signer.headersLater(this.#method, this.#path, wall, (headers) => {
        this.#making--
        if (headers !== null && this.#open) this.#ready.push({ wall, headers })
      })
    }
  }
}
