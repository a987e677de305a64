/** Runs an engine over rows in memory and keeps everything it wrote, as plain text lines and numbers. */
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { Engine } from '../../engine/engine.ts'
import { JOURNAL_KIND_NAMES, JournalKind, type JournalTable, type Strings } from '../../engine/journal.ts'
import type { Batch } from '../../engine/message.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import type { FillModelName, SessionEnd, SessionHeader } from '../../engine/session.ts'
import type { Strategy } from '../../engine/strategy.ts'

export type Line = {
  time: number
  kind: string
  market: string
  owner: string
  order: number
  side: number
  price: number
  quantity: number
  what: string
  why: string
  value: number
  a: number
  b: number
}
export type Result = {
  readonly lines: Line[]
  readonly text: string[]
  readonly samples: string[]
  readonly end: SessionEnd
  readonly fills: Line[]
}

export function header(more: Partial<SessionHeader> = {}): SessionHeader {
  return {
    schema: 'tapeline.session/1',
    mode: 'backtest',
    version: '0.0.0',
    node: 'v20',
    tape: {
      name: 'test',
      manifest: '',
      source: 'test',
      practice: false,
      depth: 'book',
      rows: 0,
      markets: 0,
      from: 0,
      to: 0,
      lagMax: 30_000,
      gaps: 0,
      inFlux: 0,
      coverage: null,
      labels: 'true',
      remarks: [],
    },
    strategies: [],
    cash: 10_000_000_000,
    limits: LIMITS_DEFAULT,
    fills: 'queue',
    delays: { place: 50_000, cancel: 50_000, amend: 50_000, answer: 30_000 },
    rate: { perSecond: 100, capacity: 100 },
    seed: 1,
    selection: { markets: null, series: null, from: null, to: null, warmup: 0 },
    ...more,
  }
}

/** A number among the batches is time that passes without a row. */
export function runSession(
  batches: Iterable<Batch | number>,
  strategies: readonly Strategy[],
  more: Partial<SessionHeader> = {},
  fills: FillModelName = 'queue',
): Result {
  const h = header({ fills, ...more })
  const lines: Line[] = []
  const samples: string[] = []
  const engine = new Engine({
    header: h,
    strategies,
    venue: new SimulatedVenue(h.fills, h.delays, h.tape.lagMax),
    sink: {
      journal(t: JournalTable, s: Strings) {
        for (let i = 0; i < t.length; i++) {
          lines.push({
            time: t.time[i] as number,
            kind: JOURNAL_KIND_NAMES[t.kind[i] as number] as string,
            market: s.at(t.market[i] as number),
            owner: s.at(t.owner[i] as number),
            order: t.order[i] as number,
            side: t.side[i] as number,
            price: t.price[i] as number,
            quantity: t.quantity[i] as number,
            what: s.at(t.what[i] as number),
            why: s.at(t.why[i] as number),
            value: t.value[i] as number,
            a: t.a[i] as number,
            b: t.b[i] as number,
          })
        }
      },
      touches(t, s) {
        for (let i = 0; i < t.length; i++)
          samples.push(`touch ${t.time[i]} ${s.at(t.market[i] as number)} ${t.bid[i]} ${t.bidQuantity[i]} ${t.ask[i]} ${t.askQuantity[i]}`)
      },
      equity(t) {
        for (let i = 0; i < t.length; i++)
          samples.push(`equity ${t.time[i]} ${t.cash[i]} ${t.liquidation[i]} ${t.low[i]} ${t.high[i]} ${t.drawdown[i]} ${t.exposure[i]}`)
      },
      markouts(t) {
        for (let i = 0; i < t.length; i++) samples.push(`markout ${t.fill[i]} ${t.horizon[i]} ${t.mid2[i]} ${t.settled[i]}`)
      },
    },
  })
  for (const batch of batches) {
    if (typeof batch === 'number') engine.tick(batch)
    else engine.run(batch)
  }
  const end = engine.finish('end of tape', true)
  return {
    lines,
    text: lines.map((l) => Object.values(l).join(' ')),
    samples,
    end,
    fills: lines.filter((l) => l.kind === JOURNAL_KIND_NAMES[JournalKind.FILL]),
  }
}
