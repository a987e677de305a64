// %% [markdown]
// # The book around a fill
//
// **Hypothesis.** A resting order is filled when the market comes to it. If those who take from us know something, the mid moves against us in
// the seconds after, and the edge at the fill is not what is kept.
//
// **Method.** One order of one run, looked at closely: its life as the journal tells it, the book some seconds before and after its fill, the
// queue in front of it; then the markout of all resting fills of the run, which is the same question asked as often as the data allow.

// %%
import {
  backtest,
  bookAt,
  cents,
  contracts,
  decimal,
  explainOrder,
  openTape,
  parameter,
  plot,
  Plot,
  practiceTape,
  readRun,
  show,
  sql,
  utcAxis,
  utcMillis,
} from './kit.ts'

// Your own with --param tape=… (and --param run=… for a run over it that is there already).
const folder = parameter('tape', '') || (await practiceTape({ seed: 7, markets: 16, days: 1, rate: 15 }))
const runFolder = parameter('run', '')
const run = runFolder === '' ? await backtest({ tape: folder, strategy: 'lean' }) : await readRun(runFolder)
const tape = await openTape(folder)

// %% [markdown]
// ## Which order
//
// Of the resting orders that filled, the one that waited longest between its acceptance and its first fill: the queue matters most to it.
// `--param order=17` takes another.

// %%
const chosen = parameter('order', -1)
const orders = await sql(
  `SELECT o."order", o.market, o.strategy, o.side, o.price_dollars, o.filled_contracts, o.amends,
     epoch_ms(o.first_fill) - epoch_ms(o.accepted) AS waited_ms
   FROM orders o WHERE o.type = 'gtc' AND o.fills > 0 AND ($chosen < 0 OR o."order" = $chosen)
   ORDER BY waited_ms DESC, o."order" LIMIT 5`,
  { run: run.folder, params: { chosen } },
)
const order = Number(orders[0]?.['order'] ?? -1)
const story = explainOrder(run.record, order)
if (story === null) throw new Error('the run has no resting order with a fill: choose another run or order')
show(orders)

// %%
show(story.headline)
show(
  story.events.map((e) => ({
    time: utcMillis(e.time).slice(11),
    'after, s': Number(((e.time - story.decided) / 1e6).toFixed(3)),
    what: e.kind,
    told: e.text,
  })),
)
show(story.outcome)

// %% [markdown]
// ## The book, before and after
//
// Ten seconds on either side of the first fill, the whole book every half second as the tape had it. Darker is more contracts at a price;
// the line is the price of our order, the dotted line the moment of the fill at the exchange.

// %%
const [fill] = await sql(
  `SELECT epoch_us(time_venue) AS venue, epoch_us(time) AS heard, price, side FROM fills WHERE "order" = $order ORDER BY fill LIMIT 1`,
  { run: run.folder, params: { order } },
)
const at = Number(fill?.['venue'])
const price = Number(fill?.['price'])
const side = String(fill?.['side'])
const SPAN = 10e6
const STEP = 500_000
const frames = []
for (let t = at - SPAN; t < at + SPAN; t += STEP) if (t > tape.manifest.from) frames.push(await bookAt(tape, story.order.market, t, 12))
// One tick of the grid hereabouts: the least distance between two prices of the book.
const known = [...new Set(frames.flatMap((f) => [...f.bids, ...f.asks].map((l) => l.price)))].sort((a, b) => a - b)
const tick = Math.min(100, ...known.slice(1).map((p, k) => p - (known[k] ?? p)))
const levels = frames.flatMap((f) =>
  [...f.bids.map((l) => ({ ...l, side: 'bid' })), ...f.asks.map((l) => ({ ...l, side: 'ask' }))]
    .filter((l) => Math.abs(l.price - price) <= 12 * tick)
    .map((l) => ({ ...l, from: new Date(f.time / 1000), to: new Date((f.time + STEP) / 1000) })),
)
const most = Math.max(1, ...levels.map((l) => l.quantity))
plot(
  {
    height: 380,
    x: utcAxis(at - SPAN, at + SPAN),
    y: { label: 'YES price, ¢', grid: true },
    marks: [
      Plot.rect(levels, {
        x1: 'from',
        x2: 'to',
        y1: (l: { price: number }) => (l.price - 0.45 * tick) / 100,
        y2: (l: { price: number }) => (l.price + 0.45 * tick) / 100,
        fill: (l: { side: string }) => (l.side === 'bid' ? 'var(--c1)' : 'var(--c2)'),
        fillOpacity: (l: { quantity: number }) => 0.12 + 0.8 * Math.sqrt(l.quantity / most),
      }),
      Plot.ruleY([price / 100], { stroke: 'var(--ink)', strokeWidth: 1.5 }),
      Plot.ruleX([new Date(at / 1000)], { stroke: 'var(--ink)', strokeDasharray: '2 4' }),
    ],
  },
  `Bids below (first color) and asks above (second color) in ${story.order.market}; our order at ${cents(price)}.`,
)

// %% [markdown]
// ## The queue
//
// What the book displayed at our price and on our side: other people's contracts. Under the `queue` model our order waits behind
// those that stood there when it arrived; trades at the price advance it, cancels do not. When the level falls to nothing and the best price
// moves through ours, those who were behind us are gone too: then the fill was the end of the level, and the mid has moved.

// %%
const queue = frames.map((f) => ({
  time: new Date(f.time / 1000),
  seconds: Math.round((f.time - at) / 1e5) / 10,
  quantity: ((side === 'bid' ? f.bids : f.asks).find((l) => l.price === price)?.quantity ?? 0) / 100,
  best: (side === 'bid' ? f.bids : f.asks)[0]?.price ?? Number.NaN,
}))
show(
  plot(
    {
      height: 200,
      x: { label: 'seconds from the fill', labelArrow: 'none', grid: true },
      y: { label: 'contracts at our price', grid: true, nice: true, zero: true },
      marks: [
        Plot.areaY(queue, { x: 'seconds', y: 'quantity', fill: 'var(--c1)', fillOpacity: 0.25, curve: 'step-after' }),
        Plot.line(queue, { x: 'seconds', y: 'quantity', stroke: 'var(--c1)', strokeWidth: 1.8, curve: 'step-after' }),
        Plot.ruleX([0], { stroke: 'var(--ink)', strokeDasharray: '2 4' }),
      ],
    },
    `Displayed at ${cents(price)} on the ${side} side, by others.`,
  ),
)
const before = queue.filter((q) => q.seconds < 0).at(-1)
const after = queue.find((q) => q.seconds > 0)
const standing = (q: typeof before): string =>
  q === undefined
    ? 'unknown'
    : `${contracts(q.quantity * 100)} contracts at our price, best ${side} ${Number.isNaN(q.best) ? 'none' : cents(q.best)}`
show(`Half a second before: ${standing(before)}. Half a second after: ${standing(after)}.`)

// %% [markdown]
// ## The markout of all resting fills
//
// The move of the mid from our price, in our favor when above zero, in cents a contract and before fees: at the fill, and at each horizon
// after it. One order is an anecdote; this is the answer. The band is the mean ± 1.96 standard errors over fills. Fills of one
// market move together, so the truth is wider.

// %%
const markouts = await sql(
  `SELECT m.horizon / 1e6 AS seconds, count(*) AS n, avg(100 * markout_dollars) AS mean,
     1.96 * stddev_samp(100 * markout_dollars) / sqrt(count(*)) AS half
   FROM markouts m JOIN fills f USING (fill)
   WHERE f.role = 'maker' AND markout_dollars IS NOT NULL AND m.horizon <= 300000000 GROUP BY 1 ORDER BY 1`,
  { run: run.folder },
)
const curve = markouts.map((m) => ({
  horizon: m['seconds'] === 0 ? 'fill' : `${String(m['seconds'])} s`,
  n: Number(m['n']),
  mean: Number(m['mean']),
  low: Number(m['mean']) - Number(m['half'] ?? 0),
  high: Number(m['mean']) + Number(m['half'] ?? 0),
}))
show(
  curve.map((c) => ({
    after: c.horizon,
    fills: c.n,
    'mean, ¢': Number(c.mean.toFixed(3)),
    '95 %': `${decimal(c.low, 2)} … ${decimal(c.high, 2)}`,
  })),
)
plot(
  {
    x: { label: 'after the fill', labelArrow: 'none', domain: curve.map((c) => c.horizon), type: 'point' },
    y: { label: '¢ a contract', grid: true, nice: true },
    marks: [
      Plot.ruleY([0], { stroke: 'var(--soft)' }),
      Plot.areaY(curve, { x: 'horizon', y1: 'low', y2: 'high', fill: 'var(--c1)', fillOpacity: 0.18 }),
      Plot.line(curve, { x: 'horizon', y: 'mean', stroke: 'var(--c1)', strokeWidth: 2 }),
      Plot.dot(curve, { x: 'horizon', y: 'mean', fill: 'var(--c1)', r: 3 }),
    ],
  },
  'Markout of resting fills with its 95 % band.',
)

// %% [markdown]
// ## Limits
//
// - The queue is a model: the feed says how much stands at a price, not in which order. `--fills strict` and `--fills touch` bound it from
//   both sides.
// - The order shown was chosen for its long wait, so it is not typical. Only the last chart speaks for the run.
// - On a practice tape the population has no knowledge of the outcome beyond its own price process: adverse selection there is that of its making.
