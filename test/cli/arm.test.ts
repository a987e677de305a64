import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { disarm, keyDigest, listArms, takeArm, writeArm, type Binding, type Wanted } from '../../cli/live/arms.ts'
import { liveSettings } from '../../cli/live/settings.ts'
import { worstCaseOf } from '../../cli/live/worst-case.ts'
import { LIVE_CEILINGS } from '../../cli/config/live.ts'
import { SETTINGS, variableOf } from '../../cli/config/schema.ts'
import { identityOf } from '../../cli/promote/identity.ts'
import { LIMIT_NAMES, LIMIT_SCALES, type LimitName } from '../../cli/config/limits.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'
import { bundled } from '../support/bundle.ts'

/** Arming: one word, one session, this and nothing else. */
const dir = mkdtempSync(join(tmpdir(), 'tapeline-arm-'))
const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})
let folders = 0
const folder = (): string => {
  const at = join(dir, `f${folders++}`)
  mkdirSync(at)
  return at
}

const identity = identityOf(
  [{ name: 'mine', parameters: { size: 1, edge: 2 }, source: { file: 'mine.ts', sha256: 'a'.repeat(64) } }],
  '0.1.0',
)
const binding: Binding = {
  strategies: identity.parts,
  hash: identity.hash,
  version: '0.1.0',
  limits: LIMITS_DEFAULT,
  environment: 'demo',
  key: keyDigest('k'),
  subaccount: 1,
  cash: 500_000_000,
  orderGroupContracts: 100,
  absenceMargin: 60_000_000,
  closeMargin: 30_000_000,
  markets: { series: ['KXA'], markets: [], closeWithin: null, closeAfter: null, spreadMax: null, volumeMin: null, marketsMax: 500 },
}
const MINUTE = 60_000
const arm = (sessions: string, more: Partial<Binding> = {}, lasts = 15 * MINUTE, now = Date.now()) =>
  writeArm(
    sessions,
    {
      ...binding,
      ...more,
      name: 'mine',
      acceptedDollars: 250,
      confirmed: 'typed',
      promotion: null,
      unproven: 'a test',
      differences: [],
      warnings: [],
    },
    lasts,
    now,
  )
const wanted: Wanted = { ...binding, name: 'mine', worstDollars: 250 }
const codeOf = (call: () => unknown): string => {
  try {
    call()
    return 'taken'
  } catch (error) {
    const { code, exit, message } = error as { code: string; exit: number; message: string }
    expect([message, exit]).toEqual([expect.stringMatching(/tapeline live arm|set the clock/), 5])
    return `${code} ${message}`
  }
}

describe('an arm', () => {
  it('is taken once, before its time is over, and says why not otherwise', () => {
    const at = folder()
    expect(codeOf(() => takeArm(at, wanted))).toMatch(/^NOT_ARMED mine is not armed/)
    const made = arm(at)
    const taken = takeArm(at, wanted, 'sessions/x')
    expect([taken.arm.id, taken.arm.unproven, existsSync(made.path), existsSync(taken.path)]).toEqual([made.arm.id, 'a test', false, true])
    expect(codeOf(() => takeArm(at, wanted))).toMatch(/^ARM_USED .* is spent: used on .* for sessions\/x: an arm is good for one session/)
    const now = Date.now()
    arm(at, {}, 15 * MINUTE, now)
    expect(codeOf(() => takeArm(at, wanted, '', now + 15 * MINUTE))).toMatch(/^ARM_EXPIRED .* expired 0 s ago/)
    expect(takeArm(at, wanted, '', now + 15 * MINUTE - 1).arm.armed).toBe(now)
    arm(at, {}, 15 * MINUTE, now + 60 * MINUTE)
    expect(codeOf(() => takeArm(at, wanted, '', now))).toMatch(/^ARM_EXPIRED .* still to come: set the clock/)
  })

  it('is for this and nothing else: every part of it that differs is named', () => {
    const at = folder()
    arm(at)
    const other = identityOf(
      [{ name: 'mine', parameters: { size: 1, edge: 3 }, source: { file: 'mine.ts', sha256: 'b'.repeat(64) } }],
      '0.1.0',
    )
    const table: [Partial<Wanted>, RegExp][] = [
      [{ strategies: other.parts, hash: other.hash }, /the code of mine was a{12} and is b{12}; mine\.edge was 2 and is 3/],
      [{ hash: 'c'.repeat(64) }, /the strategies was "\w{8}" and is "cccccccc"/],
      [{ version: '0.2.0' }, /version was "0\.1\.0" and is "0\.2\.0"/],
      [{ environment: 'production' }, /environment was "demo" and is "production"/],
      [{ key: keyDigest('other') }, /the key is another one/],
      [{ subaccount: 0 }, /subaccount was 1 and is 0/],
      [{ cash: 1 }, /live\.cashDollars was 500 and is 0\.000001/],
      [{ orderGroupContracts: 101 }, /orderGroupContracts was 100/],
      [{ absenceMargin: 1 }, /live\.absenceMargin was \d+s and is 0\.000001s/],
      [{ closeMargin: 1 }, /live\.closeMargin was/],
      [{ closeMargin: undefined as never }, /live\.closeMargin was \S+ and is not said/],
      [{ markets: { ...binding.markets, series: ['KXB'] } }, /markets series was \["KXA"\] and is \["KXB"\]/],
      [{ markets: { ...binding.markets, markets: ['KXA-1'] } }, /markets markets was/],
      [{ worstDollars: 251 }, /the worst case was \$250 and is \$251/],
      ...(Object.keys(LIMITS_DEFAULT) as (keyof typeof LIMITS_DEFAULT)[]).map((name): [Partial<Wanted>, RegExp] => [
        { limits: { ...LIMITS_DEFAULT, [name]: LIMITS_DEFAULT[name] + 1 } },
        limitText(name),
      ]),
    ]
    for (const [more, text] of table) {
      const said = codeOf(() => takeArm(at, { ...wanted, ...more }))
      expect([JSON.stringify(more), said]).toEqual([JSON.stringify(more), expect.stringMatching(text)])
      expect(said).toMatch(/^ARM_DIFFERS/)
    }
    // Every field of a binding is in the table above, or a new one could be forgotten.
    const checked = new Set(table.flatMap(([more]) => Object.keys(more)))
    expect(Object.keys(binding).filter((name) => !checked.has(name))).toEqual([])
    expect(takeArm(at, { ...wanted, worstDollars: 100 }).arm.acceptedDollars).toBe(250)
  })

  it('is refused when any byte of it was changed', () => {
    const at = folder()
    const { path } = arm(at)
    const text = readFileSync(path, 'utf8')
    for (let i = 0; i < text.length; i += 7) {
      const byte = text[i] === '0' ? '1' : '0'
      writeFileSync(path, text.slice(0, i) + byte + text.slice(i + 1))
      expect([i, codeOf(() => takeArm(at, wanted)).split(' ')[0]]).toEqual([i, 'TAMPERED'])
      expect(existsSync(path)).toBe(true)
    }
    writeFileSync(path, text.slice(0, -20))
    expect(codeOf(() => takeArm(at, wanted))).toMatch(/^TAMPERED .* is no whole record/)
    writeFileSync(path, text)
    expect(codeOf(() => takeArm(at, wanted))).toBe('taken')
  })

  it('gives way to a newer one of its account, and is taken back by disarm', () => {
    const at = folder()
    const now = Date.now()
    const first = arm(at, {}, 15 * MINUTE, now - 2)
    const second = arm(at, {}, 15 * MINUTE, now - 1)
    const third = arm(at, { subaccount: 2 }, 15 * MINUTE, now)
    expect(listArms(at).map((l) => [l.arm?.id, l.state])).toEqual([
      [first.arm.id, 'spent'],
      [second.arm.id, 'ready'],
      [third.arm.id, 'ready'],
    ])
    expect(disarm(at, third.arm.id)).toEqual([third.arm.id])
    expect(disarm(at, null)).toEqual([second.arm.id])
    expect(codeOf(() => takeArm(at, wanted))).toMatch(/^ARM_USED .* withdrawn on/)
  })

  it('goes to one of 12 processes that take it together', async () => {
    const at = folder()
    const { arm: made } = arm(at)
    const program = bundled('test/support/arm-child.ts')
    const go = join(at, 'go')
    const said = Array.from({ length: 12 }, () => {
      const child = spawn(process.execPath, [program, at, go, JSON.stringify(wanted)], { stdio: ['ignore', 'pipe', 'inherit'] })
      children.push(child)
      let text = ''
      child.stdout.on('data', (d: Buffer) => (text += d.toString()))
      return new Promise<string>((resolve) => child.once('close', () => resolve(text.trim())))
    })
    await new Promise((resolve) => setTimeout(resolve, 4000))
    writeFileSync(go, '')
    const ends = await Promise.all(said)
    rmSync(program, { force: true })
    expect(ends.filter((s) => s === made.id).length).toBe(1)
    expect(ends.filter((s) => s === 'ARM_USED').length).toBe(11)
    expect(readdirSync(join(at, 'armed', 'spent')).filter((n) => n.endsWith('.json'))).toEqual([`${made.id}.json`])
  }, 60_000)
})

const LIMITS = `limits:
${LIMIT_NAMES.map((name) => `  ${name}: ${name === 'sessionLossDollars' ? 249.5 : name === 'collarCents' ? 10 : Math.min(20, LIVE_CEILINGS[name])}`).join('\n')}
`
const LIVE = `${LIMITS}live:\n  series: [KXPRACTICE15M]\n  cashDollars: 500\n  orderGroupContracts: 100\n`

describe('live settings', () => {
  const mistakes = (yaml: string, env: Record<string, string> = {}): readonly string[] => {
    const file = join(folder(), 'tapeline.yaml')
    writeFileSync(file, yaml)
    try {
      liveSettings({ config: file }, env)
      return []
    } catch (error) {
      return (error as { mistakes: readonly string[] }).mistakes.map((m) => m.replaceAll(file, 'f'))
    }
  }

  it('take nothing from the environment: every variable is refused, those of live: are no variables at all', () => {
    expect(mistakes(LIVE)).toEqual([])
    const variables = ['TAPELINE_CONFIG', 'TAPELINE_PROFILE', ...SETTINGS.map((s) => variableOf(s.path))]
    for (const name of variables) {
      const said = mistakes(LIVE, { [name]: '1' })
      expect([name, said]).toEqual([
        name,
        [expect.stringMatching(/is set, and live trading takes nothing from the environment: unset TAPELINE_/)],
      ])
    }
    expect(mistakes(LIVE, { TAPELINE_DEBUG: '1', HOME: 'x', TAPELINE_CASH: '' })).toEqual([])
  })

  it('want every limit in the file, none above its ceiling, and all mistakes at once', () => {
    for (const name of LIMIT_NAMES) {
      const without = LIVE.replace(new RegExp(`  ${name}: .*\n`), '')
      expect(mistakes(without)).toEqual([expect.stringMatching(new RegExp(`^f: limits\\.${name} is missing`))])
      const above = LIVE.replace(new RegExp(`  ${name}: .*`), `  ${name}: ${LIVE_CEILINGS[name] + 1}`)
      expect(mistakes(above)).toEqual([
        expect.stringMatching(new RegExp(`^f:\\d+:\\d+ limits\\.${name}: ${LIVE_CEILINGS[name] + 1} is (above ${LIVE_CEILINGS[name]}|.*)`)),
      ])
    }
    expect(mistakes('cash: 5\n').length).toBe(LIMIT_NAMES.length + 2)
    expect(mistakes(LIVE.replace('500', '25001'))).toEqual([
      expect.stringMatching(/^f:\d+:\d+ live\.cashDollars: expected number to be <=25000/),
    ])
    expect(
      mistakes(`${LIVE}  absenceMargin: 5s\n  alert: { webhook: 'http://example.com', command: notify }\n  heartbeat: 0.5s\n`),
    ).toEqual([
      expect.stringMatching(/live\.absenceMargin: expected 10s to 10m/),
      expect.stringMatching(/live\.alert\.webhook: expected an https address/),
      expect.stringMatching(/live\.alert\.command: expected a list/),
      expect.stringMatching(/live\.heartbeat: expected 1s to 60s/),
    ])
  })
})

describe('the worst case', () => {
  it('is the least of what limit, cash and balance allow, rounded up to the dollar', () => {
    const of = (loss: number, cash: number, balance: number) =>
      worstCaseOf({ limits: { ...LIMITS_DEFAULT, sessionLossMax: loss }, cash, balance, subaccount: 0 })
    expect([of(249_500_000, 5e8, 1e10), of(1e9, 5e8, 1e10), of(1e9, 5e8, 12_000_001)].map((w) => [w.dollars, w.binding])).toEqual([
      [250, 'session loss limit'],
      [500, 'cash to use'],
      [13, 'balance'],
    ])
  })
})

/** As the file says it: `limits.orderContracts was 100 and is 100.01`. */
function limitText(field: keyof typeof LIMITS_DEFAULT): RegExp {
  const name = LIMIT_NAMES.find((n) => LIMIT_SCALES[n].field === field) ?? 'no name'
  const [was, is] = [LIMITS_DEFAULT[field], LIMITS_DEFAULT[field] + 1].map((n) => n / LIMIT_SCALES[name as LimitName].scale)
  return new RegExp(`limits\\.${name} was ${was} and is ${is}`)
}
