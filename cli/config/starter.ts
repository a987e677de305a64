/** The first `tapeline.yaml` of a user. Owns its look; hides nothing. Invariant: it is made from the schema, so it names every setting with its default, and as it is written it changes nothing. */
import { OUTLINE, variableOf } from './schema.ts'

const EXAMPLES: Readonly<Record<string, unknown>> = {
  'kalshi.localUrl': 'http://127.0.0.1:4010',
  'kalshi.keyId': '00000000-0000-0000-0000-000000000000',
  'kalshi.keyFile': 'keys/demo.pem',
  series: ['KXBTC15M'],
  markets: ['KXBTC15M-26JUN152345-T1'],
  closeWithin: '1h',
  closeAfter: '1m',
  spreadMaxCents: 10,
  volumeMinContracts: 100,
  indices: ['BRTI'],
  external: [{ series: 'spot', file: 'spot.ndjson' }],
  cashDollars: 200,
  orderGroupContracts: 100,
  command: ['notify-send', 'Tapeline'],
  webhook: 'https://example.com/hook',
}

/** YAML of a value on one line; JSON is YAML. */
function inline(value: unknown): string {
  return typeof value === 'string' && /^[A-Za-z0-9][\w./:-]*$/.test(value) && !/^[\d.]+$|^(true|false|null)$|:$/.test(value)
    ? value
    : JSON.stringify(value)
}

export function starterText(): string {
  const lines = [
    '# Settings of Tapeline. Everything is optional: what is commented out shows its default, or an example where it has none.',
    '# Over this file goes a profile (--profile), then $TAPELINE_… (such as $' +
      variableOf('limits.sessionLossDollars') +
      '), then the flags of a command.',
    '# `tapeline config show --sources` says what holds and why. Paths start at the folder of this file.',
  ]
  for (const item of OUTLINE) {
    const steps = item.path.split('.')
    const name = steps.at(-1) as string
    const indent = '  '.repeat(steps.length - 1)
    if (!('type' in item) && !OUTLINE.some((other) => other.path.startsWith(`${item.path}.`))) continue
    if (steps.length === 1 && !('type' in item && lines.at(-1)?.startsWith('# '))) lines.push('')
    if (!('type' in item)) {
      // Deeper sections stand without a remark: their settings have one each.
      if (steps.length === 1) lines.push(`# ${item.description}.`)
      lines.push(`${indent}${name}:`)
      continue
    }
    const value = item.standard ?? EXAMPLES[item.path] ?? EXAMPLES[name]
    const line = `${indent}# ${name}: ${inline(value)}`
    lines.push(`${line.padEnd(44)} # ${item.description}`)
  }
  lines.push(
    '',
    '# A profile holds the same sections. Production is named in one, and needs --environment production on the command line as well.',
    'profiles:',
    '  # real:',
    '  #   kalshi:',
    '  #     environment: production',
    '  #     keyId: 00000000-0000-0000-0000-000000000000',
    '  #     keyFile: keys/production.pem',
    '  #   limits:',
    '  #     sessionLossDollars: 50',
  )
  return `${lines.join('\n')}\n`
}
