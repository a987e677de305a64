/** What is read before a session is armed. Owns the words and their order: where, how much can be lost, what is there already, what differs from what was proved; hides nothing. Invariant: pure. */
import { lossText, RECOMMENDED_SETUP } from '../../adapters/kalshi/live.ts'
import { formatDecimal } from '../../engine/units.ts'
import { LIMIT_NAMES, LIMIT_SCALES } from '../config/limits.ts'
import { tableText } from '../output.ts'
import type { Identity } from '../promote/identity.ts'
import { atRest, type AccountView } from './account.ts'
import { spanText } from './arms.ts'
import type { Proved } from './proved.ts'
import type { LiveSettings } from './settings.ts'
import type { WorstCase } from './worst-case.ts'

export type ArmPage = {
  readonly identity: Identity
  readonly live: LiveSettings
  readonly environment: string
  readonly keyId: string
  readonly account: AccountView
  readonly worst: WorstCase
  readonly proved: Proved
  readonly unproven: string | null
  readonly warnings: readonly string[]
  readonly lasts: number
  readonly phrase: string
}

const LISTED = 10

export function armText(p: ArmPage): string {
  const { identity, live, account, worst, proved } = p
  const { limits } = live.settings
  const local = p.environment !== 'demo' && p.environment !== 'production'
  const place =
    p.environment === 'production' ? 'PRODUCTION: REAL MONEY' : local ? `local exchange ${p.environment}: no money` : 'demo: no real money'
  const rule = rulesText(live)
  const facts: [string, string][] = [
    ['Strategy', `${identity.name} ${identity.hash.slice(0, 8)}`],
    ...identity.parts.map((part): [string, string] => [
      '',
      `${part.name}: ${part.code.startsWith('built in') ? part.code : `code ${part.code.slice(0, 12)}`}; ${pairs(part.parameters)}`,
    ]),
    ['Exchange', place],
    ['Account', `key ${p.keyId}, subaccount ${live.subaccount}, tier ${account.tier ?? 'not known (basic is assumed)'}`],
    ['Key', rightsText(account)],
    ['Markets', rule],
    ['Limits', LIMIT_NAMES.map((name) => `${name} ${limits[LIMIT_SCALES[name].field] / LIMIT_SCALES[name].scale}`).join(', ')],
    [
      'Brakes',
      `order group ${live.orderGroupContracts} contracts in 15 s, absence after ${live.absenceMargin / 1e6} s, nothing new ${live.closeMargin / 1e6} s before a close`,
    ],
    ['Alert', live.alert.webhook === null && live.alert.command === null ? 'none: nobody is told when it halts' : 'set'],
  ]
  const parts = [
    facts.map(([name, text]) => `${name.padEnd(9)} ${text}`).join('\n'),
    `Worst case: $${worst.dollars} (${worst.binding})\n${indented(
      tableText(
        ['bound', 'dollars', ''],
        worst.bounds.map((b) => [b.name, money(b.money), b.why]),
      ),
    )}`,
    positionsText(account),
    ordersText(account),
    provedText(proved, p.unproven),
  ]
  const { restricted, transfers } = account.facts
  parts.push(
    `Should the limits fail:\n${lossText(account.facts, limits.sessionLossMax)
      .slice(1)
      .map((l) => `  ${l}`)
      .join('\n')}`,
  )
  if (restricted?.is !== true || transfers !== false) parts.push(`Safer:\n${RECOMMENDED_SETUP.map((l) => `  ${l}`).join('\n')}`)
  if (p.warnings.length > 0) parts.push(p.warnings.map((w) => `WARNING: ${w}`).join('\n'))
  parts.push(`One session, within ${spanText(p.lasts)}, for exactly this. To arm it:  ${p.phrase}`)
  return `${parts.join('\n\n')}\n`
}

function pairs(values: Readonly<Record<string, unknown>>): string {
  const all = Object.entries(values).map(([k, v]) => `${k}=${String(v)}`)
  return all.length === 0 ? 'no parameters' : all.join(' ')
}
function rulesText({ following: f }: LiveSettings): string {
  const parts = [
    ...(f.series.length > 0 ? [`series ${f.series.join(', ')}`] : []),
    ...(f.markets.length > 0 ? [f.markets.join(', ')] : []),
    ...(f.closeWithin === null ? [] : [`closing within ${spanText(f.closeWithin / 1000)}`]),
    ...(f.closeAfter === null ? [] : [`not before ${spanText(f.closeAfter / 1000)}`]),
    ...(f.spreadMax === null ? [] : [`spread ≤ ${f.spreadMax / 100} ¢`]),
    ...(f.volumeMin === null ? [] : [`volume ≥ ${f.volumeMin / 100}`]),
    `at most ${f.marketsMax}`,
  ]
  return parts.join('; ')
}
function rightsText({ facts }: AccountView): string {
  const { scopes, restricted } = facts
  const reach =
    restricted === null
      ? 'its reach is not known'
      : !restricted.is
        ? 'every subaccount'
        : `subaccount ${restricted.number ?? facts.subaccount} alone`
  return `${scopes === null ? 'its scopes are not shown' : scopes.join(', ')}; ${reach}`
}
function positionsText({ positions }: AccountView): string {
  if (positions.length === 0) return 'Positions open on the account: none'
  const exposure = positions.reduce((a, p) => a + p.exposure, 0)
  return `Positions open on the account: ${positions.length}, in which $${money(exposure)} can be lost whatever this session does (beside its worst case)\n${indented(
    tableText(
      ['market', 'position', 'at stake'],
      positions.slice(0, LISTED).map((x) => [x.ticker, formatDecimal(x.position, 2), money(x.exposure)]),
    ),
  )}${more(positions.length)}`
}
function ordersText({ orders }: AccountView): string {
  if (orders.length === 0) return 'Orders open on the account: none'
  return `Orders open on the account: ${orders.length}, which can cost $${money(atRest(orders))}; they are not this session's\n${indented(
    tableText(
      ['market', 'side', 'price', 'remaining', 'order'],
      orders.slice(0, LISTED).map((o) => [o.ticker, o.side, formatDecimal(o.price, 4), formatDecimal(o.remaining, 2), o.id]),
    ),
  )}${more(orders.length)}`
}
function provedText({ promotion, lacks, differences }: Proved, unproven: string | null): string {
  const head =
    promotion === null
      ? 'Proved: nothing that counts here'
      : `Proved: promoted to ${promotion.record.level} by ${promotion.record.by} on ${promotion.record.time.slice(0, 10)}, Tapeline ${promotion.record.version}${promotion.record.practice ? ', practice data' : ''} (${promotion.file})`
  const lines = [...lacks.map((l) => `LACKS ${l}`), ...differences.map((d) => `differs: ${d}`)]
  if (lacks.length === 0 && differences.length === 0) lines.push('code, parameters, limits and version are those that were proved')
  if (unproven !== null && lacks.length > 0) lines.push(`UNPROVEN, because: ${unproven}`)
  return `${head}\n${lines.map((l) => `  ${l}`).join('\n')}`
}
function more(n: number): string {
  return n > LISTED ? `\n  … ${n} in all` : ''
}
function indented(text: string): string {
  return text
    .split('\n')
    .map((l) => `  ${l}`)
    .join('\n')
}
function money(millionths: number): string {
  return formatDecimal(Math.round(millionths / 10_000), 2)
}
