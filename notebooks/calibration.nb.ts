// %% [markdown]
// # Are prices probabilities?
//
// **Hypothesis.** A contract that trades at 30 ¢ pays a dollar three times in ten. If cheap contracts pay less often than they cost, and dear
// ones more often, there is a favorite–longshot bias; if prices sharpen towards the close, the score improves with time.
//
// **Method.** Trades and results only, so it works on any tape, with books or without. One price a market and lead time: that of the
// last trade before the close minus the lead. Counting every trade would let one busy market speak for hundreds. Prices are put into
// buckets of ten cents; in each, the share of markets that resolved YES with its Wilson interval; then the Brier score and what it is made of.

// %%
import { openTape, parameter, plot, Plot, practiceTape, show, sql, wilson } from './kit.ts'

const folder = parameter('tape', '') || (await practiceTape({ seed: 11, markets: 96, days: 1, rate: 6 }))
const { manifest } = await openTape(folder)
const data = manifest.practice
  ? `PRACTICE DATA. The tape ${manifest.name} was made by a seeded population of agents: what follows shows the method, and says nothing about the exchange.`
  : `The tape ${manifest.name}: ${manifest.source}.`
show(data)

// %% [markdown]
// ## What there is
//
// Only markets with a result (YES or NO) and a close time can be scored. Lead times are shares of the median life of a market on the tape, so
// that fifteen-minute markets and markets of a month are both looked at in their own time.

// %%
const [facts] = await sql(
  `WITH traded AS (SELECT market, min(time) AS first, count(*) AS trades FROM messages WHERE kind = 'trade' GROUP BY market)
   SELECT count(*) AS markets, count(*) FILTER (result IN ('yes', 'no')) AS resolved, sum(t.trades) AS trades,
     count(DISTINCT event) FILTER (result IN ('yes', 'no')) AS events,
     median(epoch(close_time) - epoch(coalesce(open_time, t.first))) FILTER (result IN ('yes', 'no')) AS life
   FROM markets JOIN traded t USING (market)`,
  { tape: folder },
)
if (facts === undefined || Number(facts['resolved']) === 0)
  throw new Error('no market of the tape has both trades and a result: bring results in with `tapeline data import results`')
const life = Number(facts['life'])
show([{ ...facts, life: `${(life / 60).toFixed(1)} min (median)` }])
const nice = (seconds: number): string =>
  seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(0)} h`
const leads = [0.8, 0.5, 0.25, 0.1, 0.02].map((share) => Math.max(1, Math.round(life * share)))

// %% [markdown]
// ## One price for each market and lead
//
// `f` is the price as a probability, `o` the outcome (1 for YES). A market that had not traded yet at a lead has no row there.

// %%
const rows = (
  await Promise.all(
    leads.map((lead) =>
      sql(
        `SELECT m.market, m.event, arg_max(t.price, t.time) / 10000.0 AS f, any_value(CASE m.result WHEN 'yes' THEN 1 ELSE 0 END) AS o
         FROM messages t JOIN markets m USING (market)
         WHERE t.kind = 'trade' AND m.result IN ('yes', 'no') AND epoch(t.time) <= epoch(m.close_time) - $lead
         GROUP BY m.market, m.event ORDER BY m.market`,
        { tape: folder, params: { lead } },
      ).then((found) => found.map((r) => ({ lead, market: String(r['market']), f: Number(r['f']), o: Number(r['o']) }))),
    ),
  )
).flat()
show(
  leads.map((lead) => {
    const of = rows.filter((r) => r.lead === lead)
    return {
      'before the close': nice(lead),
      markets: of.length,
      'resolved YES': of.filter((r) => r.o === 1).length,
      'mean price, ¢': of.length === 0 ? null : Number(((100 * of.reduce((a, r) => a + r.f, 0)) / of.length).toFixed(1)),
    }
  }),
)

// %% [markdown]
// ## Prices and outcomes
//
// At the middle lead. `paid` is the share that resolved YES; the interval is Wilson's at 95 %, which holds for few observations as well. A
// bucket whose interval does not reach its mean price would be news; with ten buckets, one in two tapes shows one by chance.

// %%
type Row = (typeof rows)[number]
const BUCKETS = 10
const bucketsOf = (of: readonly Row[]) =>
  Array.from({ length: BUCKETS }, (_, k) => {
    const inside = of.filter((r) => Math.min(BUCKETS - 1, Math.floor(r.f * BUCKETS)) === k)
    const n = inside.length
    const paid = inside.filter((r) => r.o === 1).length
    const [low, high] = n === 0 ? [Number.NaN, Number.NaN] : wilson(paid, n)
    return {
      bucket: `${k * 10}–${(k + 1) * 10} ¢`,
      n,
      price: n === 0 ? Number.NaN : inside.reduce((a, r) => a + r.f, 0) / n,
      paid: paid / n,
      low,
      high,
      inside,
    }
  }).filter((b) => b.n > 0)
const middle = leads[2] as number
const buckets = bucketsOf(rows.filter((r) => r.lead === middle))
show(
  buckets.map((b) => ({
    bucket: b.bucket,
    markets: b.n,
    'mean price': Number(b.price.toFixed(3)),
    paid: Number(b.paid.toFixed(3)),
    '95 %': `${b.low.toFixed(2)} … ${b.high.toFixed(2)}`,
    'price inside': b.price >= b.low && b.price <= b.high ? 'yes' : 'no',
  })),
)
plot(
  {
    width: 560,
    height: 480,
    marginLeft: 60,
    r: { range: [0, 11] },
    x: { label: 'price', labelArrow: 'none', domain: [0, 1], grid: true },
    y: { label: 'share resolved YES', domain: [0, 1], grid: true },
    marks: [
      Plot.line(
        [
          [0, 0],
          [1, 1],
        ],
        { stroke: 'var(--soft)', strokeDasharray: '4 4' },
      ),
      Plot.ruleX(buckets, { x: 'price', y1: 'low', y2: 'high', stroke: 'var(--c1)', strokeWidth: 1.6 }),
      Plot.dot(buckets, { x: 'price', y: 'paid', r: 'n', fill: 'var(--c1)', fillOpacity: 0.75 }),
    ],
  },
  `Reliability ${nice(middle)} before the close: on the dashed line prices are probabilities. Bars: Wilson 95 %; the area of a dot grows with its number of markets.`,
)

// %% [markdown]
// ## The Brier score and what it is made of
//
// The mean of (f − o)²: 0 is perfect, 0.25 is a coin. Murphy's decomposition splits it over the buckets: **reliability** (how far prices are
// from what was paid; less is better), **resolution** (how far the buckets are from the average outcome; more is better) and **uncertainty**
// (what the outcomes are like; nobody's merit). Score = reliability − resolution + uncertainty, but for what prices vary inside a bucket,
// which is shown. **Skill** is 1 − score ÷ uncertainty: what is won over always saying the average. Below 50 markets nothing is reckoned.

// %%
const LEAST = 50
const scoreOf = (of: readonly Row[]) => {
  const n = of.length
  const mean = of.reduce((a, r) => a + r.o, 0) / n
  const uncertainty = mean * (1 - mean)
  if (n < LEAST || uncertainty === 0) return null
  const brier = of.reduce((a, r) => a + (r.f - r.o) ** 2, 0) / n
  const parts = bucketsOf(of)
  const reliability = parts.reduce((a, b) => a + (b.n / n) * (b.price - b.paid) ** 2, 0)
  const resolution = parts.reduce((a, b) => a + (b.n / n) * (b.paid - mean) ** 2, 0)
  return {
    n,
    brier,
    reliability,
    resolution,
    uncertainty,
    residual: brier - (reliability - resolution + uncertainty),
    skill: 1 - brier / uncertainty,
  }
}
const scores = leads.map((lead) => ({ lead, score: scoreOf(rows.filter((r) => r.lead === lead)) }))
const digits = (x: number): number => Number(x.toFixed(4))
show(
  scores.map(({ lead, score }) =>
    score === null
      ? {
          'before the close': nice(lead),
          markets: rows.filter((r) => r.lead === lead).length,
          score: `n/a (fewer than ${LEAST} markets, or outcomes all alike)`,
        }
      : {
          'before the close': nice(lead),
          markets: score.n,
          score: digits(score.brier),
          reliability: digits(score.reliability),
          resolution: digits(score.resolution),
          uncertainty: digits(score.uncertainty),
          'inside buckets': digits(score.residual),
          skill: digits(score.skill),
        },
  ),
)
const known = scores.flatMap(({ lead, score }) => (score === null ? [] : [{ lead: nice(lead), ...score }]))
if (known.length > 0)
  show(
    plot(
      {
        height: 230,
        x: { label: 'before the close', labelArrow: 'none', type: 'point', domain: leads.map(nice) },
        y: { label: 'Brier score', grid: true, zero: true, nice: true },
        marks: [
          Plot.line(known, { x: 'lead', y: 'uncertainty', stroke: 'var(--soft)', strokeDasharray: '4 3' }),
          Plot.line(known, { x: 'lead', y: 'brier', stroke: 'var(--c1)', strokeWidth: 2 }),
          Plot.dot(known, { x: 'lead', y: 'brier', fill: 'var(--c1)', r: 3 }),
        ],
      },
      'The score by time to close; dashed: the score of always saying the average outcome.',
    ),
  )

// %% [markdown]
// ## Limits
//
// - A last trade may be old and stands at the bid or the ask: in a wide market the price is half a spread away from what people think. Quotes
//   are better where the tape has them.
// - Markets of one event, or of one hour of one underlying, win and lose together: the intervals treat them as independent and are too
//   narrow then.
// - A calibrated price is not an unbeatable one, and a bucket that is off is no trade before fees: 7 % of P × (1 − P) is 1.75 ¢ at 50 ¢.
// - The last lead is close to the outcome. Beating it there is arithmetic, not foresight.
