/**
 * What `tapeline.yaml` may say. Owns names, forms, descriptions and defaults of all settings; hides zod. Invariant: every setting is optional and has one description, from which
 * the starter file, the JSON Schema and `config show` are made. Nothing here is a secret: of a key there is its id and the path of its file.
 */
import { z } from 'zod'
import { DELAYS_DEFAULT, parseDuration } from '../options.ts'
import { LimitsSection } from './limits.ts'
import { LIVE_CASH_MAX, LIVE_GROUP_MAX, LIVE_SECTION } from './live.ts'

const DURATION = /^\d+(\.\d+)?(us|µs|ms|s|m|h|d)$/
const DURATION_SAID = 'expected a duration such as 50ms, 2s, 5m or 1h'
const TICKER = /^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$/

function setting<T extends z.ZodType>(type: T, description: string, standard?: unknown) {
  return type.meta({ description, ...(standard === undefined ? {} : { default: standard }) }).optional()
}
const duration = (description: string, standard?: string) =>
  setting(z.string(DURATION_SAID).regex(DURATION, DURATION_SAID), description, standard)
const delay = (description: string, standard: string) =>
  setting(
    z
      .string(DURATION_SAID)
      .regex(DURATION, DURATION_SAID)
      .refine((text) => Number.parseFloat(text) > 0, 'a delay is above zero, nothing reaches an exchange in no time'),
    description,
    standard,
  )
const path = (description: string, standard?: string) =>
  setting(
    z
      .string()
      .min(1, 'expected a path')
      .max(1000)
      .regex(/^\P{Cc}+$/u, 'expected a path on one line'),
    description,
    standard,
  )
const tickers = (description: string) =>
  setting(
    z.array(z.string().regex(TICKER, 'expected a ticker such as KXBTC15M'), 'expected a list such as [KXBTC15M]').max(10_000),
    description,
  )

const External = z.strictObject({
  series: z
    .string()
    .regex(/^[\w.-]{1,60}$/, 'expected a name of letters, digits, dots and dashes')
    .meta({ description: 'Name under which strategies ask for it' }),
  file: z.string().min(1).max(1000).meta({ description: 'JSON lines or CSV that grows' }),
})

/** Markets to follow, what else to write down, and when a part of the tape is finished. The same words for a recording and a paper session. */
const marketSettings = () => ({
  series: tickers('Markets of these series'),
  markets: tickers('These markets, by ticker, whatever the rules below say'),
  closeWithin: duration('Only markets that close within this'),
  closeAfter: duration('… but not sooner than this'),
  spreadMaxCents: setting(z.number().positive().max(100), 'Only markets with at most this between bid and ask'),
  volumeMinContracts: setting(z.number().nonnegative().max(1e12), 'Only markets with at least this traded in the last 24 hours'),
  marketsMax: setting(z.int().positive().max(100_000), 'At most so many: those that close first', 500),
  indices: setting(z.array(z.string().regex(/^[\w.-]{1,60}$/, 'expected the id of an index')).max(100), 'CF Benchmarks indices, as BRTI'),
  external: setting(z.array(External).max(100), 'Outside series from files that grow, each { series, file }'),
  rotate: z
    .strictObject({
      rows: setting(z.int().min(1000).max(1e8), 'A part is finished after so many rows,', 1_000_000),
      megabytes: setting(z.int().positive().max(100_000), '… or this size,', 64),
      every: duration('… or this time, whichever is first', '1h'),
    })
    .optional(),
  spaceMinMegabytes: setting(z.int().nonnegative().max(1e7), 'Disk space that is left for the journal', 256),
})
function markets(what: string) {
  return z.strictObject(marketSettings()).meta({ description: what }).optional()
}

/** Between these, or the rule that a margin stands for is none. */
const between = (least: number, most: number, said: string, description: string, standard: string) =>
  setting(
    z
      .string(DURATION_SAID)
      .regex(DURATION, DURATION_SAID)
      .refine((text) => {
        const us = DURATION.test(text) ? parseDuration(text, '') : Number.NaN
        return us >= least * 1_000_000 && us <= most * 1_000_000
      }, said),
    description,
    standard,
  )

/** What a live session is beside its limits. No variable sets any of it. */
const live = () =>
  z
    .strictObject({
      ...marketSettings(),
      subaccount: setting(z.int().min(0).max(63), 'Subaccount that it trades, 0 the primary one', 0),
      cashDollars: setting(
        z
          .number()
          .positive()
          .max(LIVE_CASH_MAX)
          .refine((v) => Math.abs(v * 100 - Math.round(v * 100)) < 1e-6, 'it comes in whole cents'),
        'Capital to use, no more than the balance. A live session needs it',
      ),
      orderGroupContracts: setting(
        z.int().positive().max(LIVE_GROUP_MAX),
        'Contracts that may fill in 15 s before the exchange itself cancels everything. A live session needs it',
      ),
      absenceMargin: between(
        10,
        600,
        'expected 10s to 10m',
        'How long after its last byte an order whose outcome is unknown may be called absent',
        '60s',
      ),
      closeMargin: between(0, 3600, 'expected 0s to 1h', 'Nothing new is sent so close to the close of a market', '30s'),
      heartbeat: between(1, 60, 'expected 1s to 60s', 'Silence of the engine after which `tapeline watch` halts and cancels', '15s'),
      alert: z
        .strictObject({
          command: setting(
            z.array(z.string().min(1).max(1000), 'expected a list such as [notify-send, Tapeline]').min(1).max(20),
            'Program to call with the text on its stdin, and its arguments; no shell',
          ),
          webhook: setting(
            z
              .string()
              .max(1000)
              .regex(
                /^(https:\/\/[^\s@/]+(\/\S*)?|http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(\/\S*)?)$/,
                'expected an https address without a password in it',
              ),
            'Address that gets the text as JSON by POST',
          ),
        })
        .optional(),
    })
    .meta({ description: 'Live trading. Every limit above has to stand in this file too; no variable sets anything here' })
    .optional()

const sections = {
  kalshi: z
    .strictObject({
      environment: setting(
        z.enum(['demo', 'production', 'local']),
        'demo, production (in a profile alone) or local (tapeline exchange)',
        'demo',
      ),
      localUrl: setting(
        z
          .string()
          .regex(
            /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?(\/trade-api\/v2)?\/?$/,
            'expected an address on this machine such as http://127.0.0.1:4010',
          ),
        'Address of the local exchange, as it prints it',
      ),
      keyId: setting(
        z.string().regex(/^[\w-]{1,128}$/, 'expected the id of a key: letters, digits and dashes'),
        'Id of the key at the exchange',
      ),
      keyFile: path('PEM file of the private key, mode 0600. The key itself never stands here'),
    })
    .meta({ description: 'The exchange and the key' })
    .optional(),
  limits: LimitsSection.meta({
    description: 'Risk limits. What comes later (a profile, the environment, --limits) may only tighten them',
  }).optional(),
  delays: z
    .strictObject({
      place: delay('From decision to the exchange: a new order', `${DELAYS_DEFAULT.place / 1000}ms`),
      cancel: delay('… a cancel', `${DELAYS_DEFAULT.cancel / 1000}ms`),
      amend: delay('… an amend', `${DELAYS_DEFAULT.amend / 1000}ms`),
      answer: delay('From the exchange to us', `${DELAYS_DEFAULT.answer / 1000}ms`),
    })
    .meta({ description: 'Delays of a simulated exchange' })
    .optional(),
  cash: setting(
    z
      .number()
      .positive()
      .max(1e8)
      .refine((v) => Math.abs(v * 1e6 - Math.round(v * 1e6)) < 1e-3, 'it comes in steps of 0.000001'),
    'Starting cash of a backtest or a paper session, dollars',
    10_000,
  ),
  tapes: path('Folder of tapes', 'tapes'),
  runs: path('Folder of backtests', 'runs'),
  sessions: path('Folder of paper and live sessions', 'sessions'),
  record: markets('What `tapeline record` writes down'),
  paper: markets('What a paper session follows'),
  live: live(),
  alerts: z.strictObject({}).meta({ description: 'Nothing can be set here yet' }).optional(),
}

const Profile = z.strictObject(sections)
export const ConfigFile = z.strictObject({
  ...sections,
  profiles: z
    .record(z.string().regex(/^[A-Za-z][\w-]{0,39}$/, 'the name of a profile is up to 40 letters, digits, - and _'), Profile)
    .meta({ description: 'Each is laid over the common part when --profile or $TAPELINE_PROFILE names it' })
    .optional(),
})
export type ConfigSections = z.infer<typeof Profile>

export type Setting = {
  readonly path: string
  readonly type: z.ZodType
  readonly kind: 'number' | 'text' | 'list' | 'objects'
  readonly description: string
  /** Undefined: there is none. */
  readonly standard: unknown
}
export type Section = { readonly path: string; readonly description: string }

function inner(type: z.ZodType): z.ZodType {
  return type instanceof z.ZodOptional ? inner(type.unwrap() as z.ZodType) : type
}
function walk(shape: Readonly<Record<string, z.ZodType>>, prefix: string, found: (Setting | Section)[]): (Setting | Section)[] {
  for (const [name, outer] of Object.entries(shape)) {
    const type = inner(outer)
    const { description = '', default: standard } = type.meta() ?? {}
    const path = prefix === '' ? name : `${prefix}.${name}`
    if (type instanceof z.ZodObject) {
      found.push({ path, description })
      walk(type.shape as Record<string, z.ZodType>, path, found)
    } else {
      const kind =
        type instanceof z.ZodArray
          ? inner(type.element as z.ZodType) instanceof z.ZodObject
            ? 'objects'
            : 'list'
          : type instanceof z.ZodNumber
            ? 'number'
            : 'text'
      found.push({ path, type, kind, description, standard })
    }
  }
  return found
}
/** Sections and settings in the order of the file. */
export const OUTLINE: readonly (Setting | Section)[] = walk(sections, '', [])
export const SETTINGS: readonly Setting[] = OUTLINE.filter((x): x is Setting => 'type' in x)

/** Settings whose text is a path: one in a file starts at the file's folder. */
export const PATHS: ReadonlySet<string> = new Set(['kalshi.keyFile', 'tapes', 'runs', 'sessions'])

/** Whether a variable may set it: nothing of live trading comes from the environment. */
export function hasVariable(path: string): boolean {
  return !path.startsWith(LIVE_SECTION)
}
export function variableOf(path: string): string {
  return `TAPELINE_${path
    .replace(/[A-Z]/g, (c) => `_${c}`)
    .replaceAll('.', '_')
    .toUpperCase()}`
}
