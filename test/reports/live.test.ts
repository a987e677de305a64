import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseHTML } from 'linkedom'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { heldBy } from '../../cli/live/held-by.ts'
import { liveParts } from '../../cli/live/report-parts.ts'
import type { SessionRecord } from '../../engine/session.ts'
import { buildReport } from '../../reports/index.ts'
import { delaysIn, outcomesOf, quantilesOf, unknownsOf } from '../../reports/live/delays.ts'
import { liveFacts, type LiveInput } from '../../reports/live/facts.ts'
import { ledgerProblems } from '../../reports/live/ledger.ts'
import type { LiveParts } from '../../reports/live/parts.ts'
import { stateSpans } from '../../reports/live/spans.ts'
import { remedyOf } from '../../reports/remedies.ts'
import { liveSession } from '../support/live-session.ts'
import { paperSession } from '../support/paper-session.ts'
import { folder, removeFolders } from '../support/tapes.ts'

/** The report of a live session, and the facts behind it. */
const dir = folder()
afterAll(removeFolders)
const at = (name: string): string => join(dir, name)
const browser = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => existsSync(p))

let time = 0
const input = (kind: string, detail: object): LiveInput => ({ row: 0, time: (time += 1_000), kind, detail })
let command = 0
const intent = (order: number, kind = 'create', attempt = 1) =>
  input('intent', {
    kind,
    command: attempt > 1 ? command : command++,
    attempt,
    order,
    client: kind === 'create' ? `c-${order}` : undefined,
  })
const outcome = (order: number, word: string, ms: readonly [number, number | null, number], type = 'create', reason = '', made = -1) =>
  input('outcome', {
    order,
    type,
    attempt: 1,
    outcome: word,
    status: null,
    reason,
    made: made * 1_000,
    synced: ms[0] * 1_000,
    sent: ms[1] === null ? null : ms[1] * 1_000,
    answered: ms[2] * 1_000,
  })

describe('the facts of a live session', () => {
  it('pairs each write with its outcome, and an unknown one with what ended it', () => {
    time = 0
    const facts = liveFacts([
      intent(0),
      outcome(0, 'acknowledged', [2, 3, 23]),
      input('news', { type: 'accepted', order: 0, timeVenue: 13_000, remaining: 100, id: 'v0' }),
      intent(0, 'amend'),
      outcome(0, 'unknown', [5, 6, 0], 'amend'),
      input('news', { type: 'no-answer', order: 0, timeVenue: 0, reason: 'timeout' }),
      input('news', { type: 'fill', order: 0, timeVenue: 1, price: 1, quantity: 1, fee: 0, maker: true, trade: 'a' }),
      intent(1),
      outcome(1, 'rejected', [9, null, 9], 'create', 'gate:killed'),
      intent(2),
      outcome(2, 'unknown', [11, 12, 0]),
      input('news', { type: 'no-answer', order: 2, timeVenue: 0, reason: 'HTTP 502' }),
      intent(0, 'cancel'),
      outcome(0, 'unknown', [14, 15, 99], 'cancel'),
      intent(0, 'cancel', 2),
      outcome(0, 'acknowledged', [14, 15, 40], 'cancel'),
      input('queue', { order: 0, ahead: 300, predicted: null }),
      input('something-new', {}),
    ])
    expect(facts.writes.map((w) => [w.order, w.type, w.outcome, w.venue, w.repeats])).toEqual([
      [0, 'submit', 'acknowledged', 13_000, 0],
      [0, 'amend', 'unknown', null, 0],
      [1, 'submit', 'not-sent', null, 0],
      [2, 'submit', 'unknown', null, 0],
      [0, 'cancel', 'acknowledged', null, 1],
    ])
    expect(facts.writes[1]?.unknown).toEqual({ since: 6_000, until: 7_000, how: 'fill' })
    expect(unknownsOf(facts)).toMatchObject({ writes: 2, unresolved: 1, ends: [{ how: 'fill', count: 1 }] })
    // Sent is what left: 4 of 5; acknowledged 2 of them.
    expect(outcomesOf(facts)[0]).toMatchObject({ type: 'all', intents: 5, sent: 4, acknowledged: 2, unknown: 2, notSent: 1, success: 0.5 })
    // Bytes to answer: 20 and 25 ms; the unknown ones have no part.
    expect(quantilesOf(delaysIn(facts.writes, 'answered'))).toEqual({ n: 2, p50: 25_000, p90: 25_000, p99: 25_000, max: 25_000 })
    expect(facts.queues).toEqual([{ time: 17_000, order: 0, ahead: 300, predicted: null }])
  })
})

describe('an incident', () => {
  it('is one, from when it began to when it was over, though it was written down twice', () => {
    time = 0
    const incident = (scope: string | null, since: number, until: number | null) =>
      input('incident', { class: 'woken', action: 'resync', scope, since, cause: '33 s', until })
    const { incidents } = liveFacts([
      incident(null, 900, null),
      incident('T', 1_900, null),
      incident(null, 900, 2_990),
      incident(null, 3_900, null),
      incident(null, 3_900, 4_990),
    ])
    expect(incidents.map((i) => [i.market, i.time, i.until])).toEqual([
      [null, 900, 2_990],
      ['T', 1_900, null],
      [null, 3_900, 4_990],
    ])
  })
})

describe('an outcome', () => {
  it('is that of the write that it names, whatever was written down in between', () => {
    time = 0
    const facts = liveFacts([
      intent(0, 'amend'),
      intent(0, 'amend'),
      outcome(0, 'acknowledged', [1, 1, 30], 'amend', '', 0.9),
      intent(0, 'amend'),
      // The second one's was lost with a process; this is of the third.
      outcome(0, 'rejected', [4, 4, 50], 'amend', 'not_found', 3.9),
    ])
    expect(facts.writes.map((w) => [w.decided, w.outcome, w.answered])).toEqual([
      [1_000, 'acknowledged', 30_000],
      [2_000, null, null],
      [4_000, 'rejected', 50_000],
    ])
  })
})

describe('the report of a live session', () => {
  let record: SessionRecord
  let parts: LiveParts
  beforeAll(async () => {
    await makePracticeTape(at('source'), { seed: 5, markets: 3, days: 1, rate: 12 })
    record = (
      await liveSession(at('live'), at('source'), {
        seed: 2,
        lost: 0.05,
        neverArrived: 0.04,
        notSent: 0.04,
        refused: 0.04,
        foreign: true,
        dieAt: 6000,
      })
    ).record as SessionRecord
    await paperSession(at('paper'), at('source'))
    parts = (await liveParts(at('live'), record, { paper: null, fills: null, decode: 'thread' })) as LiveParts
  }, 120_000)

  it('stands beside the backtest of its own tape under the nearest model, and the paper session over the same time', () => {
    const { summary, html } = buildReport(record, parts)
    const { live } = summary
    expect(live?.sideBySide.columns.map((c) => [c.name, c.missing])).toEqual([
      ['backtest', false],
      ['paper', false],
      ['live', false],
    ])
    expect(live?.sideBySide.columns[0]?.note).toMatch(/under the fill model queue, the nearest to what happened,/)
    expect(live?.sideBySide.columns[1]?.note).toMatch(/the paper session paper, over \d+ % of the time/)
    const row = (id: string) => live?.sideBySide.rows.find((r) => r.id === id)?.cells
    expect(row('net')?.[2]?.value).toBe(record.end.equity - record.header.cash)
    expect(row('orders')?.[2]?.value).toBe(record.end.orders)
    // Order success, counted by hand.
    const outcomes = parts.inputs.filter((i) => i.kind === 'outcome').map((i) => (i.detail as { outcome: string }).outcome)
    const sent = outcomes.filter((o) => o !== 'not-sent').length
    expect(row('success')?.[2]?.value).toBeCloseTo(outcomes.filter((o) => o === 'acknowledged').length / sent, 12)
    expect(live?.unknowns.writes).toBe(
      new Set(parts.inputs.filter((i) => i.kind === 'news' && (i.detail as { type: string }).type === 'no-answer')).size,
    )
    expect(live?.unknowns.unresolved).toBe(0)
    expect(live?.outside).toEqual({ fills: 1, contracts: 300, fees: 5_300 })
    expect(live?.segments).toHaveLength(2)
    expect(live?.incidents[0]).toMatchObject({ class: 'foreign-fill', lasted: expect.any(Number) })
    expect(summary.warnings.slice(0, 4).join('\n')).toMatch(
      /1 fill of the account \(3 contracts\) was made by nobody of this session[\s\S]*went on 1 time/,
    )
    const { document } = parseHTML(html)
    const headings = [...document.querySelectorAll('h2,h3')].map((h) => h.textContent)
    for (const h of [
      'Backtest, paper and live',
      'Between decision and answer',
      'Unknown outcomes',
      'Incidents',
      'Operator',
      'Agreement with the exchange',
      'Fills that no strategy made',
    ])
      expect(headings).toContain(h)
    expect(html.length).toBeLessThan(1_000_000)
    const read = html.slice(0, html.lastIndexOf('<script>'))
    expect(/NaN|undefined|\[object/.exec(read)?.[0] ?? null).toBeNull()
    expect(buildReport(record, parts).html).toBe(html)
    // Of others than live sessions there is nothing of it.
    expect(buildReport(record).html).not.toContain('Backtest, paper and live')
  })

  it('says why a column is missing, and lets no word from outside be more than text', async () => {
    const hostile = '<img src=x onerror=alert(1)>'
    const { html, summary } = buildReport(record, {
      inputs: [
        ...parts.inputs,
        {
          row: 0,
          time: record.end.lastTime ?? 0,
          kind: 'incident',
          detail: { class: hostile, action: hostile, reason: hostile, ticker: hostile },
        },
        {
          row: 0,
          time: record.end.lastTime ?? 0,
          kind: 'reconciled',
          detail: { verdict: hostile, differences: [{ what: hostile, ours: { a: hostile }, theirs: null, more: hostile }, hostile] },
        },
      ],
      backtest: { missing: hostile },
      paper: { missing: 'none was run' },
      models: { missing: hostile },
    })
    expect(html).not.toContain('<img')
    expect(html).toContain('&lt;img')
    expect(summary.warnings.join('\n')).toMatch(/There is no paper column: none was run\./)
    const away = await liveParts(at('live'), record, { paper: at('paper'), fills: 'strict', decode: 'thread' })
    expect(away?.backtest).toMatchObject({ note: expect.stringMatching(/fill model strict with the delays/) })
    await expect(liveParts(at('live'), record, { paper: at('live'), fills: null, decode: 'thread' })).rejects.toThrow(
      /that is a live session; give a paper session/,
    )
  })

  it('names the trouble that held the session instead of what the refusal alone would mean', () => {
    const span = stateSpans(record).find((s) => s.state === 'syncing' && s.to - s.from >= 1_000_000)
    const [from, to] = [span?.from ?? Number.NaN, span?.to ?? Number.NaN]
    const incident = (until: number | null, name = 'watch-silent', action = 'pause') => ({
      row: 0,
      time: from,
      kind: 'incident',
      detail: { class: name, action, scope: null, since: from, cause: '', until },
    })
    const { header } = record
    expect(heldBy(record, [incident(null), incident(to)])('syncing', header)).toMatchObject({
      meaning: expect.stringMatching(/^the session was held for .* by watch-silent: no watch is alive.*, from 20.* to 20.* UTC$/),
      change: 'start `tapeline watch`',
    })
    for (const others of [[], [incident(from)], [incident(null, 'private-stream-lost', 'retry')]])
      expect(heldBy(record, others)('syncing', header)).toEqual(remedyOf('syncing', header))
  })

  it('knows when the books do not add up', () => {
    const facts = liveFacts(parts.inputs)
    expect(ledgerProblems(record, facts, true)).toEqual([])
    const { end } = record
    expect(ledgerProblems({ ...record, end: { ...end, fees: end.fees + 1 } }, facts, true)[0]).toMatch(/does not add up/)
    expect(ledgerProblems(record, { ...facts, trades: facts.trades.slice(1) }, true)).toEqual([
      expect.stringMatching(/the journal has a fill that the venue never told/),
    ])
    expect(
      ledgerProblems(
        record,
        { ...facts, trades: [...facts.trades, { ...facts.trades[0], trade: 'more' } as (typeof facts.trades)[number]] },
        true,
      ),
    ).toEqual([expect.stringMatching(/the venue told \d+ trades of ours and the journal has \d+ fills/)])
  })

  it.skipIf(browser === undefined)('fits wide and narrow screens in light and dark (skipped where no Chromium is installed)', async () => {
    const page = at('report.html')
    writeFileSync(page, buildReport(record, parts).html)
    const app = await chromium.launch({ executablePath: browser as string, args: ['--no-sandbox'] })
    try {
      for (const [width, colorScheme] of [
        [1280, 'light'],
        [390, 'dark'],
      ] as const) {
        const context = await app.newContext({ viewport: { width, height: 900 }, colorScheme })
        const tab = await context.newPage()
        const asked: string[] = []
        tab.on('request', (r) => asked.push(r.url()))
        await tab.goto(pathToFileURL(page).href)
        expect(asked).toHaveLength(1)
        expect(await tab.evaluate('document.documentElement.scrollWidth - innerWidth')).toBe(0)
        await context.close()
      }
    } finally {
      await app.close()
    }
  })
})
