/**
 * `tapeline flatten`: closes what a halted session holds, at a price that was seen and agreed to. Owns its order: the cost first, a typed word, each order written down and synced before it goes, what became of it
 * told. Hides requests. Invariants: it only reduces (the exchange holds it to that); it trades only while the halt stands, or while the session's lock is its own; an order whose outcome is unknown is said to be
 * so and never sent again.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { CreateIntent, FillFact, Gate, Holding, KalshiLive } from '../../adapters/kalshi/live.ts'
import type { World } from '../../adapters/kalshi/ports.ts'
import { EXIT, UsageError } from '../exit.ts'
import { readHalt } from '../halt.ts'
import type { Outcome } from '../output.ts'
import { lifeOf } from '../session-status.ts'
import { LIVE_CEILINGS } from '../config/live.ts'
import { confirmed } from './confirm.ts'
import { flattenPlan, type FlattenMarket, type FlattenPlan } from './flatten-plan.ts'
import { beyondText, dollarsText, fillText, planText } from './flatten-text.ts'
import { takeLock, type LiveLock } from './lock.ts'
import { OperatorLog } from './operator-log.ts'
import { reach, snapshotOf, type KeyArguments, type LivePlace } from './place.ts'

export type FlattenRequest = KeyArguments & {
  /** Price units. */
  readonly collar: number
  readonly markets: readonly string[] | null
  readonly confirm: string | undefined
  readonly dryRun: boolean
  /** Shows it before it asks. */
  readonly show: (text: string) => void
}
export type FlattenOrder = {
  readonly ticker: string
  readonly client: string
  readonly side: 'bid' | 'ask'
  readonly quantity: number
  readonly limit: number
  readonly outcome: 'acknowledged' | 'rejected' | 'not-sent' | 'unknown'
  readonly reason: string | null
  readonly id: string | null
  /** By the answer. */
  readonly filled: number | null
}
export type FlattenData = {
  readonly session: string
  readonly plan: FlattenPlan
  readonly orders: readonly FlattenOrder[]
  readonly fills: readonly FillFact[]
  /** Afterwards; null: not read. */
  readonly left: readonly Holding[] | null
  readonly log: string | null
}

const ORDER_MAX = LIVE_CEILINGS.orderContracts * 100
const ORDERS_PER_SECOND = LIVE_CEILINGS.ordersPerSecond
/** Reads lag: fills are looked for so long, ms. */
const FILLS_MS = 5_000
const POLL_MS = 500

export async function flatten(place: LivePlace, request: FlattenRequest): Promise<Outcome<FlattenData>> {
  const snapshot = snapshotOf(place.dir)
  const life = snapshot === null ? 'gone' : lifeOf(snapshot, Date.now())
  const halted = readHalt(place.sessions) !== null
  if (life === 'running' && !halted)
    throw new UsageError(
      `${place.dir} is running (process ${snapshot?.pid ?? 0}): two hands on one position end badly; \`tapeline halt ${place.dir}\` first`,
      EXIT.gate,
      'SESSION_RUNS',
    )
  const line = await reach(place, request)
  let lock: LiveLock | null = null
  try {
    // While the halt stands nobody else trades; without it the lock keeps an engine from starting meanwhile.
    if (!halted && !request.dryRun)
      lock = await takeLock(
        { environment: place.environment, keyId: place.keyId ?? line.keyId, subaccount: place.subaccount },
        `flatten ${place.dir}`,
      )
    const holds = lock
    return await close(place, request, line.kalshi, line.world, () => readHalt(place.sessions) !== null || holds?.held() === true)
  } finally {
    await lock?.release()
    await line.close()
  }
}

async function close(
  place: LivePlace,
  request: FlattenRequest,
  kalshi: KalshiLive,
  world: World,
  may: () => boolean,
): Promise<Outcome<FlattenData>> {
  const { flattenNonce, readFillsOf, readHoldings, readMarketPlace } = await import('../../adapters/kalshi/live.ts')
  const { rest } = kalshi
  const { open, why } = await kalshi.stopper(place.subaccount, () => 'flatten').look()
  if (open === null)
    throw new UsageError(`what is open cannot be read (${why ?? ''}): nothing is closed blindly`, EXIT.exchange, 'EXCHANGE')
  if (open.length > 0)
    throw new UsageError(
      `${open.length} orders are open in subaccount ${place.subaccount}: they could be filled meanwhile; \`tapeline halt ${place.dir}\` takes them back`,
      EXIT.gate,
      'ORDERS_OPEN',
    )
  const all = await readHoldings(rest, place.subaccount)
  const missing = (request.markets ?? []).filter((ticker) => !all.some((h) => h.ticker === ticker))
  if (missing.length > 0)
    throw new UsageError(
      `nothing is held in ${missing.join(', ')}: ${all.length === 0 ? 'nothing is held at all' : `held is ${all.map((h) => h.ticker).join(', ')}`}`,
      EXIT.usage,
      'NOT_HELD',
    )
  const held = all.filter((h) => request.markets === null || request.markets.includes(h.ticker))
  const places = new Map(await Promise.all(held.map(async (h) => [h.ticker, await readMarketPlace(rest, h.ticker)] as const)))
  const plan = flattenPlan(held, places, { collar: request.collar, now: world.clock.now() })
  const data: FlattenData = { session: place.dir, plan, orders: [], fills: [], left: null, log: null }
  if (plan.markets.length === 0)
    return {
      data,
      text: planText(place, plan, request.collar),
      ...(plan.stuck.length === 0
        ? {}
        : { exit: EXIT.gate, error: { code: 'NOTHING_TO_CLOSE', message: 'nothing of it can be closed now' } }),
    }
  const count = plan.markets.length
  const phrase = `FLATTEN ${count} markets ${dollarsText(plan.cost)}`
  const shown = [planText(place, plan, request.collar), ...beyondText(plan, snapshotOf(place.dir)?.positions ?? [])].join('\n')
  if (request.dryRun)
    return {
      data,
      text: `DRY RUN: nothing was sent but reads\n${shown}\nit would need --confirm "${phrase}"`,
    }
  request.show(shown)
  await confirmed(request.confirm, phrase, (said) => accepts(said, count, plan.cost))
  if (!may()) throw new UsageError('the session was resumed meanwhile: nothing was sent', EXIT.gate, 'SESSION_RUNS')

  const { log, nonce } = freshLog(place, flattenNonce)
  const gate = gateFor(kalshi, plan, log, may, request.collar)
  const started = world.clock.now()
  let orders: FlattenOrder[]
  try {
    log.append({ what: 'flatten', phrase, plan })
    orders = await sendAll(plan.markets, place.subaccount, nonce, gate, log)
  } finally {
    gate.close()
  }
  const ids = new Set(orders.flatMap((o) => (o.id === null ? [] : [o.id])))
  const expected = orders.reduce((a, o) => a + (o.filled ?? 0), 0)
  let fills: readonly FillFact[] = []
  let left: readonly Holding[] | null = null
  const until = performance.now() + FILLS_MS
  do {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    try {
      fills = await readFillsOf(rest, place.subaccount, ids, started)
      left = await readHoldings(rest, place.subaccount)
    } catch {
      // Told below: what was not read is not known.
    }
  } while (
    performance.now() < until &&
    (left === null || fills.reduce((a, f) => a + f.quantity, 0) < expected || !settled(plan, fills, left))
  )
  log.append({ what: 'flattened', fills, left })
  log.close()
  return outcome({ ...data, orders, fills, left, log: log.path }, place)
}

/** The dollars that were agreed to are the most: prices move between a look and a word. */
function accepts(said: string, count: number, cost: number): boolean {
  const parts = /^FLATTEN (\d+) markets? \$?(\d+(?:\.\d{1,2})?)$/.exec(said)
  return parts !== null && Number(parts[1]) === count && Math.round(Number(parts[2]) * 100) >= Math.ceil(cost / 10_000)
}
/** Positions are what the fills say. */
function settled(plan: FlattenPlan, fills: readonly FillFact[], left: readonly Holding[]): boolean {
  return plan.markets.every((m) => {
    const sum = fills.filter((f) => f.ticker === m.ticker).reduce((a, f) => a + (f.side === 'bid' ? f.quantity : -f.quantity), 0)
    return m.position + sum === (left.find((h) => h.ticker === m.ticker)?.position ?? 0)
  })
}

/** Its own intents, in a file of their own, and a nonce that no file before it had. */
function freshLog(
  place: LivePlace,
  nonceOf: (session: string, n: number) => string,
): { readonly log: OperatorLog; readonly nonce: string } {
  for (let n = 0; n < 10_000; n++) {
    const path = join(place.dir, `flatten-${n}.ndjson`)
    if (existsSync(path)) continue
    return { log: new OperatorLog(path, true), nonce: nonceOf(place.nonce ?? place.name, n) }
  }
  throw new UsageError(`${place.dir} was flattened too often: look into its flatten-…ndjson files`, EXIT.data)
}
function gateFor(kalshi: KalshiLive, { markets }: FlattenPlan, log: OperatorLog, may: () => boolean, collar: number): Gate {
  const of = (ticker: string): FlattenMarket | undefined => markets.find((m) => m.ticker === ticker)
  return kalshi.gate(
    {
      caps: { orderMax: ORDER_MAX, notionalMax: ORDER_MAX * 10_000, collar, ordersPerSecond: ORDERS_PER_SECOND, ordersOpen: 1 },
      // The halt is what makes this safe: the other way round than for everybody else, and asked as late.
      killed: () => null,
      permits: () => (may() ? null : 'resumed'),
      holdsLock: () => true,
      synced: () => log.synced,
      reference: (ticker) => of(ticker)?.touch ?? null,
      closes: (ticker) => of(ticker)?.closes ?? null,
      ordersOpen: () => 1,
    },
    { closeMargin: 1_000_000, patience: 5_000_000 },
  )
}
/** One after the other: what the first ones do is known before the last ones go. */
async function sendAll(
  markets: readonly FlattenMarket[],
  subaccount: number,
  nonce: string,
  gate: Gate,
  log: OperatorLog,
): Promise<FlattenOrder[]> {
  const { clientId } = await import('../../adapters/kalshi/live.ts')
  const orders: FlattenOrder[] = []
  let number = 0
  for (const m of markets) {
    for (let left = m.quantity; left > 0; left -= ORDER_MAX) {
      const quantity = Math.min(left, ORDER_MAX)
      number++
      const intent: CreateIntent = {
        kind: 'create',
        command: null,
        attempt: 1,
        ticker: m.ticker,
        shard: m.shard,
        subaccount,
        order: number,
        client: clientId(nonce, 0, number),
        side: m.side,
        price: m.limit,
        quantity,
        tif: 'ioc',
        expires: null,
        prevention: 'taker',
        postOnly: false,
        reduceOnly: true,
        group: null,
      }
      // So many a second, whatever the gate would do about more.
      if (number > 1) await new Promise((resolve) => setTimeout(resolve, 1000 / ORDERS_PER_SECOND + 10))
      const sequence = log.append({ what: 'intent', intent })
      const { outcome, times } = await gate.write(intent, sequence)
      const answer = outcome.kind === 'acknowledged' && outcome.answer.kind === 'create' ? outcome.answer : null
      const order: FlattenOrder = {
        ticker: m.ticker,
        client: intent.client,
        side: m.side,
        quantity,
        limit: m.limit,
        outcome: outcome.kind,
        reason: outcome.kind === 'rejected' ? outcome.code : 'reason' in outcome ? outcome.reason : null,
        id: answer?.id ?? null,
        filled: answer?.filled ?? null,
      }
      log.append({ what: 'outcome', ...order, times })
      orders.push(order)
      // Whatever it is, more of the same market is not sent on top of it.
      if (outcome.kind !== 'acknowledged') break
    }
  }
  return orders
}

function outcome(data: FlattenData, place: LivePlace): Outcome<FlattenData> {
  const { plan, orders, left } = data
  const unknown = orders.filter((o) => o.outcome === 'unknown')
  const refused = orders.filter((o) => o.outcome === 'rejected' || o.outcome === 'not-sent')
  const still = left?.filter((h) => plan.markets.some((m) => m.ticker === h.ticker)) ?? []
  const warnings: string[] = []
  if (unknown.length > 0)
    warnings.push(
      `what became of ${unknown.length} orders is NOT KNOWN (${unknown
        .map((o) => `${o.ticker}: ${o.reason ?? ''}`)
        .join('; ')
        .slice(0, 300)}): they are not sent again; look at the positions before you flatten again`,
    )
  if (refused.length > 0)
    warnings.push(
      `${refused.length} orders were refused: ${refused
        .map((o) => `${o.ticker}: ${o.reason ?? ''}`)
        .join('; ')
        .slice(0, 300)}`,
    )
  if (plan.stuck.length > 0) warnings.push(`${plan.stuck.length} markets could not be closed now`)
  if (left === null) warnings.push('the positions could not be read afterwards: run it again with --dry-run')
  const flat = unknown.length === 0 && left !== null && still.length === 0 && plan.stuck.length === 0
  return {
    data,
    text: fillText(place, data),
    warnings,
    exit: flat ? EXIT.ok : EXIT.exchange,
    ...(flat
      ? {}
      : {
          error: {
            code: 'NOT_FLAT',
            message:
              left === null
                ? 'it is not known what is held'
                : `${still.length + plan.stuck.length} markets are still held: look, and flatten again if you want to go further`,
          },
        }),
  }
}
