/**
 * A room for drills of live sessions: an exchange in the test's own process, whose every order a test can look at, and the shipped program as child processes that it starts, signals and kills. Owns the
 * exchange, the key, the arms and what the exchange saw of each write; hides where they are. Invariant: the truth is the exchange's own books, never an answer of it.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { realNow } from '../../adapters/exchange/index.ts'
import type { FillRow, OrderRecord } from '../../adapters/exchange/order.ts'
import { listArms, writeArm } from '../../cli/live/arms.ts'
import { crowdOn, onSockets, trader, type Sockets } from '../adapters/exchange/support.ts'
import { start, type Started } from './live.ts'
import { runJson } from './program.ts'

/** Always at it: quotes that move with time, takes, pulls, wishes out of a timer and out of a fill. A function of the rows and of time alone. */
const STORM = `export default ({ pace = 250 } = {}) => ({
  name: 'storm',
  parameters: { pace },
  onStart(desk) { desk.wake(desk.now + 500_000) },
  onBook(book, desk) {
    const { market } = book
    if (!book.twoSided) return desk.pull(market)
    const n = Math.floor(desk.now / (pace * 1000)) + market.slot * 5
    const position = desk.position(market)
    if (n % 9 === 0) return desk.pull(market, n % 2 === 0 ? 'bid' : 'ask')
    desk.quote(market, { side: 'bid', price: book.step(book.bid, -(n % 3)), size: 1 + (n % 4), positionMax: 15, why: 'storm' })
    desk.quote(market, { side: 'ask', price: book.step(book.ask, n % 2), size: 1 + (n % 3), positionMax: 15, why: 'storm' })
    if (n % 6 === 1) {
      const side = position > 0 ? 'ask' : 'bid'
      desk.take(market, { side, limit: side === 'bid' ? book.ask : book.bid, size: 1, positionMax: 15, why: 'storm' })
    }
  },
  onFill(fill, desk) {
    const book = desk.book(fill.market)
    if (book !== null && book.twoSided) desk.quote(fill.market, { side: fill.side, price: book.step(fill.side === 'bid' ? book.bid : book.ask, fill.side === 'bid' ? -2 : 2), size: 2, positionMax: 15, why: 'again' })
  },
  onWake(desk) { desk.wake(desk.now + 170_000) },
})
`
const SETTINGS = `limits:
  orderContracts: 20
  positionContracts: 100
  marketLossDollars: 200
  eventLossDollars: 1000
  sessionLossDollars: 3000
  ordersOpen: 100
  ordersPerSecond: 10
  collarCents: 20
  feedSilenceSeconds: 10
  orderAgeSeconds: 300
paper:
  spaceMinMegabytes: 0
live:
  cashDollars: 5000
  orderGroupContracts: 5000
  absenceMargin: 10s
  closeMargin: 5s
`
export const DOLLARS = 9_000
export const SERIES = 'KXPRACTICE15M'

/** A create as the exchange met it. `code`: of its refusal. `known`: its intent stood in the log by then. */
export type Seen = { readonly client: string; readonly time: number; readonly code: string; readonly known: boolean }
/** A write as the exchange meets it: `effect` makes it happen. */
export type WriteHook = (write: { readonly method: string; readonly url: string; readonly body: string }, effect: () => void) => void

export type Room = Awaited<ReturnType<typeof liveRoom>>
export async function liveRoom(
  dir: string,
  {
    markets = 4,
    rate = 25,
    life = 900_000_000,
    seed = 1,
    settings = SETTINGS,
    ...more
  }: { markets?: number; rate?: number; life?: number; seed?: number; settings?: string } & Pick<
    Parameters<typeof onSockets>[0] & object,
    'rules' | 'options'
  > = {},
) {
  // A folder that is kept has keys in it: it is named whole, and is nowhere near the repository by accident.
  if (!isAbsolute(dir)) throw new Error(`${dir} is no absolute path`)
  mkdirSync(dir, { recursive: true })
  const sockets: Sockets = await onSockets({
    definitions: [],
    seed,
    drivers: (x) => [crowdOn(x, seed, { markets, rate, life })],
    ...more,
    options: { readLag: 350_000, ...more.options },
  })
  const { server } = sockets
  const who = trader(sockets.x, 'a', DOLLARS, 'premier')
  writeFileSync(join(dir, 'key.pem'), who.privatePem, { mode: 0o600 })
  writeFileSync(join(dir, 'storm.mjs'), STORM)
  writeFileSync(join(dir, 'tapeline.yaml'), settings)
  const url = server.url.replace('/trade-api/v2', '')
  const access = ['--environment', 'local', '--url', url, '--key-id', who.keyId, '--key-file', 'key.pem']
  const following = ['--series', SERIES]
  const seen: Seen[] = []
  const hooks: { write: WriteHook | null; known: (client: string) => boolean } = { write: null, known: () => true }
  const handle = server.api.handle.bind(server.api)
  server.api.handle = (call) => {
    const path = call.url.split('?')[0] ?? ''
    if (call.method === 'GET' || !path.includes('/portfolio/events/orders')) return handle(call)
    const create = call.method === 'POST' && path.endsWith('/orders') ? (JSON.parse(call.body) as { client_order_id: string }) : null
    const known = create === null || hooks.known(create.client_order_id)
    let answer: ReturnType<typeof handle> | null = null
    const effect = (): void => {
      answer ??= handle(call)
    }
    hooks.write?.({ method: call.method, url: call.url, body: call.body }, effect)
    effect()
    const done = answer as unknown as ReturnType<typeof handle>
    const code = (done.body as { error?: { code?: string } } | null | undefined)?.error?.code ?? ''
    if (create !== null) seen.push({ client: create.client_order_id, time: realNow(), code, known })
    return done
  }
  const children: ChildProcess[] = []
  const launch = (args: readonly string[]): Started => {
    const started = start(dir, ['live', ...args, '--unwatched', 'drill', '--json'])
    children.push(started.child)
    return started
  }
  return {
    ...sockets,
    dir,
    who,
    access,
    following,
    seen,
    hooks,
    /** As its user does it; later ones are copies of the first, which is a second less each. */
    async arm(): Promise<void> {
      const last = listArms(join(dir, 'sessions')).at(-1)?.arm
      if (last === undefined || last === null) {
        const words = ['live', 'arm', 'storm.mjs', ...access, ...following, '--unproven', 'rehearsal']
        const shown = await runJson(dir, [...words, '--dry-run'])
        const phrase = shown.data?.['phrase'] as string | undefined
        if (phrase === undefined) throw new Error(`not armed: ${shown.stdout} ${shown.stderr}`)
        const armed = await runJson(dir, [...words, '--confirm', phrase])
        if (armed.code !== 0) throw new Error(`not armed: ${armed.stdout} ${armed.stderr}`)
        return
      }
      const { schema: _, id: _id, armed: _armed, expires: _expires, seal: _seal, ...made } = last as typeof last & { seal?: string }
      writeArm(join(dir, 'sessions'), made, 3_600_000)
    },
    begin: (session: string, more: readonly string[] = []): Started =>
      launch(['storm.mjs', ...access, ...following, '--out', session, ...more]),
    resume: (session: string, more: readonly string[] = []): Started => launch(['--resume', session, ...access, ...more]),
    orders: (): readonly OrderRecord[] => [...who.account.orders.values()],
    resting: (): readonly OrderRecord[] => [...who.account.resting],
    fills: (): readonly FillRow[] => {
      who.account.view.catchUp(Infinity)
      return who.account.view.fills
    },
    async close(): Promise<void> {
      for (const child of children) child.kill('SIGKILL')
      await sockets.stop()
    },
  }
}
