/** Reads against the local exchange: in one process under its own clock (`inOne`), or on real sockets (`onLoopback`). */
import { Signer } from '../../../../adapters/kalshi/sign.ts'
import { environmentOf } from '../../../../adapters/kalshi/environment.ts'
import type { Clock, HttpRequest, QuarantineEntry, Timer, Timers, World } from '../../../../adapters/kalshi/ports.ts'
import { HttpFailure } from '../../../../adapters/kalshi/ports.ts'
import { Budget } from '../../../../adapters/kalshi/rate-limit.ts'
import { Rest } from '../../../../adapters/kalshi/rest.ts'
import { systemWorld } from '../../../../adapters/kalshi/system.ts'
import { inProcess, onSockets, trader, type Json, type Trader } from '../../exchange/support.ts'

const WIDE = { read: { perSecond: 1e6, capacity: 1e6 }, write: { perSecond: 1e6, capacity: 1e6 } }

/** What an answer is replaced by, when a test wants it: another body, a status, or nothing at all. */
export type Instead = { readonly status?: number; readonly body?: unknown; readonly lost?: boolean } | null

export function inOne(options: Parameters<typeof inProcess>[0] = {}, definitions?: Parameters<typeof inProcess>[1]) {
  const local = inProcess(options, definitions)
  const { x, api } = local
  const timers: { at: number; call: () => void; gone: boolean }[] = []
  const requests: { readonly path: string; readonly time: number }[] = []
  const world: World & { instead: (path: string, body: Json) => Instead } = {
    instead: () => null,
    clock: { now: () => x.now, wall: () => Math.floor(x.now / 1000) },
    timers: {
      after(delay, call): Timer {
        const entry = { at: x.now + delay, call, gone: false }
        timers.push(entry)
        return { cancel: () => void (entry.gone = true) }
      },
    },
    chance: { next: () => 0.5 },
    sockets: {
      open: () => {
        throw new Error('no sockets here')
      },
    },
    http: {
      request: async ({ method, url, headers, body }: HttpRequest) => {
        const path = url.replace('http://127.0.0.1:1', '')
        requests.push({ path: path.replace('/trade-api/v2', ''), time: x.now })
        const lower = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v]))
        const answer = api.handle({ method, url: path, headers: lower, body: body ?? '', wall: null })
        const plain = JSON.parse(JSON.stringify(answer.body ?? null)) as Json
        const instead = world.instead(path.replace('/trade-api/v2', ''), plain)
        if (instead?.lost === true) throw new HttpFailure('network', 'ECONNRESET')
        const said = instead?.body ?? plain
        return {
          status: instead?.status ?? answer.status,
          type: typeof said === 'string' ? 'text/html' : 'application/json',
          date: '',
          body: typeof said === 'string' ? said : JSON.stringify(said),
        }
      },
    },
    quarantine: { keep() {} },
  }
  const rest = (who: Trader): Rest =>
    new Rest(environmentOf('http://127.0.0.1:1'), Signer.fromPem(who.keyId, who.privatePem), new Budget(WIDE), world)
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  /** Time passes: timers fire at their own time, and answers arrive in between. */
  const run = async (delay: number): Promise<void> => {
    const end = x.now + delay
    await settle()
    for (;;) {
      const next = timers.filter((t) => !t.gone && t.at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      timers.splice(timers.indexOf(next), 1)
      x.advance(Math.max(x.now, next.at))
      next.call()
      await settle()
    }
    x.advance(end)
    await settle()
  }
  return { ...local, world, rest, run, requests, trader: (name: string, dollars = 1000) => trader(x, name, dollars) }
}

export async function onLoopback(more: Parameters<typeof onSockets>[0] = {}) {
  const local = await onSockets(more)
  const kept: QuarantineEntry[] = []
  const world = systemWorld({ keep: (entry) => void kept.push(entry) })
  const environment = environmentOf(local.server.url.replace('/trade-api/v2', ''))
  const rest = (who: Trader): Rest => new Rest(environment, Signer.fromPem(who.keyId, who.privatePem), new Budget(WIDE), world)
  const signer = (who: Trader): Signer => Signer.fromPem(who.keyId, who.privatePem)
  const stop = async (): Promise<void> => {
    await world.close()
    await local.stop()
  }
  return {
    ...local,
    world,
    environment,
    rest,
    signer,
    kept,
    stop,
    trader: (name: string, dollars = 1000) => trader(local.x, name, dollars),
  }
}

export async function until(condition: () => boolean, what: string, ms = 15_000): Promise<void> {
  const end = performance.now() + ms
  while (!condition()) {
    if (performance.now() > end) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A world in which everything of ours is `scale` times as fast; signatures stay in real time. */
export function faster(world: World, scale: number): World {
  const start = world.clock.now()
  const clock: Clock = { now: () => Math.floor(start + (world.clock.now() - start) * scale), wall: () => world.clock.wall() }
  const timers: Timers = { after: (delay, call) => world.timers.after(delay / scale, call) }
  return { ...world, clock, timers }
}
