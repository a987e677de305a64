import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { FaultRule } from '../../adapters/exchange/index.ts'
import { inRange } from '../../cli/doctor/machine.ts'
import { haltFile } from '../../cli/halt.ts'
import { ENGINES } from '../../cli/version.ts'
import { onSockets, trader, type Sockets, type Trader } from '../adapters/exchange/support.ts'
import { repeats } from '../support/canary.ts'
import { runProgram, type Ran } from '../support/program.ts'

/** The doctor against an exchange on real sockets: what is well is called well, and of what is broken it says what, and how to mend it. */
const dir = mkdtempSync(join(tmpdir(), 'tapeline-doctor-'))
let open: { stop(): Promise<void> | void }[] = []
afterEach(async () => {
  for (const s of open.splice(0)) await s.stop()
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

type Check = { readonly name: string; readonly state: string; readonly text: string; readonly fix: string | null }
type Seen = Ran & { readonly of: (name: string) => Check | undefined; readonly states: Record<string, string> }
let folders = 0
function place(yaml = ''): string {
  const at = join(dir, `f${folders++}`)
  mkdirSync(at)
  writeFileSync(join(at, 'tapeline.yaml'), yaml)
  return at
}
const secrets: string[] = []
/** Runs it in both forms: they agree, and neither shows a key or leaves a file. */
async function examine(at: string, args: readonly string[] = [], env: Record<string, string> = {}): Promise<Seen> {
  const files = (): Set<string> => new Set(readdirSync(at, { recursive: true }) as string[])
  const before = files()
  const [ran, text] = await Promise.all([runProgram(at, ['doctor', '--json', ...args], env), runProgram(at, ['doctor', ...args], env)])
  const { data, errors } = JSON.parse(ran.stdout) as { data: { checks: Check[] }; errors: unknown[] }
  expect(text.code).toBe(ran.code)
  expect(errors.length).toBe(data.checks.filter((c) => c.state === 'problem').length)
  for (const check of data.checks) {
    if (check.name !== 'memory' && check.name !== 'REST' && check.name !== 'clock') expect(text.stdout).toContain(check.name)
    if (check.state === 'problem') expect(check.text.length + (check.fix?.length ?? 0)).toBeGreaterThan(20)
  }
  for (const secret of secrets) expect(repeats(ran.stdout + ran.stderr + text.stdout + text.stderr, secret)).toBeNull()
  expect(files()).toEqual(before)
  return {
    ...ran,
    of: (name) => data.checks.find((c) => c.name === name),
    states: Object.fromEntries(data.checks.map((c) => [c.name, c.state])),
  }
}
async function exchange(rules: readonly FaultRule[] = []): Promise<{ sockets: Sockets; who: Trader; at: string; key: string }> {
  const sockets = await onSockets({ rules })
  open.push(sockets)
  const who = trader(sockets.x, `a${folders}`, 1000, 'basic', folders % 2 === 0 ? 'rsa' : 'ed25519')
  secrets.push(who.privatePem)
  const at = place(`kalshi:\n  environment: local\n  localUrl: ${sockets.server.url}\n  keyId: ${who.keyId}\n  keyFile: key.pem\n`)
  const key = join(at, 'key.pem')
  writeFileSync(key, who.privatePem, { mode: 0o600 })
  return { sockets, who, at, key }
}

describe('tapeline doctor', () => {
  it('finds everything well at an exchange that runs, with the key of an account, RSA and Ed25519', async () => {
    for (let i = 0; i < 2; i++) {
      const { at, sockets } = await exchange()
      const { code, states, of } = await examine(at)
      expect([code, Object.values(states).filter((s) => s !== 'ok')]).toEqual([0, []])
      expect([of('REST')?.text, of('settings')?.text]).toEqual([expect.stringContaining('local (http://127.0.0.1:'), 'tapeline.yaml'])
      expect(sockets.server.connections.size).toBe(0)
    }
    const offline = await examine(place(), ['--offline'])
    expect([offline.code, offline.of('exchange')?.state, offline.of('key file')?.state]).toEqual([0, 'skipped', 'skipped'])
  })

  it('tells a wrong key, an unknown id, a file that others can read, and what is no key: exit 6 with what to type', async () => {
    const { at, key, who } = await exchange()
    const pem = readFileSync(key, 'utf8')
    const config = readFileSync(join(at, 'tapeline.yaml'), 'utf8')
    const other = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const encrypted = generateKeyPairSync('ed25519').privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    }) as string
    const curve = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const short = generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const { publicKey } = generateKeyPairSync('ed25519')
    secrets.push(other, encrypted, curve, short)
    const cases: [string, string, string, RegExp][] = [
      [other, config, 'key', /INCORRECT_API_KEY_SIGNATURE/],
      [pem, config.replace(who.keyId, 'f'.repeat(8)), 'key', /NOT_FOUND/],
      [encrypted, config, 'key file', /is encrypted/],
      [curve, config, 'key file', /type ec: the exchange takes RSA and Ed25519/],
      [short, config, 'signature', /damaged or too short/],
      [publicKey.export({ type: 'spki', format: 'pem' }) as string, config, 'key file', /holds a public key/],
      ['nonsense', config, 'key file', /no private key in PEM form/],
      [pem, config.replace(/ {2}keyId.*\n/, ''), 'key file', /kalshi\.keyId is missing/],
      [pem, config.replace('key.pem', 'none.pem'), 'key file', /none\.pem cannot be read \(ENOENT\)/],
    ]
    for (const [text, yaml, name, said] of cases) {
      writeFileSync(key, text)
      writeFileSync(join(at, 'tapeline.yaml'), yaml)
      const { code, of } = await examine(at)
      expect([said, code, of(name)?.state, of(name)?.text]).toEqual([said, 6, 'problem', expect.stringMatching(said)])
      // The exchange itself is well.
      expect([of('REST')?.state, of('WebSocket')?.state]).toEqual(['ok', name === 'key' ? 'skipped' : 'ok'])
    }
    writeFileSync(key, pem)
    writeFileSync(join(at, 'tapeline.yaml'), config)
    for (const mode of [0o644, 0o640, 0o604, 0o666]) {
      chmodSync(key, mode)
      const { code, of } = await examine(at)
      expect([code, of('key file')?.text, of('key file')?.fix]).toEqual([
        6,
        expect.stringContaining(`mode 0${mode.toString(8)}`),
        'chmod 600 key.pem',
      ])
    }
    chmodSync(key, 0o600)
    symlinkSync('key.pem', join(at, 'link.pem'))
    writeFileSync(join(at, 'tapeline.yaml'), config.replace('key.pem', 'link.pem'))
    expect((await examine(at)).of('key file')?.text).toMatch(/not a plain file/)
    writeFileSync(join(at, 'tapeline.yaml'), config)
    expect((await examine(at)).code).toBe(0)
  }, 180_000)

  it('measures the clock against the exchange: a warning beyond 1 s, a problem beyond 5 s, exit 7, and the key is not blamed', async () => {
    const { at, sockets } = await exchange()
    for (const [offset, state, code] of [
      [0, 'ok', 0],
      [3, 'warning', 0],
      [20, 'problem', 7],
      [3600, 'problem', 7],
    ] as const) {
      sockets.clock.offset = offset * 1_000_000
      const seen = await examine(at)
      expect([offset, seen.of('clock')?.state, seen.code]).toEqual([offset, state, code])
      if (offset > 0) {
        const seconds = Number(/^(\d+\.\d) s .*behind/.exec(seen.of('clock')?.text ?? '')?.[1])
        expect(Math.abs(seconds - offset)).toBeLessThan(1.5)
      }
      expect([seen.of('key')?.state, seen.of('WebSocket')?.state]).toEqual(code === 7 ? ['skipped', 'skipped'] : ['ok', 'ok'])
      if (code === 7) expect(seen.of('clock')?.fix).toMatch(/timedatectl/)
    }
    // A fresh one that lies behind: its clock never steps back.
    const behind = await exchange()
    behind.sockets.clock.offset = -20_000_000
    expect((await examine(behind.at)).of('clock')?.text).toMatch(/ahead of/)
  }, 60_000)

  it('says that the exchange is away, hangs, is not well, or is something else: exit 7 within its bound', async () => {
    const away = await exchange()
    await away.sockets.stop()
    const gone = await examine(away.at)
    expect([gone.code, gone.of('REST')?.text, gone.of('WebSocket')?.state, gone.of('key')?.state]).toEqual([
      7,
      expect.stringContaining('ECONNREFUSED'),
      'problem',
      'skipped',
    ])
    expect(gone.of('REST')?.fix).toMatch(/npx tapeline exchange --practice/)

    const silent: Server = createServer(() => {})
    await new Promise<void>((ready) => silent.listen(0, '127.0.0.1', ready))
    open.push({ stop: () => void silent.close() })
    const { port } = silent.address() as { port: number }
    const hung = place(readFileSync(join(away.at, 'tapeline.yaml'), 'utf8').replace(/localUrl: .*/, `localUrl: http://127.0.0.1:${port}`))
    writeFileSync(join(hung, 'key.pem'), away.who.privatePem, { mode: 0o600 })
    const waited = await examine(hung)
    expect([waited.code, waited.of('REST')?.text, waited.of('WebSocket')?.text]).toEqual([
      7,
      expect.stringContaining('none within 3 s'),
      expect.stringContaining('did not open within 3 s'),
    ])
    expect(waited.seconds).toBeLessThan(10)

    const portal = await exchange([{ on: 'request', do: 'html', status: 503 }])
    expect((await examine(portal.at)).of('REST')?.text).toMatch(/was answered 503/)
    const paused = await exchange()
    paused.sockets.x.pause('trading', true, null)
    const closed = await examine(paused.at)
    expect([closed.code, closed.of('trading')?.state]).toEqual([0, 'warning'])
    const refusing = await exchange([{ on: 'connect', do: 'status', status: 502 }])
    const socketless = await examine(refusing.at)
    expect([socketless.code, socketless.of('key')?.state, socketless.of('WebSocket')?.text]).toEqual([
      7,
      'ok',
      expect.stringContaining('answered 502'),
    ])
  }, 120_000)

  it('gives the exit code of the first class: settings before disk before key before exchange', async () => {
    const { at, key, sockets } = await exchange()
    await sockets.stop()
    expect((await examine(at)).code).toBe(7)
    chmodSync(key, 0o644)
    expect((await examine(at)).code).toBe(6)
    writeFileSync(join(at, 'runs'), 'a file')
    const disk = await examine(at)
    expect([disk.code, disk.of('folder runs')?.text]).toEqual([4, 'runs is a file where a folder belongs'])
    writeFileSync(join(at, 'tapeline.yaml'), `${readFileSync(join(at, 'tapeline.yaml'), 'utf8')}limits:\n  sessionLoss: 1\ncash: no\n`)
    const config = await examine(at)
    expect([config.code, config.of('settings')?.text, config.of('exchange')?.state]).toEqual([
      3,
      'tapeline.yaml:7:3 limits.sessionLoss: unknown; did you mean sessionLossDollars?',
      'skipped',
    ])
    const production = place('profiles:\n  real: { kalshi: { environment: production } }\n')
    const unsaid = await examine(production, ['--profile', 'real'])
    expect([unsaid.code, unsaid.of('exchange')?.text]).toEqual([3, expect.stringContaining('add --environment production')])
    expect((await examine(at, ['--offline'], { NODE_TLS_REJECT_UNAUTHORIZED: '0' })).code).toBe(3)
  })

  it('shows a halt that stands, and what ended programs left behind', async () => {
    const at = place('sessions: s\n')
    expect((await examine(at, ['--offline'])).of('halt')?.text).toBe('none')
    for (const path of ['s/one/log', 'runs/two/log', 'tapes/three', 'tapes/.four.partial-999999999', `tapes/.five.partial-${process.pid}`])
      mkdirSync(join(at, path), { recursive: true })
    writeFileSync(join(at, haltFile('s')), 'daily loss limit reached\nand more')
    writeFileSync(join(at, 's/one/log/000000.log'), '')
    writeFileSync(join(at, 'tapes/three/manifest.json'), '{"growing":{}}')
    const ran = await runProgram(at, ['doctor', '--offline'])
    const lines = ran.stdout.split('\n').filter((l) => / (halt|unfinished) /.test(l))
    expect(ran.code).toBe(0)
    expect(lines).toEqual([
      expect.stringMatching(/^warning .* s\/HALTED stands since 20\d\d-.*Z: daily loss limit reached$/),
      expect.stringMatching(new RegExp(`^ok .*tapes/\\.five\\.partial-${process.pid} is being written by process ${process.pid}$`)),
      expect.stringMatching(/^warning .*tapes\/\.four\.partial-999999999 was left by a program that was ended/),
      expect.stringMatching(/^warning .*tapes\/three is still being written, or its program was ended/),
      expect.stringMatching(/^warning .*s\/one is still being written, or its program was ended/),
    ])
    expect(ran.stdout).toContain('rm -r tapes/.four.partial-999999999')
    // Whatever stands there is a halt.
    rmSync(join(at, haltFile('s')))
    mkdirSync(join(at, haltFile('s')))
    expect((await examine(at, ['--offline'])).of('halt')?.state).toBe('warning')
  })

  it('knows the range of Node that package.json asks for', () => {
    const manifest = JSON.parse(readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8')) as {
      engines: { node: string }
    }
    expect(ENGINES).toBe(manifest.engines.node)
    const inside = ['v20.19.0', 'v20.20.2', 'v22.12.0', 'v24.1.0']
    const outside = ['v18.20.0', 'v20.18.9', 'v21.7.0', 'v22.11.0', 'v22.2.0']
    expect([inside, outside].map((list) => list.map((v) => inRange(v, ENGINES)))).toEqual([
      inside.map(() => true),
      outside.map(() => false),
    ])
  })

  it('warns of a key in a git work tree, unless it is ignored', async () => {
    const at = place('kalshi: { keyId: abc, keyFile: key.pem }\n')
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    secrets.push(pem)
    writeFileSync(join(at, 'key.pem'), pem, { mode: 0o600 })
    execFileSync('git', ['init', '-q', at])
    const seen = await runProgram(at, ['doctor', '--offline'])
    expect(seen.stdout).toMatch(/warning +key file +key\.pem lies in the git work tree .* does not ignore it/)
    writeFileSync(join(at, '.gitignore'), '*.pem\n')
    expect((await runProgram(at, ['doctor', '--offline'])).stdout).toMatch(/ok +key file/)
  })
})

/** A disk of a few hundred kilobytes, where this system lets one be made. */
function disk(kilobytes: number, ...more: string[]): string | null {
  const at = mkdtempSync(join(tmpdir(), 'tapeline-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', [`size=${kilobytes}k`, ...more].join(','), 'tmpfs', at], { stdio: 'ignore' })
    return at
  } catch {
    rmSync(at, { recursive: true })
    return null
  }
}
function remove(at: string): void {
  execFileSync('umount', [at])
  rmSync(at, { recursive: true })
}
const probe = disk(64)
if (probe !== null) remove(probe)

describe.skipIf(probe === null)(
  probe === null ? 'doctor on a full disk (skipped: this system lets nobody mount a small one)' : 'doctor on a full disk',
  () => {
    it('tells full, nearly full and read-only: exit 4', async () => {
      for (const [kilobytes, fill, option, said] of [
        [300, 280, '', /the disk is full \(ENOSPC/],
        [100_000, 0, '', /a recording stops below 256 MB/],
        [300, 0, 'ro', /cannot be written \(EROFS\)/],
      ] as const) {
        const at = disk(kilobytes, ...(option === '' ? [] : [option])) as string
        try {
          if (fill > 0) writeFileSync(join(at, 'fill'), Buffer.alloc(fill * 1024))
          const { code, of } = await examine(place(`runs: ${at}\n`), ['--offline'])
          expect([said, code, of('folder runs')?.text, of('folder tapes')?.state]).toEqual([said, 4, expect.stringMatching(said), 'ok'])
          expect(readdirSync(at)).toEqual(fill > 0 ? ['fill'] : [])
        } finally {
          remove(at)
        }
      }
      // Where DuckDB is tried.
      const at = disk(16) as string
      try {
        writeFileSync(join(at, 'fill'), Buffer.alloc(16 * 1024))
        const { code, of } = await examine(place(), ['--offline'], { TMPDIR: at })
        expect([code, of('duckdb')?.state, of('duckdb')?.fix]).toEqual([4, 'problem', expect.stringContaining('TMPDIR')])
      } finally {
        remove(at)
      }
    })
  },
)
