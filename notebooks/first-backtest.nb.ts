// %% [markdown]
// # A first backtest
//
// **Hypothesis.** A market maker who quotes both sides and leans away from what it holds earns a part of the spread, as long as the
// others trade for reasons of their own. It loses to those who know where the price goes.
//
// **Method.** One strategy of this repository, `lean`, over one tape: the engine sees each row when it was learned, the strategy says what
// it wants to have at the venue, and every command takes its delay before it meets the book. Then the same again with other delays, and
// with a strategy that takes instead of making, to see what fees do.

// %%
import { backtest, count, money, parameter, plot, Plot, practiceTape, show, sql, utcAxis } from './kit.ts'

// Your own tape with --param tape=…; without it, a practice tape.
const tape = parameter('tape', '') || (await practiceTape({ seed: 7, markets: 16, days: 1, rate: 15 }))

// %% [markdown]
// ## What the tape holds
//
// Rows by kind. A `delta` is a change of one price level; a `trade` is a print. Nothing on this page uses what was known only
// afterwards: results enter when the tape says that they were determined.

// %%
await sql('SELECT kind, count(*) AS rows, count(DISTINCT market) AS markets FROM messages GROUP BY kind ORDER BY rows DESC', { tape })

// %% [markdown]
// ## The run
//
// The funnel first: it says how much of what was wished came to a fill, and where the rest was lost. Then the figures of the report that
// matter most, each with the number of observations it rests on. A figure that the data cannot carry says so.

// %%
const size = parameter('size', 10)
const maker = await backtest({ tape, strategy: 'lean', parameters: { size } })
show(maker.funnel.verdict)
maker.figures(['net', 'gross', 'fees', 'winRate', 'breakEven', 'fillRate', 'markout', 'sharpe'])

// %% [markdown]
// Equity over the run, open positions marked where they could be closed. Steps at settlements are outcomes, not skill: a handful of markets
// decides the line, which is why the interval of the net profit above is wide.

// %%
const equity = await sql('SELECT time, liquidation_dollars AS equity FROM equity ORDER BY time', { run: maker.folder })
const { firstTime, lastTime } = maker.record.end
plot(
  {
    x: utcAxis(firstTime ?? 0, lastTime ?? 0),
    y: { label: 'equity, $', grid: true, nice: true, tickFormat: (y: number) => y.toLocaleString('en-US') },
    marks: [Plot.line(equity, { x: 'time', y: 'equity', stroke: 'var(--c1)', strokeWidth: 1.8, curve: 'step-after' })],
  },
  'Equity of the session, dollars.',
)

// %% [markdown]
// ## What fees do
//
// `lean` rests and meets takers: on series without maker fees it pays nothing. `mean-reversion` takes, and pays on every contract. The
// same tape, side by side: gross is before fees, net after.

// %%
const taker = await backtest({ tape, strategy: 'mean-reversion' })
const value = (run: typeof maker, id: string): number => run.metric(id).value ?? Number.NaN
const sides = [maker, taker].map((run) => ({
  strategy: run.record.header.strategies[0]?.name ?? '',
  gross: value(run, 'gross') / 1e6,
  fees: -value(run, 'fees') / 1e6,
  net: value(run, 'net') / 1e6,
}))
show(sides.map((s) => ({ strategy: s.strategy, 'gross, $': s.gross, 'fees, $': s.fees, 'net, $': s.net })))
plot(
  {
    height: 200,
    marginRight: 110,
    x: { label: '$', grid: true, nice: true, labelArrow: 'none' },
    y: { label: null, domain: ['gross', 'fees', 'net'] },
    fy: { label: null },
    marks: [
      Plot.barX(
        sides.flatMap((s) => (['gross', 'fees', 'net'] as const).map((step) => ({ strategy: s.strategy, step, dollars: s[step] }))),
        {
          x: 'dollars',
          y: 'step',
          fy: 'strategy',
          fill: (d: { dollars: number }) => (d.dollars < 0 ? 'var(--bad)' : 'var(--good)'),
          insetTop: 2,
          insetBottom: 2,
        },
      ),
      Plot.ruleX([0], { stroke: 'var(--soft)' }),
    ],
  },
  `Gross profit, fees and net profit. The taker paid ${money(value(taker, 'fees'))} on ${count(value(taker, 'fills'))} fills.`,
)

// %% [markdown]
// ## What delay does
//
// No delay is zero: an order acts when it arrives. A slower maker is met by those who saw the price move first; a slower taker finds
// less of what it saw. Here all delays of a command (place, cancel, amend) are the same, the answer takes half of it.

// %%
const delays = [20, 50, 100, 250, 500, 1000]
const rows: { delay: number; strategy: string; net: number; fillRate: number | null; markout: number | null; fills: number }[] = []
for (const strategy of ['lean', 'mean-reversion'])
  for (const delay of delays) {
    const run = await backtest({
      tape,
      strategy,
      ...(strategy === 'lean' ? { parameters: { size } } : {}),
      delay: `place=${delay}ms,cancel=${delay}ms,amend=${delay}ms,answer=${delay / 2}ms`,
    })
    rows.push({
      delay,
      strategy,
      net: value(run, 'net') / 1e6,
      fillRate: run.metric('fillRate').value,
      markout: run.metric('markout').value,
      fills: run.record.end.fills,
    })
  }
show(
  rows.map((r) => ({
    strategy: r.strategy,
    'delay, ms': r.delay,
    'net, $': Number(r.net.toFixed(2)),
    'orders with a fill': r.fillRate === null ? 'n/a' : `${(r.fillRate * 100).toFixed(1)} %`,
    'markout after a minute, ¢': r.markout === null ? null : Number(r.markout.toFixed(2)),
    fills: r.fills,
  })),
)
plot(
  {
    marginRight: 110,
    x: { type: 'log', label: 'delay, ms', labelArrow: 'none', domain: [15, 1300], ticks: delays, tickFormat: (x: number) => String(x) },
    y: { label: 'net P&L, $', grid: true, nice: true },
    color: { domain: ['lean', 'mean-reversion'], range: ['var(--c1)', 'var(--c2)'] },
    marks: [
      Plot.ruleY([0], { stroke: 'var(--soft)' }),
      Plot.line(rows, { x: 'delay', y: 'net', stroke: 'strategy', strokeWidth: 1.8 }),
      Plot.dot(rows, { x: 'delay', y: 'net', fill: 'strategy', r: 3 }),
      Plot.text(
        rows.filter((r) => r.delay === 1000),
        { x: 'delay', y: 'net', text: 'strategy', textAnchor: 'start', dx: 8, fill: 'var(--ink)' },
      ),
    ],
  },
  'Net profit against the delay of every command.',
)

// %% [markdown]
// ## Limits
//
// - A dozen and a half markets of fifteen minutes are a dozen and a half outcomes. Differences of a few dollars between delays are mostly the
//   luck of who held what when a market closed; read the markout, which does not wait for the outcome, before the profit.
// - On a practice tape nobody reacts to our orders, and the population has no news: what is true here says nothing about the exchange.
// - Six delays and two strategies are twelve trials. The best of twelve is not evidence.
//
// The same over your own recording: `npx tapeline notebook run notebooks/first-backtest.nb.ts --param tape=tapes/btc`.
