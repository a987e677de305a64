/**
 * `tapeline promote gates|status|request`: how far a strategy may go, and why. Owns the command lines and the words; hides how evidence is read and judged. Invariants: `status` changes nothing; a request that
 * lacks one gate writes nothing; before a record is written, every run that it rests on is read whole and shown to be what its digest and its numbers say.
 */
import { userInfo } from 'node:os'
import type { Argv, CommandModule } from 'yargs'
import type { SessionHeader } from '../engine/session.ts'
import { configOptions } from './config-command.ts'
import { EXIT, UsageError } from './exit.ts'
import { present, tableText, type Outcome } from './output.ts'
import type { Evidence } from './promote/evidence.ts'
import type { Identity } from './promote/identity.ts'
import type { Gate } from './promote/judge.ts'
import type { Promotion } from './promote/record.ts'
import type { Level } from './promote/thresholds.ts'

type GatesArguments = { gates?: string; json: boolean }
type StatusArguments = GatesArguments & {
  strategy: string[]
  param?: string[]
  runs?: string
  sessions?: string
  config?: string
  profile?: string
}
type ShownArguments = StatusArguments & { all: boolean }
type RequestArguments = StatusArguments & { level?: Level; by?: string; dryRun: boolean }

const STEPS = ['paper', 'demo', 'canary', 'live'] as const
const FOR: Readonly<Record<Level, string>> = {
  backtest: 'backtests',
  paper: 'paper sessions, and real orders at a local exchange',
  demo: 'real orders at the demo exchange',
  canary: 'real money under the caps of a canary',
  live: 'real money',
}

const gatesCommand: CommandModule<object, GatesArguments> = {
  command: 'gates',
  describe: 'The thresholds that hold here, as a gates.yaml',
  builder: (y) => gatesOption(y) as never,
  handler: ({ gates, json }) =>
    present('promote gates', json, async () => {
      const { readThresholds, thresholdsText } = await import('./promote/thresholds.ts')
      const { thresholds, file } = readThresholds(gates)
      return { data: { file, thresholds }, text: thresholdsText(thresholds) }
    }),
}

const statusCommand: CommandModule<object, ShownArguments> = {
  command: 'status <strategy..>',
  describe: 'What a strategy has proved, gate by gate, and what it lacks for the next step',
  builder: (y) =>
    strategyOptions(y).option('all', { type: 'boolean', default: false, describe: 'Every gate, beyond the next step too' }) as never,
  handler: (argv) =>
    present('promote status', argv.json, async () => {
      const found = await look(argv)
      const { promotion, warnings } = await standing(found)
      return {
        data: dataOf(found, promotion),
        warnings: [...warnings, ...found.evidence.unread],
        text: statusText(found, promotion, argv.all),
      }
    }),
}

const requestCommand: CommandModule<object, RequestArguments> = {
  command: 'request <strategy..>',
  describe:
    'Promote a strategy one step, or as far as --level: a signed-off record when every gate is passed, exit 5 with those that are not',
  builder: (y) =>
    strategyOptions(y)
      .option('level', { choices: STEPS, requiresArg: true, describe: 'How far (default: the step after the one it has)' })
      .option('by', { type: 'string', requiresArg: true, describe: 'Who signs it off (default: your name on this machine)' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Say what would be written, and write nothing' }) as never,
  handler: (argv) => present('promote request', argv.json, () => request(argv)),
}

export const promoteCommand: CommandModule = {
  command: 'promote',
  describe: 'How far a strategy may go: what it has proved, and a record that lets it go further',
  builder: (y) =>
    y.command(statusCommand).command(requestCommand).command(gatesCommand).demandCommand(1, 'Give one of: status, request, gates').strict(),
  handler: () => {},
}

function gatesOption(y: Argv): Argv {
  return y
    .option('gates', { type: 'string', requiresArg: true, describe: 'File of thresholds (default: gates.yaml here, if there is one)' })
    .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
}
function strategyOptions(y: Argv): Argv {
  return configOptions(gatesOption(y))
    .positional('strategy', {
      type: 'string',
      array: true,
      demandOption: true,
      describe: 'Name of a strategy, or the path of its file; several are proved together',
    })
    .option('param', { type: 'string', array: true, requiresArg: true, describe: 'Parameter, k=v' })
    .option('runs', { type: 'string', requiresArg: true, describe: 'Folder of backtests (default: as in tapeline.yaml)' })
    .option('sessions', { type: 'string', requiresArg: true, describe: 'Folder of sessions and promotions (default: as in tapeline.yaml)' })
    .check((argv) => {
      for (const name of ['gates', 'runs', 'sessions', 'level', 'by'])
        if (Array.isArray(argv[name])) throw new Error(`--${name} was given ${argv[name].length} times: give it once`)
      return true
    })
}

type Found = {
  readonly identity: Identity
  readonly evidence: Evidence
  readonly gates: readonly Gate[]
  readonly level: Level
  readonly file: string | null
  readonly thresholds: Awaited<ReturnType<typeof import('./promote/thresholds.ts')['readThresholds']>>['thresholds']
  readonly runs: string
  readonly sessions: string
}

async function look(argv: StatusArguments): Promise<Found> {
  const { settingsOf } = await import('./config.ts')
  const { readThresholds } = await import('./promote/thresholds.ts')
  const { thresholds, file } = readThresholds(argv.gates)
  const settings = settingsOf({ config: argv.config, profile: argv.profile })
  const { chooseStrategies } = await import('./strategy/choose.ts')
  const { strategiesOf } = await import('./session.ts')
  const { identityOf } = await import('./promote/identity.ts')
  const { VERSION } = await import('./version.ts')
  const identity = identityOf(strategiesOf(await chooseStrategies(argv.strategy, argv.param ?? [])), VERSION)
  const { gather } = await import('./promote/evidence.ts')
  const { judge, reached } = await import('./promote/judge.ts')
  const [runs, sessions] = [argv.runs ?? settings.runs, argv.sessions ?? settings.sessions]
  const evidence = gather(identity, [runs, sessions])
  const gates = judge(evidence, thresholds)
  return { identity, evidence, gates, level: reached(gates), file, thresholds, runs, sessions }
}

/** The record that stands, and why one that stands there is not believed. */
async function standing({ sessions, identity }: Found): Promise<{ promotion: Promotion | null; warnings: string[] }> {
  const { promotionOf } = await import('./promote/record.ts')
  try {
    return { promotion: promotionOf(sessions, identity), warnings: [] }
  } catch (error) {
    if (!(error instanceof UsageError) || error.code !== 'TAMPERED') throw error
    return { promotion: null, warnings: [error.message] }
  }
}

async function request(argv: RequestArguments): Promise<Outcome<unknown>> {
  const found = await look(argv)
  const { identity, evidence, gates, thresholds, sessions } = found
  const { upTo } = await import('./promote/judge.ts')
  const { LEVELS } = await import('./promote/thresholds.ts')
  const { promotionPath, writePromotion } = await import('./promote/record.ts')
  const { promotion, warnings } = await standing(found)
  const next = STEPS.find((s) => LEVELS.indexOf(s) > LEVELS.indexOf(promotion?.level ?? 'backtest'))
  const level = argv.level ?? next
  if (level === undefined) throw new UsageError(`${identity.name} is promoted to live already: there is no further step`)
  const needed = upTo(gates, level)
  const missing = needed.filter((g) => !g.passed)
  const data = { ...dataOf(found, promotion), requested: level }
  if (missing.length > 0)
    return {
      data: { ...data, missing },
      warnings: [...warnings, ...evidence.unread],
      text: `${gateTable(missing)}\n`,
      exit: EXIT.gate,
      error: {
        code: 'GATES',
        message: `${identity.name} is not promoted to ${level}: ${missing.length} of ${needed.length} gates are not passed (above); thresholds are ${found.file ?? 'the defaults of `tapeline promote gates`'}`,
      },
    }
  const rests = needed.flatMap((g) => g.rests).filter((r) => r.digest !== '')
  const { proveRuns } = await import('./promote/prove.ts')
  const problems = await proveRuns(rests)
  if (problems.length > 0)
    return {
      data: { ...data, problems },
      text: problems.map((p) => `  ${p}`).join('\n'),
      exit: EXIT.gate,
      error: {
        code: 'TAMPERED',
        message: `${identity.name} is not promoted: ${problems.length} of the runs that it rests on are not what they say (above): run them again`,
      },
    }
  const { VERSION } = await import('./version.ts')
  const made = { level, by: argv.by ?? userInfo().username, version: VERSION, limits: limitsOf(evidence, rests), gates: needed }
  if (argv.dryRun)
    return {
      data: { ...data, path: promotionPath(sessions, identity), written: false },
      warnings,
      text: `${identity.name} would be promoted to ${level} by ${made.by}: ${promotionPath(sessions, identity)} (--dry-run: nothing was written)\n`,
    }
  const { path } = writePromotion(sessions, identity, made, thresholds)
  const practice = thresholds.practice ? ' Practice data counted: it opens a local exchange alone.' : ''
  return {
    data: { ...data, path, written: true },
    warnings: [...warnings, ...evidence.unread],
    text: `${identity.name} ${identity.hash.slice(0, 8)} is promoted to ${level} (${FOR[level]}) by ${made.by}, on ${new Set(rests.map((r) => r.folder)).size} runs that were read again.${practice}\n${path}\n`,
  }
}

/** Of the latest run that a promotion rests on. */
function limitsOf({ backtests, papers, lives }: Evidence, rests: readonly { readonly folder: string }[]): SessionHeader['limits'] | null {
  const folders = new Set(rests.map((r) => r.folder))
  const all = [lives, papers, backtests].map((runs) => runs.filter((r) => folders.has(r.folder)).sort((a, b) => b.to - a.to))
  return all.find((runs) => runs.length > 0)?.[0]?.header.limits ?? null
}

function dataOf(found: Found, promotion: Promotion | null): Record<string, unknown> {
  const { identity, evidence, gates, level, file, thresholds } = found
  return {
    name: identity.name,
    hash: identity.hash,
    strategies: identity.parts,
    promotion: promotion === null ? null : { level: promotion.level, time: promotion.time, by: promotion.by, practice: promotion.practice },
    gatesReached: level,
    gatesFile: file,
    practiceCounts: thresholds.practice,
    runs: {
      backtests: evidence.backtests.length,
      paper: evidence.papers.length,
      live: evidence.lives.length,
      drills: evidence.drills.length,
      trials: evidence.trials,
    },
    gates,
  }
}

function gateTable(gates: readonly Gate[]): string {
  const restsText = ({ rests }: Gate): string => {
    const names = [...new Map(rests.map((r) => [r.folder, r])).values()]
    const [first] = names
    if (first === undefined) return ''
    return `${first.folder}${first.digest === '' ? '' : ` ${first.digest.slice(0, 8)}`}${names.length > 1 ? ` + ${names.length - 1}` : ''}`
  }
  return tableText(
    ['for', 'gate', 'wanted', 'found', '', 'rests on'],
    gates.map((g) => [g.level, g.name, g.wanted, g.found, g.passed ? 'ok' : 'NO', restsText(g)]),
  )
}

function statusText(found: Found, promotion: Promotion | null, all: boolean): string {
  const { identity, evidence, gates, level, file, thresholds, runs, sessions } = found
  const practice = [...evidence.backtests, ...evidence.papers, ...evidence.lives].filter((r) => r.practice).length
  const sets = `${evidence.trials} other set${evidence.trials === 1 ? '' : 's'} of parameters of this code`
  const lines = [
    `${identity.name} ${identity.hash.slice(0, 8)}`,
    ...identity.parts.map(
      (p) =>
        `  ${p.name}: ${p.code.startsWith('built in') ? p.code : `code ${p.code.slice(0, 12)}`}; ${Object.entries(p.parameters)
          .map(([k, v]) => `${k}=${v}`)
          .join(' ')}`,
    ),
    `  in ${[...new Set([runs, sessions])].join(' and ')}: ${evidence.backtests.length} backtests, ${evidence.papers.length} paper and ${evidence.lives.length} live sessions, ${evidence.drills.length} drills; ${sets} ${evidence.trials === 1 ? 'was' : 'were'} run`,
  ]
  if (practice > 0 && !thresholds.practice)
    lines.push(
      `  ${practice} of them on practice data, which does not count (practice: true in ${file ?? 'a gates.yaml'} lets it count for a local exchange)`,
    )
  const next = STEPS.find((s) => gates.some((g) => g.level === s && !g.passed))
  const ask =
    level !== 'backtest' && level !== promotion?.level
      ? `; \`tapeline promote request ${identity.name} --level ${level}\` writes it down`
      : ''
  return `${lines.join('\n')}

${gateTable(all || next === undefined ? gates : gates.slice(0, gates.findLastIndex((g) => g.level === next) + 1))}

Gates     passed up to ${level}: ${FOR[level]}${next === undefined ? '' : `; for ${next} lack ${gates.filter((g) => g.level === next && !g.passed).length} (all steps: --all)`}
Promoted  ${promotion === null ? `to nothing yet${ask}` : `to ${promotion.level} by ${promotion.by} on ${promotion.time.slice(0, 10)}${promotion.practice ? ' (practice data: local exchange alone)' : ''}${ask}`}
`
}
