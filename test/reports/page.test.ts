/** The page as a hostile reader sees it: inert words, no request, bounded size, files that parse. */
import fc from 'fast-check'
import { parseHTML } from 'linkedom'
import { describe, expect, it } from 'vitest'
import type { SessionRecord } from '../../engine/session.ts'
import { csv } from '../../reports/csv.ts'
import { buildReport } from '../../reports/index.ts'
import { marketEnd, START, Story, threeMarkets } from './fixture.ts'

/** RFC 4180, a character at a time: nothing in common with the writer. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]]
  let cell = ''
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i)
    const row = rows[rows.length - 1] as string[]
    if (quoted) {
      if (c !== '"') cell += c
      else if (text.charAt(i + 1) === '"') {
        cell += '"'
        i++
      } else quoted = false
    } else if (c === '"') quoted = true
    else if (c === ',') {
      row.push(cell)
      cell = ''
    } else if (c === '\r' && text.charAt(i + 1) === '\n') {
      row.push(cell)
      cell = ''
      rows.push([])
      i++
    } else cell += c
  }
  ;(rows[rows.length - 1] as string[]).push(cell)
  return rows
}
function files(html: string): Map<string, string[][]> {
  const { document } = parseHTML(html)
  return new Map(
    [...document.querySelectorAll('a[download]')].map((a) => [
      a.getAttribute('download') as string,
      parseCsv(Buffer.from((a.getAttribute('href') as string).split(',')[1] as string, 'base64').toString('utf8')),
    ]),
  )
}

describe('CSV', () => {
  it('goes round through an independent parser, and no cell is a formula', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 5 }),
        (rows) => {
          const back = parseCsv(csv(rows))
          expect(back.length).toBe(rows.length)
          rows.forEach((row, i) =>
            row.forEach((text, k) => {
              const cell = back[i]?.[k] ?? ''
              expect(cell).toBe(/^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text)
              expect(cell).not.toMatch(/^[=+\-@\t\r\n]/)
            }),
          )
        },
      ),
    )
    expect(csv([[Number.NaN, -1.5, '-1.5']])).toBe(",-1.5,'-1.5")
  })
  it('the files of a page hold its trades and fills', () => {
    const all = files(buildReport(threeMarkets()).html)
    expect(all.get('trades.csv')?.[2]?.slice(2, 12)).toEqual(['KXA-1', 'test', 'NO', '4', '0.4', '1', 'settled', '0.04', '2.36', 'because'])
    expect(all.get('fills.csv')?.[3]?.slice(4, 11)).toEqual([
      'sell',
      '0.6',
      '10',
      'taker',
      '0.1',
      'sell YES at 60¢ (6), buy NO at 40¢',
      'because',
    ])
    expect(all.get('fills.csv')?.length).toBe(7)
  })
})

const HOSTILE = [
  '<script>alert(1)</script>',
  '</script><script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</style><svg onload=alert(1)>',
  '=cmd()|calc',
  '&lt;b&gt; &amp;',
  '\u001b[2J\u202e',
  '--><!--',
]

describe('words from outside are inert', () => {
  const plain = parseHTML(buildReport(threeMarkets()).html).document
  const shape = (document: typeof plain): string => [...document.querySelectorAll('*')].map((e) => e.tagName).join(' ')
  it.each(HOSTILE)('%j as title, reason and ticker changes no element of the page', (evil) => {
    const tickers = [`${evil}A`, `${evil}B`, `${evil}C`] as const
    const report = buildReport(threeMarkets({ title: evil, why: evil, tickers }))
    const { document } = parseHTML(report.html)
    expect(shape(document)).toBe(shape(plain))
    for (const e of document.querySelectorAll('*')) for (const name of e.getAttributeNames()) expect(name).not.toMatch(/^on/i)
    expect(report.html.match(/<script/g)?.length).toBe(1)
    // No control character but the line feed.
    expect(Array.from(report.terminal(false)).filter((c) => c < ' ' && c !== '\n')).toEqual([])
    for (const [, rows] of files(report.html)) for (const row of rows) for (const cell of row) expect(/^[=+@\t\r]/.test(cell)).toBe(false)
  })
  it('strategy names, parameters, tapes and reasons of an end too', () => {
    const evil = '</title></style><script>alert(1)</script>'
    const r = threeMarkets()
    const tape = { ...r.header.tape, name: evil, source: evil, manifest: evil }
    const header = { ...r.header, tape, version: evil, strategies: [{ name: evil, parameters: { [evil]: evil } }] }
    const end = { ...r.end, complete: false, reason: evil, refusals: { [evil]: 2 }, rejections: { [evil]: 2 } }
    const { html } = buildReport({ ...r, header, end })
    expect(html.match(/<script/g)?.length).toBe(1)
    expect(html.slice(0, html.indexOf('<body>')).match(/<\/title>/g)?.length).toBe(1)
    expect(html.match(/<\/style>/g)?.length).toBe(1)
  })
})

describe('the page', () => {
  const { html } = buildReport(threeMarkets())
  const { document } = parseHTML(html)
  it('asks for nothing', () => {
    expect(html.match(/\b(?:src|href|action|poster|srcset)\s*=(?!\s*["']?(?:data:text\/csv|#))/i)?.[0]).toBeUndefined()
    expect(html).not.toMatch(/url\(|@import|\bimport\(|fetch\(|XMLHttp|<link|<iframe|<object/i)
    expect(html.replaceAll(/xmlns(?::\w+)?="http:\/\/www\.w3\.org\/[^"]*"/g, '')).not.toMatch(/https?:/)
  })
  it('has a name for every chart and table, and heads for every column', () => {
    for (const svg of document.querySelectorAll('figure svg')) expect(svg.getAttribute('aria-label')?.length).toBeGreaterThan(10)
    for (const f of document.querySelectorAll('figure')) expect(f.querySelector('figcaption')?.textContent?.length).toBeGreaterThan(10)
    for (const t of document.querySelectorAll('table')) {
      expect(t.querySelector('caption')?.textContent).not.toBe('')
      for (const th of t.querySelectorAll('th')) expect(th.getAttribute('scope')).toBe('col')
    }
  })
  it('shows gains and losses by sign, not by color alone', () => {
    for (const e of document.querySelectorAll('.up')) expect(e.textContent).toMatch(/^\+|^\$0\.00$/)
    for (const e of document.querySelectorAll('.down')) expect(e.textContent).toMatch(/^−|^\$0\.00$/)
  })
  it('is the same bytes every time', () => {
    const again = buildReport(threeMarkets())
    expect(again.html === html).toBe(true)
    expect(JSON.stringify(again.summary)).toBe(JSON.stringify(buildReport(threeMarkets()).summary))
  })
  it('says something useful when nothing happened', () => {
    const idle = buildReport(new Story().record([], { marketsTwoSided: 2 }))
    expect(idle.summary.warnings[0]).toBe('No fills: the strategy saw 2 two-sided markets and never asked for anything.')
    expect(idle.html).toContain('Nothing was asked for.')
    const s = new Story()
    s.order(1, 1, 'gtc', 'KXA-1', 'bid', 0.4, 10)
    const unfilled = buildReport(s.record([marketEnd('KXA-1', { orders: 1 })], { signals: 9, refusals: { collar: 8 } }))
    expect(unfilled.summary.warnings[0]).toBe('No fills: 1 order sent and none traded; refusals: collar 8.')
    expect(unfilled.html).not.toMatch(/NaN|Infinity/)
    const none = buildReport(new Story().record([], { firstTime: null, lastTime: null, marketsSeen: 0, marketsTwoSided: 0, rows: 0 }))
    expect(none.terminal(false)).toContain('n/a')
  })
})

describe('a million samples and many thousand fills', () => {
  const n = 1_000_000
  const fills = 6000
  function big(): SessionRecord {
    const s = new Story()
    const names = Array.from({ length: 600 }, (_, i) => `KXVERYLONGSERIESNAME15M-26JUN01${String(i).padStart(5, '0')}-T${i}.99`)
    const busy = names.slice(0, 4)
    for (let i = 0; i < fills; i++) {
      const market = busy[i % 4] as string
      const buy = Math.floor(i / 4) % 2 === 0
      s.order(i, i, 'gtc', market, buy ? 'bid' : 'ask', 0.3 + (i % 37) / 100, 10)
      s.fill(i + 0.5, i, 'maker', market, buy ? 'bid' : 'ask', 0.3 + (i % 37) / 100, 10, 0.01, 'a reason of some length')
    }
    const cash = new Map(busy.map((m) => [m, 0]))
    const { journal: j } = s
    for (let i = 0; i < j.length; i++)
      if (j.kind[i] === 4) {
        const m = s.strings.at(j.market[i] as number)
        cash.set(
          m,
          (cash.get(m) ?? 0) + (j.side[i] === 0 ? -1 : 1) * (j.price[i] as number) * (j.quantity[i] as number) - (j.a[i] as number),
        )
      }
    const time = Float64Array.from({ length: n }, (_, i) => START + i * 6000)
    const wild = Float64Array.from({ length: n }, (_, i) => 10_000_000_000 + ((i * 7919) % 100_003) * 1000)
    const zero = new Float64Array(n)
    const number = s.strings.all.map((x) => busy.indexOf(x))
    const of = busy.map((b) => number.indexOf(busy.indexOf(b)))
    const record = s.record(
      names.map((t) =>
        marketEnd(
          t,
          cash.has(t)
            ? {
                orders: fills / 4,
                fills: fills / 4,
                filled: (fills / 4) * 1000,
                fees: (fills / 4) * 10_000,
                pnl: cash.get(t) ?? 0,
                result: 'yes',
                settlementValue: 10_000,
              }
            : { orders: 1 },
        ),
      ),
      { lastTime: START + n * 6000 },
    )
    return {
      ...record,
      equity: {
        length: n,
        time,
        cash: zero,
        locked: zero,
        liquidation: wild,
        mid: wild,
        low: wild,
        high: wild,
        fees: wild,
        drawdown: zero,
        exposure: wild,
      },
      touches: {
        length: n,
        time,
        market: Int32Array.from({ length: n }, (_, i) => of[i % 4] as number),
        bid: Int32Array.from({ length: n }, (_, i) => 3000 + (((i >> 2) * 13) % 40) * 50),
        bidQuantity: zero,
        ask: Int32Array.from({ length: n }, (_, i) => 5100 + (((i >> 2) * 17) % 40) * 50),
        askQuantity: zero,
      },
    }
  }
  it('stay under a megabyte, and say what was left out', () => {
    const { html } = buildReport(big())
    expect(Buffer.byteLength(html)).toBeLessThan(950_000)
    expect(html).toMatch(/The first 300 of 6,000 fills are shown/)
    expect(html).toMatch(/of 1,500 fills are drawn/)
    expect(html).toMatch(/best and 150 worst of 600 markets/)
  })
})
