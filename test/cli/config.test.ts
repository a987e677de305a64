import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { generateKeyPairSync } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { exchangeOf, settingsOf } from '../../cli/config.ts'
import { LIMIT_NAMES, LIMIT_SCALES, limitDefault, type LimitName } from '../../cli/config/limits.ts'
import { ConfigFile, SETTINGS, variableOf } from '../../cli/config/schema.ts'
import { starterText } from '../../cli/config/starter.ts'
import { DELAYS_DEFAULT } from '../../cli/options.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { encodingsOf, repeats } from '../support/canary.ts'
import { runJson, runProgram } from '../support/program.ts'

/** `tapeline.yaml`: who wins, who is refused and where, and that without a file nothing is different from before. */
const dir = mkdtempSync(join(tmpdir(), 'tapeline-config-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
let folders = 0
const folder = (yaml?: string, name = 'tapeline.yaml'): string => {
  const at = join(dir, `f${folders++}`)
  mkdirSync(at)
  if (yaml !== undefined) writeFileSync(join(at, name), yaml)
  return at
}
/** The starter with every setting said aloud, as its comments show it; `defaultsOnly`: the examples left out. */
function saidAloud(defaultsOnly: boolean): string {
  const [body = ''] = starterText().split('profiles:')
  const withDefault = new Set(SETTINGS.filter((s) => s.standard !== undefined).map((s) => s.path.split('.').at(-1)))
  return body.replace(/^( *)# ([a-zA-Z]+): (.+?)( +# .*)?$/gm, (line, indent: string, name: string, value: string) =>
    defaultsOnly && !withDefault.has(name) ? line : `${indent}${name}: ${value}`,
  )
}
const refusals = (request: Parameters<typeof settingsOf>[0], env: Record<string, string> = {}): readonly string[] => {
  try {
    settingsOf(request, env)
    return []
  } catch (error) {
    return (error as { mistakes: readonly string[] }).mistakes
  }
}

describe('settings', () => {
  it('are those of before without a file, with the starter, and with every default written out: equal digests', async () => {
    const plain = settingsOf({ config: null }, {})
    expect([plain.limits, plain.delays, plain.cash]).toEqual([LIMITS_DEFAULT, DELAYS_DEFAULT, 10_000_000_000])
    const at = folder()
    expect((await runProgram(at, ['data', 'practice', '--seed', '3', '--markets', '4', '--tape', 'tapes/t'])).code).toBe(0)
    const digest = async (yaml: string | null, ...args: string[]): Promise<unknown> => {
      rmSync(join(at, 'tapeline.yaml'), { force: true })
      if (yaml !== null) writeFileSync(join(at, 'tapeline.yaml'), yaml)
      const ran = await runJson(at, ['backtest', '--tape', 'tapes/t', '--strategy', 'lean', ...args])
      expect([ran.errors, ran.code]).toEqual([[], 0])
      return ran.data?.['digest']
    }
    const before = await digest(null)
    expect([await digest(starterText()), await digest(saidAloud(true))]).toEqual([before, before])
    // And a file that says something is heard, the same as the flags that say it.
    const other = await digest('cash: 500\ndelays: { place: 2s }\nlimits: { orderContracts: 3 }\n')
    writeFileSync(join(at, 'limits.json'), '{\n\t"orderContracts": 3\n}')
    expect(other).not.toBe(before)
    expect(await digest(null, '--cash', '500', '--delay', 'place=2s', '--limits', 'limits.json')).toBe(other)
    // Folders: a tape by its name, runs elsewhere.
    writeFileSync(join(at, 'tapeline.yaml'), 'tapes: tapes\nruns: out/runs\n')
    const named = await runJson(at, ['backtest', '--tape', 't', '--strategy', 'lean'])
    expect([named.data?.['digest'], named.data?.['run']]).toEqual([before, expect.stringMatching(/^out\/runs\/lean-/)])
  }, 120_000)

  it('have a starter that names every setting with its default, and a JSON Schema that agrees with the program', () => {
    const aloud = parse(saidAloud(false)) as Record<string, unknown>
    const at = folder(saidAloud(false))
    const { values } = settingsOf({ config: join(at, 'tapeline.yaml') }, {})
    for (const { path, standard } of SETTINGS) {
      const value = values.get(path)
      expect([path, value?.origin.kind]).toEqual([path, 'file'])
      if (standard !== undefined && !/^(tapes|runs|sessions)$/.test(path)) expect([path, value?.value]).toEqual([path, standard])
    }
    const valid = new Ajv2020({ strict: false }).compile(z.toJSONSchema(ConfigFile))
    const samples: unknown[] = [
      {},
      aloud,
      { profiles: { real: aloud } },
      { limits: { sessionLossDollars: '5' } },
      { limits: { sesionLossDollars: 5 } },
      { limits: { orderContracts: 0 } },
      { kalshi: { environment: 'prod' } },
      { kalshi: { localUrl: 'http://example.com' } },
      { delays: { place: '5 parsecs' } },
      { profiles: { real: { profiles: {} } } },
      { alerts: { webhook: 'x' } },
    ]
    for (const sample of samples)
      expect([JSON.stringify(sample), valid(sample)]).toEqual([JSON.stringify(sample), ConfigFile.safeParse(sample).success])
  })

  it('names all mistakes of a file at once, with line, column and the nearest name; exit 3', async () => {
    const at = folder(`kalshi:
  enviroment: demo
limits:
  sessionLossDollars: "500"
  orderContracts: -3
stratgy: x
delays: { place: 50 }
profiles:
  real: { kalshi: { environment: prod } }
  "bad name!": {}
`)
    const expected = [
      'tapeline.yaml:2:3 kalshi.enviroment: unknown; did you mean environment?',
      'tapeline.yaml:4:23 limits.sessionLossDollars: expected number, received string',
      'tapeline.yaml:5:19 limits.orderContracts: expected number to be >0',
      expect.stringMatching(/^tapeline\.yaml:6:1 stratgy: unknown; known here: kalshi, limits,/),
      'tapeline.yaml:7:18 delays.place: expected a duration such as 50ms, 2s, 5m or 1h',
      'tapeline.yaml:9:34 profiles.real.kalshi.environment: expected one of "demo"|"production"|"local"',
      expect.stringMatching(/^tapeline\.yaml:10:3 profiles\.bad name!: the name of a profile/),
    ]
    const shown = await runJson(at, ['config', 'show'])
    expect([shown.code, shown.errors.map((e) => e.message)]).toEqual([3, expected])
    const text = await runProgram(at, ['backtest', '--tape', 'x', '--strategy', 'lean'])
    expect([text.code, text.stdout, text.stderr.split('\n')[0]]).toEqual([3, '', 'error: 7 mistakes in the settings'])
    for (const [yaml, mistake] of [
      ['a: [1,\n', /^\S+:2:1: this is indented unlike/],
      ['cash: *x\n', /:1:7: aliases/],
      ['cash: 1\ncash: 2\n', /:2:1: this name stands twice/],
      ['cash: !!js 1\n', /:1:7: tags/],
      ['cash: 1\n---\ncash: 2\n', /:2:1: a second document/],
      ['limits:\n\tcash: 1\n', /:2:1: a tab indents here/],
      ['just words\n', /:1:1: expected object, received string/],
    ] as const)
      expect(refusals({ config: join(folder(yaml), 'tapeline.yaml') })[0]).toMatch(mistake)
    expect(refusals({ config: join(dir, 'none.yaml') })).toEqual([`--config ${join(dir, 'none.yaml')}: the file does not exist`])
    expect((await runProgram(folder('', 'tapeline.yml'), ['config', 'show'])).stderr).toMatch(
      /tapeline\.yml is not read: rename it tapeline\.yaml/,
    )
  })

  it('tightens limits and never loosens them: against a few lines of another telling', () => {
    const at = folder()
    const [file, json] = [join(at, 'tapeline.yaml'), join(at, 'l.json')]
    const maybe = fc.option(fc.integer({ min: 1, max: 12 }), { nil: null })
    let refused = 0
    fc.assert(
      fc.property(fc.constantFrom(...LIMIT_NAMES), maybe, maybe, maybe, maybe, (name: LimitName, common, profile, variable, flag) => {
        const line = (value: number | null): string => (value === null ? '{}' : `{ ${name}: ${value} }`)
        writeFileSync(file, `limits: ${line(common)}\nprofiles:\n  p: { limits: ${line(profile)} }\n`)
        writeFileSync(json, line(flag ?? 1))
        const request = { config: file, profile: 'p', ...(flag === null ? {} : { limits: json }) }
        const env = variable === null ? {} : { [variableOf(`limits.${name}`)]: String(variable) }
        let standing: number | null = null
        let loose = false
        for (const [value, isVariable] of [
          [common, false],
          [profile, false],
          [variable, true],
          [flag, false],
        ] as const) {
          if (value === null) continue
          const bound = standing ?? (isVariable ? limitDefault(name) : Infinity)
          if (value > bound) loose = true
          else standing = value
        }
        const mistakes = refusals(request, env)
        if (loose) {
          refused++
          for (const mistake of mistakes)
            expect(mistake).toMatch(new RegExp(`limits\\.${name}: \\d+ is looser than [\\d.]+ \\(.+\\); what comes later`))
          expect(mistakes.length).toBeGreaterThan(0)
        } else {
          expect(mistakes).toEqual([])
          const { field, scale } = LIMIT_SCALES[name]
          const { limits } = settingsOf(request, env)
          expect(limits).toEqual({ ...LIMITS_DEFAULT, ...(standing === null ? {} : { [field]: standing * scale }) })
        }
      }),
      { numRuns: 300 },
    )
    expect(refused).toBeGreaterThan(30)
    writeFileSync(file, 'limits:\n  sessionLossDollars: 50\n')
    writeFileSync(json, '{ "sessionLossDollars": 60 }')
    expect(refusals({ config: file, limits: json })).toEqual([
      `--limits ${json}:1:25 limits.sessionLossDollars: 60 is looser than 50 (${file}:2); what comes later may only tighten a limit`,
    ])
  })

  it('knows where each value came from, in the order flag, environment, profile, file, default', async () => {
    const at = folder('cash: 100\nruns: a\nsessions: s\nprofiles:\n  p:\n    cash: 200\n    runs: b\n')
    const env = { TAPELINE_PROFILE: 'p', TAPELINE_CASH: '300', TAPELINE_RECORD_SERIES: 'KXA, KXB' }
    const { data } = await runJson(at, ['config', 'show'], env)
    const settings = data?.['settings'] as Record<string, { value: unknown; source: string }>
    const of = (path: string): unknown[] => [settings[path]?.value, settings[path]?.source]
    expect([of('cash'), of('runs'), of('sessions'), of('tapes'), of('record.series')]).toEqual([
      [300, '$TAPELINE_CASH'],
      ['b', 'tapeline.yaml:7 (profile p)'],
      ['s', 'tapeline.yaml:3'],
      ['tapes', 'default'],
      [['KXA', 'KXB'], '$TAPELINE_RECORD_SERIES'],
    ])
    const { values, cash, runs } = settingsOf(
      { config: join(at, 'tapeline.yaml'), flags: [{ path: 'cash', value: 400, name: '--cash' }] },
      env,
    )
    expect([cash, runs, values.get('cash')?.origin]).toEqual([400_000_000, join(at, 'b'), { kind: 'flag', name: '--cash', file: null }])
    expect(refusals({ config: null }, { TAPELINE_CASH: 'much', TAPELINE_LIMITS_ORDER_CONTRACT: '1', TAPELINE_KALSHI_SECRET: 'x' })).toEqual(
      [
        '$TAPELINE_CASH: expected number, received string',
        expect.stringContaining('$TAPELINE_KALSHI_SECRET: unknown; a key never stands in the environment'),
        '$TAPELINE_LIMITS_ORDER_CONTRACT: unknown; did you mean TAPELINE_LIMITS_ORDER_CONTRACTS?',
      ],
    )
  })

  it('gives production only to a profile and a flag together, and no key to another environment', () => {
    const key = 'keyId: abc, keyFile: k.pem'
    const real = `kalshi: { environment: demo, ${key} }\nprofiles:\n  real: { kalshi: { environment: production, ${key} } }\n  half: { kalshi: { environment: production } }\n  none: {}\n`
    const config = join(folder(real), 'tapeline.yaml')
    const open = join(folder('kalshi: { environment: production }\n'), 'tapeline.yaml')
    const table: [Parameters<typeof settingsOf>[0], Record<string, string>, string | RegExp][] = [
      [{ config: null }, {}, 'demo'],
      [{ config }, {}, 'demo'],
      [{ config, profile: 'real', environment: 'production' }, {}, 'production'],
      [{ config, environment: 'production' }, { TAPELINE_PROFILE: 'real' }, 'production'],
      [{ config, profile: 'real' }, {}, /which is real money: add --environment production/],
      [{ config }, { TAPELINE_PROFILE: 'real', TAPELINE_KALSHI_ENVIRONMENT: 'production' }, /production is never chosen by a variable/],
      [{ config: null }, { TAPELINE_KALSHI_ENVIRONMENT: 'production' }, /production is never chosen by a variable/],
      [{ config, environment: 'production' }, {}, /no profile was chosen/],
      [{ config, profile: 'none', environment: 'production' }, {}, /profile none does not name production/],
      [{ config: open, environment: 'production' }, {}, /:1:\d+ kalshi\.environment: production stands in the common part/],
      [{ config, profile: 'half', environment: 'production' }, {}, /keyId: it belongs to demo, and the environment is production/],
      [{ config, profile: 'real', environment: 'demo' }, {}, /keyId: it belongs to production, and the environment is demo/],
      [{ config }, { TAPELINE_KALSHI_ENVIRONMENT: 'local' }, /keyId: it belongs to demo, and the environment is local/],
      [{ config: null }, { TAPELINE_KALSHI_ENVIRONMENT: 'local' }, /kalshi\.localUrl is not set/],
      [
        { config: null, environment: 'local' },
        { TAPELINE_KALSHI_LOCAL_URL: 'http://127.0.0.1:4010/trade-api/v2' },
        'http://127.0.0.1:4010',
      ],
    ]
    for (const [request, env, expected] of table) {
      let result: string
      try {
        result = exchangeOf(settingsOf(request, env))
      } catch (error) {
        result = (error as Error).message
      }
      if (typeof expected === 'string') expect([request, result]).toEqual([request, expected])
      else expect(result).toMatch(expected)
    }
  })

  it('repeats no key that was put where its path belongs, in no encoding', async () => {
    const pems = [
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs1', format: 'pem' }) as string,
      generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    ]
    let outputs = 0
    for (const pem of pems) {
      const body = pem.replace(/-----[^-]+-----|\s/g, '')
      const block = pem
        .trim()
        .split('\n')
        .map((l) => `    ${l}`)
        .join('\n')
      const bare = encodingsOf(pem)
      const files = [
        `kalshi:\n  keyFile: |\n${block}\n`,
        `kalshi: { keyFile: ${body} }\n`,
        `kalshi: { privateKey: "${pem.replaceAll('\n', '\\n')}" }\n`,
        `kalshi: { keyId: ${bare.base64} }\n`,
        `cash: ${bare.hex}\n`,
        pem,
        `"${body}": 1\n`,
        `profiles: { "${body}": {} }\n`,
        `kalshi:\n  keyFile: "${body}\n`,
      ]
      const runs: [string, string[], Record<string, string>][] = [
        ...files.flatMap((yaml) =>
          [
            ['config', 'show', '--sources'],
            ['doctor', '--offline', '--json'],
          ].map((args): [string, string[], Record<string, string>] => [yaml, args, {}]),
        ),
        ['', ['config', 'show'], { TAPELINE_KALSHI_KEY_FILE: pem }],
        ['', ['config', 'show'], { TAPELINE_KALSHI_KEY_ID: body, TAPELINE_CASH: bare.base64, TAPELINE_CONFIG: pem }],
        ['', ['config', 'show', '--profile', body], {}],
        ['', ['config', 'show', '--config', pem], {}],
        ['', ['config', 'show', pem], {}],
        ['', ['backtest', '--tape', 'x', '--strategy', 'lean', '--limits', bare.base64], {}],
      ]
      const one = async ([yaml, args, env]: (typeof runs)[number]): Promise<void> => {
        const ran = await runProgram(folder(yaml), args, env)
        expect([args.slice(0, 2), yaml.slice(0, 20), [3, 6].includes(ran.code)]).toEqual([args.slice(0, 2), yaml.slice(0, 20), true])
        expect(repeats(ran.stdout + ran.stderr, pem)).toBeNull()
        outputs++
      }
      for (let i = 0; i < runs.length; i += 3) await Promise.all(runs.slice(i, i + 3).map(one))
    }
    expect(outputs).toBe(72)
    // The watch sees what it looks for.
    const [pem = ''] = pems
    for (const text of Object.values(encodingsOf(pem))) expect(repeats(`x ${text.slice(300, 360)}`, pem)).not.toBeNull()
  }, 300_000)

  it('writes a first file and never over one', async () => {
    const at = folder()
    expect((await runProgram(at, ['config', 'init'])).code).toBe(0)
    expect(readFileSync(join(at, 'tapeline.yaml'), 'utf8')).toBe(starterText())
    const again = await runProgram(at, ['config', 'init'])
    expect([again.code, again.stderr]).toEqual([3, expect.stringMatching(/tapeline\.yaml is there already and is not written over/)])
    expect(JSON.parse((await runProgram(at, ['config', 'schema'])).stdout)).toMatchObject({
      title: 'tapeline.yaml',
      additionalProperties: false,
    })
  })
})
