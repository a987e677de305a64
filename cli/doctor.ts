/** `tapeline doctor`: what stands in the way of working, each with its fix. Owns the order of the checks and the exit code; hides the checks. Invariants: nothing is changed; nothing secret is printed. */
import type { CommandModule } from 'yargs'
import { environmentOptions, type ConfigArguments } from './config-command.ts'
import type { Settings } from './config.ts'
import type { Finding, State } from './doctor/finding.ts'
import { ConfigError, EXIT } from './exit.ts'
import { present, type Outcome } from './output.ts'

type DoctorData = { readonly file: string | null; readonly profile: string | null; readonly checks: readonly Omit<Finding, 'exit'>[] }

export const doctorCommand: CommandModule<object, ConfigArguments & { offline: boolean }> = {
  command: 'doctor',
  describe: 'Check this machine, the settings, the folders, the key and the exchange',
  builder: (y) => environmentOptions(y).option('offline', { type: 'boolean', default: false, describe: 'Ask no exchange' }) as never,
  handler: (argv) => present('doctor', argv.json, () => examine(argv)),
}

async function examine(argv: ConfigArguments & { offline: boolean }): Promise<Outcome<DoctorData>> {
  const { settingsOf } = await import('./config.ts')
  const { fine, problem, skipped } = await import('./doctor/finding.ts')
  const { databaseFinding, memoryFinding, nodeFinding } = await import('./doctor/machine.ts')
  const { folderFinding, haltFinding, leftoverFindings } = await import('./doctor/folders.ts')
  const { exchangeFindings, keyFindings } = await import('./doctor/exchange.ts')
  const findings: Finding[] = [nodeFinding(), memoryFinding(), await databaseFinding()]
  let settings: Settings
  let valid = true
  try {
    settings = settingsOf(argv)
    findings.push(
      fine(
        'settings',
        `${settings.file ?? 'no tapeline.yaml, all defaults'}${settings.profile === null ? '' : `, profile ${settings.profile}`}`,
      ),
    )
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    valid = false
    for (const mistake of error.mistakes)
      findings.push(problem('settings', mistake, 'correct it: tapeline config show tells when it is right', EXIT.config))
    // The folders are looked at all the same, where they are by default.
    settings = settingsOf({ config: null }, {})
  }
  const { tapes, runs, sessions } = settings
  for (const [name, folder] of Object.entries({ tapes, runs, sessions })) findings.push(folderFinding(name, folder))
  findings.push(haltFinding(sessions), ...leftoverFindings([tapes, runs, sessions]))
  if (!valid)
    findings.push(skipped('key file', 'not looked at: the settings are wrong'), skipped('exchange', 'not asked: the settings are wrong'))
  else {
    const { findings: ofKey, signer } = keyFindings(settings)
    findings.push(...ofKey)
    if (argv.offline) findings.push(skipped('exchange', 'not asked (--offline)'))
    else
      try {
        findings.push(...(await exchangeFindings(settings, signer, process.env)))
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        findings.push(problem('exchange', error.message, null, EXIT.config))
      }
  }
  return outcomeOf(settings, findings)
}

const MARKS: Readonly<Record<State, string>> = { ok: 'ok', warning: 'warning', problem: 'PROBLEM', skipped: '-' }
const CLASSES = [EXIT.config, EXIT.data, EXIT.credentials, EXIT.exchange] as const

function outcomeOf({ file, profile }: Settings, findings: readonly Finding[]): Outcome<DoctorData> {
  const problems = findings.filter((f) => f.state === 'problem')
  const warnings = findings.filter((f) => f.state === 'warning').length
  const width = Math.max(...findings.map((f) => f.name.length))
  const lines = findings.flatMap(({ name, state, text, fix }) => [
    `${MARKS[state].padEnd(7)}  ${name.padEnd(width)}  ${text}`,
    ...(fix === null ? [] : [`${' '.repeat(11 + width)}→ ${fix}`]),
  ])
  const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
  const verdict =
    problems.length === 0
      ? warnings === 0
        ? 'All is well'
        : `No problem, ${count(warnings, 'warning')}`
      : `${count(problems.length, 'problem')}, ${count(warnings, 'warning')}`
  return {
    data: { file, profile, checks: findings.map(({ exit: _exit, ...rest }) => rest) },
    text: `${lines.join('\n')}\n\n${verdict}\n`,
    exit: CLASSES.find((code) => problems.some((p) => p.exit === code)) ?? EXIT.ok,
    errors: problems.map(({ name, text, fix }) => ({
      code: `DOCTOR_${name.toUpperCase().replace(/\W+/g, '_')}`,
      message: `${name}: ${text}${fix === null ? '' : `; ${fix}`}`,
    })),
  }
}
