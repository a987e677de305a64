/** `tapeline demo`: the main job, offline, in under a minute: a practice tape, a market maker and mean reversion on it, their reports. */
import { existsSync } from 'node:fs'
import type { CommandModule } from 'yargs'
import { runBacktest } from './backtest.ts'
import { EXIT } from './exit.ts'
import { count, present, progress, tableText } from './output.ts'

const TAPE = 'tapes/practice-demo'

export const demoCommand: CommandModule<object, { json: boolean }> = {
  command: 'demo',
  describe: 'Make a practice tape, backtest two strategies on it, print where the reports are',
  builder: (y) => y.option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' }) as never,
  handler: ({ json }) =>
    present('demo', json, async () => {
      const say = (text: string): void => void (json || process.stderr.write(`${text}\n`))
      const { openTape } = await import('../data/tape-reader.ts')
      if (!existsSync(TAPE)) {
        say(`Making a practice tape in ${TAPE} (seed 7, 48 markets, 2 days) …`)
        const { makePracticeTape } = await import('../adapters/practice/practice-tape.ts')
        const bar = await progress('practice', json)
        await makePracticeTape(TAPE, {
          seed: 7,
          markets: 48,
          days: 2,
          rate: 20,
          progress: (done, total, rows) => bar.update(done, total, `${count(rows)} rows`),
        })
        bar.end()
      } else say(`Using the practice tape in ${TAPE}`)
      const { manifest } = await openTape(TAPE)
      const results = []
      for (const strategy of ['lean', 'mean-reversion']) {
        say(`Backtesting ${strategy} over ${count(manifest.rows)} rows …`)
        const outcome = await runBacktest({
          tape: TAPE,
          strategy: [strategy],
          param: undefined,
          market: undefined,
          series: undefined,
          from: undefined,
          to: undefined,
          warmup: undefined,
          fills: undefined,
          delay: undefined,
          seed: 1,
          cash: '10000',
          limits: undefined,
          out: undefined,
          json: true,
        })
        if (outcome.exit !== undefined && outcome.exit !== EXIT.ok)
          return { data: null, exit: outcome.exit, ...(outcome.error === undefined ? {} : { error: outcome.error }) }
        results.push({ ...outcome.data, strategy })
      }
      const share = (x: number | null): string => (x === null ? 'n/a' : `${(x * 100).toFixed(1)}%`)
      const table = tableText(
        ['strategy', 'net $', 'fees $', 'win rate', 'fill rate', 'orders', 'fills', 'drawdown $'],
        results.map((r) => [
          r.strategy,
          Number(r.netDollars).toFixed(2),
          Number(r.feesDollars).toFixed(2),
          share(r.winRate),
          share(r.fillRate),
          count(r.orders),
          count(r.fills),
          Number(r.drawdownDollars).toFixed(2),
        ]),
      )
      const first = results[0]
      return {
        data: results,
        text: `
PRACTICE DATA: made by a seeded population of agents, not recorded from an exchange

${table}

Reports
${results.map((r) => `  ${r.strategy.padEnd(16)}${r.report}`).join('\n')}

Next
  npx tapeline report open ${first?.run ?? ''}
  npx tapeline data stats ${TAPE}
  npx tapeline backtest --tape ${TAPE} --strategy lean --fills strict --param size=5
`,
      }
    }),
}
