/**
 * Something like a live engine, for whoever must stop one: it places orders through the gate, as fast as it may, says every second that it lives, and obeys commands. Owns nothing but that; its orders rest far
 * from the market.
 *
 *   node <bundle> '{"session":…,"rest":…,"keyId":…,"keyFile":…,"ticker":…}'
 */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { clientId, FileQuarantine, KalshiLive, systemWorld, type CreateIntent } from '../../adapters/kalshi/live.ts'
import { readHalt } from '../../cli/halt.ts'
import { clearCommands, takeCommands, writeSnapshot, type Acknowledged, type SessionSnapshot } from '../../cli/session-status.ts'
import type { SessionStateName } from '../../engine/session-state.ts'

type Plan = {
  readonly session: string
  readonly rest: string
  readonly keyId: string
  readonly keyFile: string
  readonly ticker: string
  /** Between two orders, ms. */
  readonly every?: number
  readonly group?: boolean
  /** It does not hear commands. */
  readonly deaf?: boolean
  /** First buys so many contracts at the market. */
  readonly buy?: number
  /** And sells so many of another market. */
  readonly sell?: number
  readonly other?: string
}
const plan = JSON.parse(process.argv[2] as string) as Plan
const dir = plan.session
const environment = plan.rest.replace(/\/trade-api\/v2$/, '')
const nonce = 'drill'
mkdirSync(dir, { recursive: true })
const resumed = ((): number => {
  try {
    return (JSON.parse(readFileSync(join(dir, 'generation.json'), 'utf8')) as number) + 1
  } catch {
    return 1
  }
})()
writeFileSync(join(dir, 'generation.json'), String(resumed))
const live = { nonce, environment, subaccount: 0 }
writeFileSync(join(dir, 'session.json'), JSON.stringify({ schema: 'tapeline.session/1', mode: 'live', live }))
writeFileSync(
  join(dir, 'live.json'),
  JSON.stringify({ schema: 'tapeline.live/1', environment, subaccount: 0, keyId: plan.keyId, keyFile: resolve(plan.keyFile) }),
)
const sessions = dirname(resolve(dir))
const world = systemWorld(new FileQuarantine(join(dir, 'quarantine.ndjson')))
const kalshi = new KalshiLive({ environment, keyId: plan.keyId, keyFile: plan.keyFile }, world)
let state: SessionStateName = 'trading'
let cause: string | null = null
let sent = 0
const commands: Acknowledged[] = []
const gate = kalshi.gate({
  caps: { orderMax: 100_00, notionalMax: 1e12, collar: 10_000, ordersPerSecond: 100, ordersOpen: 10_000 },
  killed: () => readHalt(sessions)?.reason ?? null,
  holdsLock: () => true,
  synced: () => Infinity,
  permits: () => (state === 'trading' ? null : state),
  reference: () => 5_000,
  closes: () => world.clock.now() + 3_600e6,
  ordersOpen: () => 1,
})

function status(ended: string | null): void {
  const now = Date.now()
  writeSnapshot(dir, {
    schema: 'tapeline.status/1',
    session: basename(dir),
    mode: 'live',
    pid: process.pid,
    written: now,
    started: now,
    ended,
    state: { name: state, since: now * 1000, cause },
    time: now * 1000,
    ran: now * 1000,
    strategies: ['drill'],
    feed: { environment: 'local', connections: [{ name: 'a', state: 'open', connects: 1, stale: false }], unsynced: [], troubles: {} },
    orders: { working: sent, sent, fills: 0, list: [] },
    positions: [],
    tape: { state: 'recording', rows: 0, failure: null },
    commands,
    errors: [],
  } as unknown as SessionSnapshot)
}
function move(name: SessionStateName, why: string): void {
  state = name
  cause = why
  status(null)
}

clearCommands(dir)
status(null)
setInterval(() => {
  try {
    status(null)
  } catch {}
}, 1_000)
setInterval(() => {
  if (plan.deaf === true) return
  for (const { id, command, reason } of takeCommands(dir, () => {})) {
    commands.push({ id, command, reason, time: Date.now() * 1000, state: command === 'halt' ? 'halted' : 'trading' })
    move(command === 'halt' ? 'halted' : 'trading', command)
  }
}, 50)

async function place(price: number, more: Partial<CreateIntent>): Promise<void> {
  const client = clientId(nonce, resumed, ++sent)
  const began = Date.now()
  const { outcome } = await gate.write(
    {
      kind: 'create',
      command: sent,
      attempt: 1,
      ticker: plan.ticker,
      shard: 0,
      subaccount: 0,
      order: sent,
      client,
      side: 'bid',
      price,
      quantity: 100,
      tif: 'gtc',
      expires: Math.floor(world.clock.now() / 1e6 + 600) * 1e6,
      prevention: 'taker',
      postOnly: true,
      reduceOnly: false,
      group,
      ...more,
    },
    sent,
  )
  appendFileSync(join(dir, 'creates.ndjson'), `${JSON.stringify({ client, began, ended: Date.now(), outcome })}\n`)
}
let group: string | null = null
if (plan.group !== false) {
  const { outcome } = await gate.write({ kind: 'group-create', command: null, attempt: 1, shard: 0, subaccount: 0, limit: 1000_00 }, 0)
  if (outcome.kind === 'acknowledged' && outcome.answer.kind === 'group') group = outcome.answer.id
}
if (plan.buy !== undefined) await place(9_900, { quantity: plan.buy * 100, tif: 'ioc', expires: null, postOnly: false, group: null })
if (plan.sell !== undefined && plan.other !== undefined)
  await place(100, { ticker: plan.other, side: 'ask', quantity: plan.sell * 100, tif: 'ioc', expires: null, postOnly: false, group: null })
setInterval(() => void place(100 + 100 * (sent % 5), {}), plan.every ?? 120)
process.on('SIGTERM', () => {
  status('terminated')
  process.exit(0)
})
