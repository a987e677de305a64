/**
 * `tapeline diverge`: a session's own tape under the fill models, order by order against what happened. Owns the command line and the text; hides the comparison. Invariant: differences are the answer, not
 * an error; only books that do not add up are.
 */
import { writeFile } from 'node:fs/promises'
import type { CommandModule } from 'yargs'
import type { Delays, FillModelName } from '../engine/session.ts'
import type { DivergeClass, ModelSummary, OrderLine } from '../reports/diverge/model.ts'
import { once } from './backtest.ts'
import type { Compared, LookedAt } from './diverge/compared.ts'
import { EXIT } from './exit.ts'
import { count, present, tableText, type Outcome } from './output.ts'

type Arguments = { session: string; fills: FillModelName | undefined; csv: string | undefined; all: boolean; json: boolean }

export type FreeTotals = {
  readonly model: FillModelName
  /** Null: it could not be run; `failed` says why. */
  readonly orders: number | null
  readonly fills: number | null
  readonly contracts: number | null
  readonly feesDollars: string | null
  readonly netDollars: string | null
  readonly failed: string | null
}
type DivergeData = {
  readonly session: string
  readonly mode: 'paper' | 'live'
  readonly complete: boolean
  readonly ledger: readonly string[]
  readonly delays: Delays | null
  readonly nearest: FillModelName | null
  /** The model of `orders`. */
  readonly shown: FillModelName | null
  readonly models: readonly ModelSummary[]
  readonly orders: readonly OrderLine[]
  readonly live: {
    readonly orders: number
    readonly fills: number
    readonly contracts: number
    readonly feesDollars: string
    readonly netDollars: string
  }
  readonly free: readonly FreeTotals[]
}

export const divergeCommand: CommandModule<object, Arguments> = {
  command: 'diverge <session>',
  describe: 'Compare a session with the fill models on its own tape, order by order: which is the nearest, and why they differ',
  builder: (y) =>
    y
      .positional('session', { type: 'string', demandOption: true, describe: 'Folder of the session' })
      .option('fills', {
        choices: ['strict', 'queue', 'touch', 'quotes', 'prints'] as const,
        describe: 'This model alone (default: all that the tape can carry; the orders are shown against the nearest)',
      })
      .option('csv', { type: 'string', requiresArg: true, describe: 'Write every order under every model into this file' })
      .option('all', { type: 'boolean', default: false, describe: 'Show every order, also those without a difference' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
      .check((argv) => once(argv))
      .example('$0 diverge sessions/lean-KXBTC15M-20260513T134500Z', '') as never,
  handler: (argv) => present('diverge', argv.json, () => diverge(argv)),
}

async function diverge(argv: Arguments): Promise<Outcome<DivergeData>> {
  const { booksOf, compare, lookAt } = await import('./diverge/compared.ts')
  const looked = await lookAt(argv.session)
  const ledger = booksOf(looked)
  if (ledger.length > 0) {
    const message = `${argv.session}: the books of the session do not add up: ${ledger[0]}${ledger.length > 1 ? ` (and ${ledger.length - 1} more, --json has them)` : ''}`
    return {
      data: await dataOf(argv.session, looked, ledger, null, null),
      exit: EXIT.mismatch,
      error: { code: 'LEDGER_MISMATCH', message },
    }
  }
  const compared = await compare(looked, argv.fills === undefined ? null : [argv.fills])
  const shown = argv.fills ?? compared.nearest ?? compared.models[0]?.summary.model ?? null
  const data = await dataOf(argv.session, looked, [], compared, shown)
  if (argv.csv !== undefined) await writeFile(argv.csv, `${await csvOf(compared)}\r\n`)
  return { data, warnings: compared.warnings, text: await textOf(data, compared, argv) }
}

async function dataOf(
  session: string,
  { record, whole }: LookedAt,
  ledger: readonly string[],
  compared: Compared | null,
  shown: FillModelName | null,
): Promise<DivergeData> {
  const { formatMoney } = await import('../engine/units.ts')
  const { end, header } = record
  const contracts = (e: typeof end): number => e.markets.reduce((a, m) => a + m.filled, 0)
  const totals = (e: typeof end) => ({
    orders: e.orders,
    fills: e.fills,
    contracts: contracts(e),
    feesDollars: formatMoney(e.fees),
    netDollars: formatMoney(e.equity - header.cash),
  })
  return {
    session,
    mode: header.mode as 'paper' | 'live',
    complete: whole && end.complete,
    ledger,
    delays: compared?.delays ?? null,
    nearest: compared?.nearest ?? null,
    shown,
    models: compared?.models.map((m) => m.summary) ?? [],
    orders: compared?.models.find((m) => m.summary.model === shown)?.lines ?? [],
    live: totals(end),
    free: (compared?.free ?? []).map(({ model, record: free, failed }) =>
      free === null
        ? { model, orders: null, fills: null, contracts: null, feesDollars: null, netDollars: null, failed }
        : { model, ...totals(free.end), failed: null },
    ),
  }
}

// ---------------------------------------------------------------------------------------------------- text

const LINES_MAX = 60
const CLASS_WORDS: Readonly<Record<DivergeClass, string>> = {
  same: 'the same in both',
  'never-sent': 'never left this machine: no model has a say',
  absent: 'lost on the way, and proved never to have come to be',
  rejected: 'refused by the venue, and taken by the model',
  'model-refused': 'taken by the venue, and refused by the model',
  'not-modelled': 'the tape did not know the market yet',
  'live-more': 'the venue filled more than the model (pessimistic)',
  'model-more': 'the model filled more than the venue (optimistic, a race, or our own impact)',
  price: 'the same size at another price',
  time: 'the same fill, more than a second apart',
  fee: 'the same fill with another fee',
}

async function textOf(data: DivergeData, compared: Compared, { all, session, csv }: Arguments): Promise<string> {
  const { cents, contracts, duration, moneySigned, money, percent, plural, utcMillis } = await import('../reports/words.ts')
  const { record, nearest } = compared
  const live = data.mode === 'live'
  const who = live ? 'venue' : 'paper'
  const lines = [
    `${record.header.strategies.map((s) => s.name).join(' + ')} on ${record.header.tape.name} (${data.mode}${data.complete ? '' : ', partial'}): ${plural(data.live.orders, 'order')}, ${plural(data.live.fills, 'fill')}, net ${moneySigned(record.end.equity - record.header.cash)}`,
    `delays ${live ? 'measured' : 'of the session'}: place ${duration3(compared.delays.place)}, cancel ${duration3(compared.delays.cancel)}, amend ${duration3(compared.delays.amend)}, answer ${duration3(compared.delays.answer)}`,
    '',
    'The orders as they were sent, under each model',
    indent(
      tableText(
        [
          'model',
          'orders',
          'both filled',
          'neither',
          `${who} only`,
          'model only',
          'contracts',
          'error',
          'first fill',
          'queue error',
          'fees',
          'P&L',
          'against',
          '',
        ],
        data.models.map((m) => [
          m.model,
          count(m.orders),
          count(m.both),
          count(m.neither),
          count(m.liveOnly),
          count(m.modelOnly),
          `${contracts(m.contractsModel)} of ${contracts(m.contractsLive)}`,
          m.contractError === null ? 'n/a' : percent(m.contractError),
          m.firstFillError === null ? 'n/a' : `± ${duration(m.firstFillError)}`,
          m.queueError === null ? 'never told' : `± ${contracts(m.queueError)} (n ${count(m.queueSamples)})`,
          `${moneySigned(m.feesModel - m.feesLive)}`,
          moneySigned(m.pnlModel),
          moneySigned(m.pnlLive),
          m.model === nearest && data.models.length > 1 ? '◀ nearest' : '',
        ]),
      ),
    ),
    nearest === null ? 'No order was at the venue: there is nothing to compare.' : nearestText(data, { percent, moneySigned }),
  ]
  lines.push(
    '',
    'The strategy run free on the same tape, under each model',
    indent(
      tableText(
        ['run', 'orders', 'fills', 'contracts', 'fees', 'net P&L', ''],
        [
          [
            who,
            count(data.live.orders),
            count(data.live.fills),
            contracts(data.live.contracts),
            money(record.end.fees),
            moneySigned(record.end.equity - record.header.cash),
            'what happened',
          ],
          ...compared.free.map(({ model, record: r, failed }) =>
            r === null
              ? [model, '', '', '', '', '', failed ?? '']
              : [
                  model,
                  count(r.end.orders),
                  count(r.end.fills),
                  contracts(r.end.markets.reduce((a, m) => a + m.filled, 0)),
                  money(r.end.fees),
                  moneySigned(r.end.equity - r.header.cash),
                  '',
                ],
          ),
        ],
      ),
    ),
  )
  const { shown } = data
  if (shown === null || data.orders.length === 0) return lines.join('\n')
  const classes = [...new Set(data.orders.map((o) => o.class))]
  lines.push(
    '',
    `Order by order, against ${shown}`,
    indent(
      tableText(
        ['orders', 'class', 'which means'],
        classes
          .map((c) => [data.orders.filter((o) => o.class === c).length, c] as const)
          .sort((a, b) => b[0] - a[0])
          .map(([n, c]) => [count(n), c, CLASS_WORDS[c]]),
      ),
    ),
    '',
  )
  const differing = all ? data.orders : data.orders.filter((o) => o.class !== 'same' || o.unknownFor !== null)
  for (const o of differing.slice(0, all ? Infinity : LINES_MAX)) {
    const role = `${o.side === 'bid' ? 'buy' : 'sell'} ${contracts(o.quantity)} YES at ${cents(o.price)}${o.type === 'gtc' ? '' : ` (${o.type})`}`
    lines.push(
      `  #${o.order} ${utcMillis(o.decided).slice(11)} ${o.market} ${role}: ${o.class}`,
      `      ${who} ${contracts(o.live.filled)}${pnlText(o.live.pnl, moneySigned)} · ${shown} ${contracts(o.model.filled)}${pnlText(o.model.pnl, moneySigned)}: ${o.why}`,
    )
  }
  if (!all && differing.length > LINES_MAX)
    lines.push(`  … ${count(differing.length - LINES_MAX)} more with a difference (--all shows every order, --csv writes them)`)
  if (differing.length === 0) lines.push('  no order differs')
  lines.push(
    '',
    csv === undefined
      ? `Next     npx tapeline explain ${session} ${differing[0]?.order ?? data.orders[0]?.order ?? ''}`
      : `Orders   ${csv}`,
  )
  return lines.join('\n')
}

function nearestText(data: DivergeData, w: { percent: (x: number) => string; moneySigned: (x: number) => string }): string {
  const best = data.models.find((m) => m.model === data.nearest)
  if (best === undefined) return ''
  const matched = best.both + best.neither
  const alike = data.models.filter(
    (m) => m !== best && m.contractError === best.contractError && m.pnlError === best.pnlError && m.firstFillError === best.firstFillError,
  )
  if (alike.length > 0 && alike.length === data.models.length - 1)
    return `The models do not differ here (no order of this session hung on a queue): each filled or not as the venue did in ${matched} of ${best.orders} orders, ${best.contractError === null ? 'nobody filled anything' : `${w.percent(best.contractError)} of the contracts differ`}, P&L ${w.moneySigned(best.pnlModel - best.pnlLive)} against the venue`
  const others = data.models
    .filter((m) => m !== best && m.contractError !== null)
    .map((m) => `${m.model} ${w.percent(m.contractError as number)}`)
  return `${best.model} is ${data.models.length > 1 ? 'the nearest' : 'what was asked for'}: filled or not as the venue did in ${matched} of ${best.orders} orders, ${best.contractError === null ? 'nobody filled anything' : `${w.percent(best.contractError)} of the contracts differ`}${others.length === 0 ? '' : ` (${others.join(', ')})`}, P&L ${w.moneySigned(best.pnlModel - best.pnlLive)} against the venue`
}
function pnlText(pnl: number | null, moneySigned: (x: number) => string): string {
  return pnl === null ? ' (value unknown)' : pnl === 0 ? '' : ` (${moneySigned(pnl)})`
}
function duration3(us: number): string {
  return `${(us / 1000).toFixed(1)} ms`
}
function indent(text: string): string {
  return text.replace(/^/gm, '  ')
}

// ---------------------------------------------------------------------------------------------------- the file

async function csvOf({ models }: Compared): Promise<string> {
  const { csv } = await import('../reports/csv.ts')
  const iso = (time: number | null): string => (time === null || !Number.isFinite(time) ? '' : new Date(time / 1000).toISOString())
  const dollars = (money: number | null): string | number => (money === null ? '' : money / 1e6)
  const price = (cost: number, filled: number): string | number => (filled === 0 ? '' : Number((cost / filled / 10_000).toFixed(6)))
  const head = [
    'model',
    'order',
    'market',
    'strategy',
    'yes_side',
    'type',
    'price_dollars',
    'contracts',
    'amends',
    'decided',
    'arrival',
    'arrival_known_by',
    'class',
    'venue_contracts',
    'model_contracts',
    'model_contracts_after',
    'venue_price',
    'model_price',
    'venue_first_fill',
    'model_first_fill',
    'venue_fee_dollars',
    'model_fee_dollars',
    'venue_pnl_dollars',
    'model_pnl_dollars',
    'queue_at_arrival',
    'queue_error',
    'queue_samples',
    'unknown_seconds',
    'venue_end',
    'model_end',
    'why',
  ]
  const rows = models.flatMap(({ summary, lines }) =>
    lines.map((o) => [
      summary.model,
      o.order,
      o.market,
      o.owner,
      o.side === 'bid' ? 'buy' : 'sell',
      o.type,
      o.price / 10_000,
      o.quantity / 100,
      o.amends,
      iso(o.decided),
      iso(o.arrival),
      o.basis ?? '',
      o.class,
      o.live.filled / 100,
      o.model.filled / 100,
      o.modelAfter / 100,
      price(o.live.cost, o.live.filled),
      price(o.model.cost, o.model.filled),
      iso(o.live.firstFill),
      iso(o.model.firstFill),
      dollars(o.live.fees),
      dollars(o.model.fees),
      dollars(o.live.pnl),
      dollars(o.model.pnl),
      o.queueFirst === null ? '' : o.queueFirst / 100,
      o.queueError === null ? '' : o.queueError / 100,
      o.queueSamples,
      o.unknownFor === null ? '' : o.unknownFor / 1e6,
      o.live.end,
      o.model.end,
      o.why,
    ]),
  )
  return csv([head, ...rows])
}
