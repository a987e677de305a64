/**
 * `tapeline explain`: why a run did what it did. Owns what the words behind the run mean (an order, a market, a moment) and the text; hides the
 * reading, which is in reports/. Invariant: what is not in the record is answered by what is nearby.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandModule } from 'yargs'
import type { BookAt } from '../data/book-at.ts'
import type { Tape } from '../data/tape-reader.ts'
import { DataError } from '../data/errors.ts'
import type { SessionRecord } from '../engine/session.ts'
import type { funnelOf as FunnelOf } from '../reports/funnel.ts'
import type { TraderEvent } from '../reports/journal-words.ts'
import { once } from './backtest.ts'
import { suggest, UsageError } from './exit.ts'
import { count, present, tableText, type Outcome } from './output.ts'

export type ExplainArguments = { run: string; what: string | undefined; tape: string | undefined; window: string; json: boolean }

export const explainCommand: CommandModule<object, ExplainArguments> = {
  command: 'explain <run> [what]',
  describe: 'Why a run did what it did: the funnel, one order, one market, or one moment',
  builder: (y) =>
    y
      .positional('run', { type: 'string', demandOption: true, describe: 'Folder of the run' })
      .positional('what', {
        type: 'string',
        describe: 'An order (17), a market (KX…), or a moment (KX…@2026-05-13T13:45:00Z, KX…@13:45:00)',
      })
      .option('tape', { type: 'string', requiresArg: true, describe: 'Folder of the tape (default: where the run found it)' })
      .option('window', { type: 'string', default: '5s', requiresArg: true, describe: 'How far around a moment to look' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
      .check((argv) => once(argv))
      .example('$0 explain runs/lean-btc-1a2b3c4d', 'from rows to fills')
      .example('$0 explain runs/lean-btc-1a2b3c4d 17', 'the life of order 17') as never,
  handler: (argv) => present('explain', argv.json, () => explain(argv)),
}

async function explain({ run, what, tape, window, json }: ExplainArguments): Promise<Outcome<unknown>> {
  const { readRun } = await import('../data/run.ts')
  const record = await readRun(run)
  const place = await tapeOf(run, record, tape)
  if (what === undefined) return funnel(record, run)
  if (/^#?\d+$/.test(what)) return order(record, Number(what.replace('#', '')), run, place, json)
  const at = what.indexOf('@')
  if (at < 0) return timeline(record, await marketIn(record, what, place), run)
  const { parseDuration } = await import('./options.ts')
  const market = await marketIn(record, what.slice(0, at), place)
  return moment(record, market, what.slice(at + 1), parseDuration(window, '--window'), place, json)
}

// ---------------------------------------------------------------------------------------------------- the tape

type Place = { readonly tape: Tape | null; readonly note: string | null }

/** The tape of the run, if it is where it was; one that was named must be the right one. */
async function tapeOf(run: string, record: SessionRecord, named: string | undefined): Promise<Place> {
  const { readPlace } = await import('../data/run.ts')
  // A session has its tape with it, wherever it was moved to.
  const own = join(run, 'tape')
  const path = named ?? (existsSync(join(own, 'manifest.json')) ? own : ((await readPlace(run))?.tape ?? null))
  if (path === null) return { tape: null, note: 'the run does not say where its tape is: give --tape to see the book' }
  if (named === undefined && !existsSync(join(path, 'manifest.json')))
    return { tape: null, note: `the tape is not at ${path} any more: give --tape to see the book` }
  const { openTape } = await import('../data/tape-reader.ts')
  const { describeFile } = await import('../data/tape-writer.ts')
  const manifest = (await describeFile(path, 'manifest.json', 0).catch(() => null))?.sha256
  if (path !== own && manifest !== record.header.tape.manifest) {
    if (named === undefined) return { tape: null, note: `the tape at ${path} has changed since the run: its book is not shown` }
    if (manifest !== undefined)
      throw new DataError(
        'TAPE_MISMATCH',
        `--tape ${path} is not the tape of this run (${record.header.tape.name}, manifest ${record.header.tape.manifest.slice(0, 12)}): give the one that it ran over`,
      )
  }
  return { tape: await openTape(path), note: null }
}

async function bookOf({ tape, note }: Place, record: SessionRecord, market: string, time: number): Promise<BookAt | string> {
  if (record.header.tape.depth !== 'book')
    return `not applicable (${record.header.tape.depth === 'prints' ? 'trades-only' : 'best-prices'} tape)`
  if (tape === null) return note ?? 'no tape'
  if (time < tape.manifest.from || time > tape.manifest.to) return 'the tape has no row at that time'
  const { bookAt } = await import('../data/book-at.ts')
  return await bookAt(tape, market, time, 5)
}

async function bookText(book: BookAt | string): Promise<string> {
  if (typeof book === 'string') return `  ${book}`
  const { cents, contracts } = await words()
  const side = (levels: BookAt['bids']): string =>
    levels.length === 0 ? 'nobody' : levels.map((l) => `${cents(l.price)} × ${contracts(l.quantity)}`).join('  ')
  return `  asks  ${side(book.asks)}\n  bids  ${side(book.bids)}\n  ${book.status}, ${book.synced ? 'in sync' : 'out of sync'}`
}

const words = (): Promise<typeof import('../reports/words.ts')> => import('../reports/words.ts')

// ---------------------------------------------------------------------------------------------------- the funnel

async function remediesOf(record: SessionRecord, run: string): Promise<Parameters<typeof FunnelOf>[1]> {
  if (record.header.mode !== 'live') return undefined
  const { heldBy } = await import('./live/held-by.ts')
  const { readInputs } = await import('../data/session-inputs.ts')
  return heldBy(record, await readInputs(run))
}

async function funnel(record: SessionRecord, run: string): Promise<Outcome<unknown>> {
  const { funnelOf } = await import('../reports/funnel.ts')
  const f = funnelOf(record, await remediesOf(record, run))
  const share = (x: number | null): string => (x === null ? '' : `${(x * 100).toFixed(1)}%`)
  const lines = [
    titleOf(record),
    '',
    tableText(
      ['step', 'count', 'of', 'lost', 'most of the loss'],
      f.steps.map((s) =>
        s.notApplicable === null
          ? [s.label, count(s.count), s.of === null ? '' : count(s.of), share(s.share), clip(s.why ?? '', 96)]
          : [s.label, '', '', '', s.notApplicable],
      ),
    ),
  ]
  if (f.signals.length > 0)
    lines.push(
      '',
      `Wishes by strategy and label${f.pulls > 0 ? ` (and ${count(f.pulls)} pulls of quotes)` : ''}`,
      indent(
        tableText(
          ['strategy', 'kind', 'label', 'wishes', 'sent', 'refused', 'replaced'],
          f.signals.slice(0, 20).map((s) => [s.strategy, s.kind, s.label, ...[s.wishes, s.sent, s.refused, s.replaced].map(count)]),
        ),
      ),
    )
  if (f.gates.length > 0)
    lines.push(
      '',
      'Refused by risk, in the order in which it asks (a wish counts for its last refusal)',
      indent(
        tableText(
          ['gate', 'refusals', 'wishes', 'limit', 'what would change it'],
          f.gates.map((g) => [g.reason, count(g.times), count(g.wishes), g.limit, g.change]),
        ),
      ),
    )
  const list = (title: string, rows: readonly { reason: string; count: number }[]): void => {
    if (rows.length > 0) lines.push('', `${title}: ${rows.map((r) => `${r.reason} ${count(r.count)}`).join(', ')}`)
  }
  list('Commands', f.commands)
  const gate = (r: { readonly reason: string }): boolean => r.reason.startsWith('gate:')
  list('Kept back by the gate', f.rejections.filter(gate))
  list(
    'Rejected by the venue',
    f.rejections.filter((r) => !gate(r)),
  )
  list('Orders without a fill', f.orderEnds)
  lines.push('', f.verdict)
  const some = record.journal.order.subarray(0, record.journal.length).find((o) => o >= 0)
  if (some !== undefined) lines.push('', `Next     npx tapeline explain ${run} ${some}`)
  return { data: { what: 'funnel', run, ...f }, text: lines.map(plain).join('\n') }
}

// ---------------------------------------------------------------------------------------------------- one order

async function order(record: SessionRecord, id: number, run: string, place: Place, json: boolean): Promise<Outcome<unknown>> {
  const { explainOrder } = await import('../reports/explain.ts')
  const { readInputs } = await import('../data/session-inputs.ts')
  const { liveFacts } = await import('../reports/live/facts.ts')
  const story = explainOrder(record, id, record.header.mode === 'live' ? liveFacts(await readInputs(run)) : null)
  if (story === null) {
    const { orders } = record.end
    throw new DataError(
      'ORDER_UNKNOWN',
      orders === 0
        ? `order ${id} is not in the run: no order was sent (\`tapeline explain <run>\` says why)`
        : `order ${id} is not in the run: it has orders 0 to ${orders - 1}`,
    )
  }
  const book = await bookOf(place, record, story.order.market, story.decided)
  const data = { what: 'order', ...story, book: typeof book === 'string' ? null : book, bookNote: typeof book === 'string' ? book : null }
  if (json) return { data }
  const { utc, utcMillis } = await words()
  const text = [
    titleOf(record),
    story.headline,
    `decided ${utcMillis(story.decided)} UTC`,
    ...(story.live === null
      ? []
      : [
          `sent as ${story.live.client ?? '(nothing was written down: it never left)'}${story.live.venue === null ? '' : `, at the venue ${story.live.venue}`}`,
        ]),
    '',
    ...eventLines(story.events, story.decided, record.header.strategies.length > 1),
    '',
    `The book at the decision (${utc(story.decided).slice(11)})`,
    await bookText(book),
    '',
    story.outcome,
  ]
  return { data, text: text.map(plain).join('\n') }
}

const EVENTS_MAX = 60
/** Times of a list as people read them: with the day where it spans more than one. */
function clockOf(from: number, to: number): (time: number) => string {
  const day = (t: number): string => new Date(t / 1000).toISOString().slice(0, 10)
  const start = day(from) === day(to) ? 11 : 5
  return (time) => new Date(time / 1000).toISOString().slice(start, 23).replace('T', ' ')
}
/** `around`: when there are too many, those nearest to `from` are kept; else the first and the last. */
function eventLines(events: readonly TraderEvent[], from: number, owners: boolean, around = false): string[] {
  const when = clockOf(events[0]?.time ?? from, events.at(-1)?.time ?? from)
  const line = (e: TraderEvent): string => {
    const clock = when(e.time)
    const apart = (e.time - from) / 1e6
    const who = owners && e.owner !== '' ? `[${e.owner}] ` : ''
    return `  ${clock}  ${`${apart < 0 ? '−' : '+'}${Math.abs(apart).toFixed(3)} s`.padStart(11)}  ${e.kind.padEnd(8)}  ${e.order === null ? '' : `#${e.order} `}${who}${e.text}`
  }
  if (events.length <= EVENTS_MAX) return events.map(line)
  const more = (n: number): string[] => (n === 0 ? [] : [`  … ${count(n)} more (--json has them all) …`])
  const half = EVENTS_MAX / 2
  if (!around) return [...events.slice(0, half).map(line), ...more(events.length - EVENTS_MAX), ...events.slice(-half).map(line)]
  const next = events.findIndex((e) => e.time > from)
  const start = Math.min(Math.max(0, (next < 0 ? events.length : next) - half), events.length - EVENTS_MAX)
  return [...more(start), ...events.slice(start, start + EVENTS_MAX).map(line), ...more(events.length - EVENTS_MAX - start)]
}

// ---------------------------------------------------------------------------------------------------- one moment

async function moment(
  record: SessionRecord,
  market: string,
  clock: string,
  window: number,
  place: Place,
  json: boolean,
): Promise<Outcome<unknown>> {
  const { explainMoment, spanOf } = await import('../reports/moment.ts')
  const span = spanOf(record, market) as readonly [number, number]
  const time = await timeIn(record, market, clock, span)
  const { utc, utcMillis, cents, contracts, money } = await words()
  if (time < (record.end.firstTime ?? 0) - window || time > (record.end.lastTime ?? 0) + window)
    throw new DataError(
      'MOMENT_UNKNOWN',
      `${utc(time)} is outside the run, which goes from ${utc(record.end.firstTime)} to ${utc(record.end.lastTime)} UTC; ${market} has rows from ${utc(span[0])} to ${utc(span[1])}`,
    )
  const m = explainMoment(record, market, time, window)
  const book = await bookOf(place, record, market, time)
  const data = { what: 'moment', ...m, book: typeof book === 'string' ? null : book, bookNote: typeof book === 'string' ? book : null }
  if (json) return { data }
  const { touchText } = await import('../reports/explain.ts')
  const state: [string, string][] = [
    ['touch', m.touch === null ? 'nothing sampled yet (touches are kept from the first order in a market)' : touchText(m.touch, time)],
    [
      'position',
      m.positions.length === 0
        ? 'flat'
        : m.positions.map((p) => `${p.position > 0 ? 'YES' : 'NO'} ${contracts(Math.abs(p.position))} (${p.owner})`).join(', '),
    ],
    [
      'orders',
      m.working.length === 0
        ? 'none'
        : m.working
            .map(
              (o) =>
                `#${o.order} ${o.side === 'bid' ? 'buy' : 'sell'} YES at ${cents(o.price)} × ${contracts(o.left)} (${o.owner}${o.state === 'working' ? '' : `, ${o.state}`})`,
            )
            .join(', '),
    ],
    [
      'cash',
      `${money(m.cash)} free, equity ${money(m.equity)}${m.equityTime === null ? ' (nothing had changed)' : ` (sampled ${utc(m.equityTime).slice(11)})`}`,
    ],
    ['status', `${m.status ?? 'no change written before'}; ${m.sync ?? 'no loss of sync written before'}`],
  ]
  const near = m.events.length > 0 ? [] : [`  nothing within ${window / 1e6} s; ${await nearest(record, market, time)}`]
  const text = [
    titleOf(record),
    `${market} at ${utcMillis(time)} UTC`,
    '',
    ...state.map(([k, v]) => `  ${k.padEnd(9)} ${v}`),
    '',
    'The book then',
    await bookText(book),
    '',
    `Within ${window / 1e6} s`,
    ...eventLines(m.events, time, record.header.strategies.length > 1, true),
    ...near,
  ]
  return { data, text: text.map(plain).join('\n') }
}

/** What is next to a moment at which nothing happened. */
async function nearest({ journal: j, strings }: SessionRecord, market: string, time: number): Promise<string> {
  const { utcMillis } = await words()
  const id = strings.indexOf(market)
  let before = -1
  let after = -1
  for (let i = 0; i < j.length; i++) {
    if (j.market[i] !== id) continue
    if ((j.time[i] as number) <= time) before = i
    else if (after < 0) after = i
  }
  const at = (i: number): string => utcMillis(j.time[i] as number)
  return (
    [before < 0 ? '' : `the row before is at ${at(before)}`, after < 0 ? '' : `the next at ${at(after)}`]
      .filter((t) => t !== '')
      .join(', ') || 'the journal has no row of it'
  )
}

/** `2026-05-13T13:45:00Z`, or a clock time that means one moment of the market. */
async function timeIn(record: SessionRecord, market: string, text: string, span: readonly [number, number]): Promise<number> {
  const { parseInstant } = await import('./options.ts')
  if (!/^\d{1,2}:\d\d(:\d\d(\.\d+)?)?$/.test(text)) {
    const t = parseInstant(text, `${market}@`)
    return t as number
  }
  const DAY = 86_400e6
  const [hours = 0, minutes = 0, seconds = 0] = text.split(':').map(Number)
  if (hours > 23 || minutes > 59 || seconds >= 60) throw new UsageError(`${market}@${text}: not a time of day; write 13:45:00 (UTC)`)
  const clock = Math.round((hours * 3600 + minutes * 60 + seconds) * 1e6)
  const within = (from: number, to: number): number[] => {
    const out: number[] = []
    for (let day = Math.floor(from / DAY); day <= Math.floor(to / DAY); day++) {
      const t = day * DAY + clock
      if (t >= from - 60e6 && t <= to + 60e6) out.push(t)
    }
    return out
  }
  const own = within(...span)
  const wide = own.length > 0 ? own : within(record.end.firstTime ?? span[0], record.end.lastTime ?? span[1])
  const { utc } = await words()
  if (wide.length === 1) return wide[0] as number
  if (wide.length === 0)
    throw new DataError(
      'MOMENT_UNKNOWN',
      `${text} is not within the run, which goes from ${utc(record.end.firstTime)} to ${utc(record.end.lastTime)} UTC; ${market} has rows from ${utc(span[0])} to ${utc(span[1])}`,
    )
  throw new UsageError(
    `${market}@${text}: that time comes ${wide.length} times in the run; write one of ${wide
      .slice(0, 3)
      .map((t) => `${market}@${utc(t).replace(' ', 'T')}Z`)
      .join(', ')}${wide.length > 3 ? ', …' : ''}`,
  )
}

// ---------------------------------------------------------------------------------------------------- one market

/** A ticker that the record knows. */
async function marketIn(record: SessionRecord, name: string, { tape }: Place): Promise<string> {
  const { marketsOf } = await import('../reports/moment.ts')
  const known = marketsOf(record)
  if (known.includes(name)) return name
  const parts = known.filter((k) => k.toLowerCase().includes(name.toLowerCase()))
  if (parts.length === 1 && name.length >= 4) return parts[0] as string
  const near = parts.length > 0 ? parts.slice(0, 3).join(', ') : (suggest(name, known) ?? known.slice(0, 3).join(', '))
  const onTape = tape !== null && (await tape.markets()).some((m) => m.ticker === name)
  throw new DataError(
    'MARKET_UNKNOWN',
    onTape
      ? `the run never asked for anything in ${name}, so its record has nothing of it: \`tapeline data book ${name}\` shows the tape`
      : `${name} is not a market of this run${known.length === 0 ? ', which asked for nothing anywhere' : ` (it has ${near}${known.length > 3 ? ', …' : ''})`}`,
  )
}

const ORDERS_MAX = 40
async function timeline(record: SessionRecord, market: string, run: string): Promise<Outcome<unknown>> {
  const { explainMarket } = await import('../reports/moment.ts')
  const t = explainMarket(record, market)
  if (t === null) throw new DataError('MARKET_UNKNOWN', `the record has nothing of ${market}`)
  const { cents, contracts, episodeText, money, moneySigned, utc, plural, reason } = await words()
  const { endInWords, rejectionInWords } = await import('../reports/remedies.ts')
  const { end, orders } = t
  const at = clockOf(t.span[0], t.span[1])
  const ended = (o: (typeof orders)[number]): string =>
    o.state === 'canceled' ? endInWords(o.reason) : o.state === 'rejected' ? rejectionInWords(o.reason) : o.state
  const lines = [
    titleOf(record),
    `${market}${end === null ? '' : `: ${end.title}`}`,
    '',
    `  rows      ${utc(t.span[0])} to ${utc(t.span[1])} UTC`,
    `  asked     ${plural(t.signals, 'signal')}, refused ${t.refusals.length === 0 ? 'never' : t.refusals.map((r) => `${r.reason} (${plural(r.rows, 'row')})`).join(', ')}`,
    ...(end === null
      ? ['  orders    none']
      : [
          `  orders    ${plural(end.orders, 'order')}, ${plural(end.fills, 'fill')}, ${plural(end.filled / 100, 'contract')}, fees ${money(end.fees)}`,
          `  result    ${end.result === null ? 'not determined on this tape' : end.result.toUpperCase()}; net ${moneySigned(end.pnl)}${end.position === 0 ? '' : `, ${end.position > 0 ? 'YES' : 'NO'} ${contracts(Math.abs(end.position))} held at the end`}`,
        ]),
  ]
  if (t.states.length > 0) lines.push('', 'States', ...t.states.slice(0, 20).map((e) => `  ${at(e.time)}  ${e.text}`))
  if (orders.length > 0)
    lines.push(
      '',
      orders.length > ORDERS_MAX ? `Orders (the first ${ORDERS_MAX} of ${count(orders.length)}; --json has them all)` : 'Orders',
      indent(
        tableText(
          ['order', 'sent', 'strategy', 'to', 'size', 'amends', 'filled', 'ended', 'how', 'why'],
          orders
            .slice(0, ORDERS_MAX)
            .map((o) => [
              `#${o.order}`,
              at(o.sent),
              o.owner,
              `${o.side === 'bid' ? 'buy' : 'sell'} YES at ${cents(o.price)}`,
              contracts(o.quantity),
              count(o.amends),
              contracts(o.filled),
              o.ended === null ? '' : at(o.ended),
              clip(ended(o), 48),
              reason(o.why, o.value),
            ]),
        ),
      ),
    )
  if (t.episodes.length > 0)
    lines.push('', 'Trades', ...t.episodes.slice(0, ORDERS_MAX).map((e) => `  ${at(e.opened)}  ${episodeText(e)}  ${moneySigned(e.pnl)}`))
  if (orders[0] !== undefined)
    lines.push('', `Next     npx tapeline explain ${run} ${orders.find((o) => o.fills > 0)?.order ?? orders[0].order}`)
  return { data: { what: 'market', run, ...t }, text: lines.map(plain).join('\n') }
}

function titleOf({ header, end }: SessionRecord): string {
  return `${header.strategies.map((s) => s.name).join(' + ')} on ${header.tape.name} · ${header.mode === 'live' ? 'live' : `${header.fills} fills`}${end.complete ? '' : ` · PARTIAL (${end.reason})`}${header.tape.practice ? ' · practice data' : ''}`
}
function indent(text: string): string {
  return text
    .split('\n')
    .map((l) => `  ${l}`)
    .join('\n')
}
function clip(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`
}
/** Text from outside may hold codes that move a terminal's cursor; our own line breaks stay. */
function plain(text: string): string {
  return text.replaceAll(/(?!\n)\p{Cc}/gu, ' ')
}
