/**
 * The settings of a live session. Owns what must be written before real orders are thinkable, and the ceilings above which nothing is; hides the layers. Invariants: nothing comes from the
 * environment, and a variable that tries is an error rather than ignored, for whoever set it believes in it; every limit stands in a file; none is above its ceiling; all that is wrong is said at once.
 */
import { dollars } from '../../engine/units.ts'
import { settingsOf, type Following, type Settings } from '../config.ts'
import { placeText, type ConfigRequest, type Environment } from '../config/layers.ts'
import { LIMIT_NAMES, limitDefault } from '../config/limits.ts'
import { LIVE_CEILINGS } from '../config/live.ts'
import { shown } from '../config/secret.ts'
import { ConfigError } from '../exit.ts'
import { parseDuration } from '../options.ts'

export type LiveSettings = {
  readonly settings: Settings
  readonly following: Following
  readonly subaccount: number
  /** Money that the session may use. */
  readonly cash: number
  /** Contracts in 15 seconds, whole. */
  readonly orderGroupContracts: number
  /** µs. */
  readonly absenceMargin: number
  readonly closeMargin: number
  readonly heartbeat: number
  readonly alert: { readonly command: readonly string[] | null; readonly webhook: string | null }
}

/** Variables that change how the program speaks, and nothing that it does. */
const HARMLESS = new Set(['TAPELINE_DEBUG', 'TAPELINE_TURN_SECONDS'])

/** Throws a ConfigError with everything that is wrong. */
export function liveSettings(request: ConfigRequest, env: Environment = process.env): LiveSettings {
  const variables = Object.keys(env)
    .filter((name) => name.startsWith('TAPELINE_') && !HARMLESS.has(name) && (env[name] ?? '') !== '')
    .sort()
  if (variables.length > 0)
    throw new ConfigError(
      variables.map(
        (name) =>
          `$${shown(name)} is set, and live trading takes nothing from the environment: unset ${shown(name)}, and say it in tapeline.yaml or on the command line`,
      ),
    )
  const settings = settingsOf(request, {})
  const { values, written, file } = settings
  const where = file ?? 'tapeline.yaml'
  const mistakes: string[] = []
  for (const name of LIMIT_NAMES) {
    const path = `limits.${name}`
    const value = values.get(path)
    if (!written.has(path) || value === undefined)
      mistakes.push(
        `${where}: ${path} is missing: live trading takes no limit by default, so write each one (a backtest has ${limitDefault(name)} here; the ceiling is ${LIVE_CEILINGS[name]})`,
      )
    else if ((value.value as number) > LIVE_CEILINGS[name])
      mistakes.push(
        `${placeText(value.origin)} ${path}: ${String(value.value)} is above ${LIVE_CEILINGS[name]}, the most that live trading takes whatever the settings say: lower it`,
      )
  }
  for (const [path, example] of [
    ['live.cashDollars', '200'],
    ['live.orderGroupContracts', '100'],
  ] as const)
    if (!written.has(path)) mistakes.push(`${where}: ${path} is missing: live trading needs it, as in ${path.slice(5)}: ${example}`)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  const value = <T>(path: string): T => values.get(path)?.value as T
  return {
    settings,
    following: settings.live,
    subaccount: value('live.subaccount'),
    cash: dollars(value('live.cashDollars')),
    orderGroupContracts: value('live.orderGroupContracts'),
    absenceMargin: parseDuration(value('live.absenceMargin'), 'live.absenceMargin'),
    closeMargin: parseDuration(value('live.closeMargin'), 'live.closeMargin'),
    heartbeat: parseDuration(value('live.heartbeat'), 'live.heartbeat'),
    alert: {
      command: value<string[] | undefined>('live.alert.command') ?? null,
      webhook: value<string | undefined>('live.alert.webhook') ?? null,
    },
  }
}
