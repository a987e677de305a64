import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { VERSION } from '../../cli/version.ts'

/** The shipped program, run as its user runs it. */
const program = fileURLToPath(new URL('../../dist/tapeline.js', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'tapeline-cli-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

type Ran = { code: number; stdout: string; stderr: string }
const run = (args: readonly string[], env: Record<string, string> = {}): Promise<Ran> =>
  new Promise((done) => {
    execFile(
      process.execPath,
      [program, ...args],
      { cwd: dir, env: { ...process.env, NO_COLOR: '1', ...env }, maxBuffer: 1e8 },
      (error, stdout, stderr) => {
        done({ code: error === null ? 0 : (error.code as unknown as number), stdout, stderr })
      },
    )
  })
type Envelope = { ok: boolean; data: Record<string, unknown> | null; errors: { code: string; message: string }[]; warnings: string[] }
const json = async (args: readonly string[], env?: Record<string, string>): Promise<Envelope & { code: number; stderr: string }> => {
  const r = await run([...args, '--json'], env)
  expect(r.stdout.trim().split('\n')).toHaveLength(1)
  return { ...(JSON.parse(r.stdout) as Envelope), code: r.code, stderr: r.stderr }
}

beforeAll(async () => {
  expect((await json(['data', 'practice', '--seed', '3', '--markets', '4', '--days', '1', '--rate', '15', '--tape', 'tape'])).ok).toBe(true)
})

describe('the command line', () => {
  it('backtests a tape into a run folder whose report can be built again to the same bytes', async () => {
    const { data, ok } = await json(['backtest', '--tape', 'tape', '--strategy', 'lean', '--out', 'run'])
    expect(ok).toBe(true)
    for (const key of [
      'run',
      'digest',
      'rows',
      'markets',
      'orders',
      'fills',
      'refusals',
      'netDollars',
      'feesDollars',
      'winRate',
      'sharpe',
      'fillRate',
      'report',
      'seconds',
    ])
      expect(data).toHaveProperty(key)
    expect(data?.['netDollars']).toMatch(/^-?\d+\.\d{6}$/)
    expect(data?.['fills']).toBeGreaterThan(0)
    const page = readFileSync(join(dir, 'run/report.html'), 'utf8')
    expect(page.includes('Practice data')).toBe(true)
    expect((await run(['report', 'build', 'run'])).code).toBe(0)
    expect(readFileSync(join(dir, 'run/report.html'), 'utf8') === page).toBe(true)
  })

  it('is the same in two processes, another time zone and another locale; settings that matter change the digest', async () => {
    const digest = async (args: readonly string[], env?: Record<string, string>): Promise<unknown> =>
      (await json(['backtest', '--tape', 'tape', '--strategy', 'mean-reversion', ...args], env)).data?.['digest']
    const first = await digest(['--out', 'a'])
    expect(await digest(['--out', 'b'], { TZ: 'Asia/Kolkata', LC_ALL: 'de_DE.UTF-8', LANG: 'tr_TR.UTF-8' })).toBe(first)
    expect(readFileSync(join(dir, 'a/report.html'), 'utf8') === readFileSync(join(dir, 'b/report.html'), 'utf8')).toBe(true)
    expect(readFileSync(join(dir, 'a/journal.parquet')).equals(readFileSync(join(dir, 'b/journal.parquet')))).toBe(true)
    expect(await digest(['--param', 'window=50'])).not.toBe(first)
    expect(await digest(['--delay', 'place=900ms'])).not.toBe(first)
  })

  it('makes the same practice tape from the same seed', async () => {
    await run(['data', 'practice', '--seed', '3', '--markets', '4', '--days', '1', '--rate', '15', '--tape', 'again/tape'])
    expect(readFileSync(join(dir, 'again/tape/manifest.json'), 'utf8')).toBe(readFileSync(join(dir, 'tape/manifest.json'), 'utf8'))
    expect((await run(['data', 'verify', 'again/tape'])).code).toBe(0)
  })

  it('keeps to a selection and a span, and warms up', async () => {
    const tape = JSON.parse((await run(['data', 'stats', 'tape', '--json'])).stdout) as {
      data: { perMarket: { ticker: string }[]; from: string }
    }
    const market = tape.data.perMarket[1]?.ticker ?? ''
    const one = await json(['backtest', '--tape', 'tape', '--strategy', 'lean', '--market', market])
    expect(one.data?.['markets']).toBe(1)
    expect((await json(['backtest', '--tape', 'tape', '--strategy', 'lean', '--warmup', '30d'])).data?.['orders']).toBe(0)
    const late = await json([
      'backtest',
      '--tape',
      'tape',
      '--strategy',
      'lean',
      '--from',
      '2026-06-01T10:00:00Z',
      '--to',
      '2026-06-01T14:00:00Z',
    ])
    expect(late.ok).toBe(true)
    expect(late.data?.['rows']).toBeLessThan((await json(['backtest', '--tape', 'tape', '--strategy', 'lean'])).data?.['rows'] as number)
    const book = await run(['data', 'book', market, '--tape', 'tape', '--at', '2026-06-01T06:10:00Z'])
    expect(book.stdout).toMatch(/bid YES/)
  })

  it('answers wrong input with one sentence and its exit code', async () => {
    writeFileSync(join(dir, 'limits.json'), '{"orderContract": 5}')
    const cases: [string[], number, RegExp][] = [
      [['backtest', '--tape', 'nowhere', '--strategy', 'lean'], 4, /nowhere is not a tape .*data import/],
      [['backtest', '--tape', 'tape', '--strategy', 'leen'], 2, /no such strategy \(did you mean lean\?\)/],
      [['backtest', '--tape', 'tape', '--strategy', 'lean', '--param', 'sise=3'], 2, /did you mean size\?/],
      [['backtest', '--tape', 'tape', '--strategy', 'lean', '--param', 'size=big'], 2, /size is a number/],
      [['backtest', '--tape', 'tape', '--strategy', 'lean', '--delay', 'place=0ms'], 2, /above zero/],
      [['backtest', '--tape', 'tape', '--strategy', 'lean', '--delay', 'plaec=1ms'], 2, /did you mean place\?/],
      [['backtest', '--tape', 'tape', '--strategy', 'lean', '--from', 'yesterday'], 2, /not a time/],
      [['backtest', '--tape', 'tape', '--strategy', 'lean', '--market', 'KXNOPE'], 4, /KXNOPE is not on the tape/],
      [
        ['backtest', '--tape', 'tape', '--strategy', 'lean', '--limits', 'limits.json'],
        3,
        /^error: limits\.json:1:2 orderContract: unknown; did you mean orderContracts\?$/m,
      ],
      [['backtest', '--tape', 'tape', '--strategy', 'lean', '--fill', 'queue'], 2, /fill/i],
      [['bactest'], 2, /backtest/],
      [['data', 'import', 'kalshi-ws', 'missing', '--tape', 'x'], 4, /missing does not exist/],
      [['data', 'import', 'kalshi-ws', 'limits.json', '--tape', 'x'], 4, /nothing to write|no recorded frame/],
      [['report', 'build', 'tape'], 4, /not a finished run/],
    ]
    for (const [args, code, text] of cases) {
      const r = await run(args)
      expect([args.join(' '), r.code, r.stderr]).toEqual([args.join(' '), code, expect.stringMatching(text)])
      expect(r.stderr.trim().split('\n')).toHaveLength(1)
      expect(r.stdout).toBe('')
    }
    expect(existsSync(join(dir, 'x'))).toBe(false)
    expect(readdirSync(dir).filter((f) => f.startsWith('.'))).toEqual([])
  }, 120_000)

  it('keeps a partial result on Ctrl-C and says that it is partial', async () => {
    await json(['data', 'practice', '--seed', '5', '--markets', '60', '--days', '1', '--rate', '60', '--tape', 'long'])
    // On a busy machine a signal may come before the program listens: then a later one is tried.
    let stdout = ''
    let code: number | null = null
    for (const wait of [500, 1000, 2000, 4000]) {
      const child = spawn(process.execPath, [program, 'backtest', '--tape', 'long', '--strategy', 'lean', '--out', 'cut', '--json'], {
        cwd: dir,
      })
      stdout = ''
      child.stdout.on('data', (d: Buffer) => (stdout += d.toString()))
      const timer = setTimeout(() => child.kill('SIGINT'), wait)
      code = await new Promise<number | null>((done) => child.on('close', done))
      clearTimeout(timer)
      if (code !== null) break
    }
    const envelope = JSON.parse(stdout) as Envelope
    if (code === 0) return expect(envelope.ok).toBe(true) // a machine so fast that it was done
    expect(code).toBe(130)
    expect(envelope.data?.['complete']).toBe(false)
    expect(readFileSync(join(dir, 'cut/report.html'), 'utf8').includes('PARTIAL')).toBe(true)
  })

  it('runs by its own name, as npx calls it', async () => {
    const out = await new Promise<string>((done) => execFile(program, ['--version'], (_error, stdout) => done(stdout.trim())))
    expect(out).toBe(VERSION)
  })

  it('knows its version and its exit codes', async () => {
    const manifest = JSON.parse(readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8')) as { version: string }
    expect(VERSION).toBe(manifest.version)
    expect((await run(['--version'])).stdout.trim()).toBe(VERSION)
    expect((await run(['help', 'exit-codes'])).stdout).toMatch(/130 {2}interrupted/)
  })

  it('keeps what a killed run had written, and makes a partial report of it', async () => {
    expect((await json(['data', 'practice', '--seed', '5', '--markets', '8', '--rate', '80', '--tape', 'busy'])).ok).toBe(true)
    const place = join(dir, 'killed')
    const child = spawn(process.execPath, [program, 'backtest', '--tape', 'busy', '--strategy', 'lean', '--out', place, '--quiet'], {
      cwd: dir,
      stdio: 'ignore',
    })
    const ended = new Promise<NodeJS.Signals | null>((done) => child.once('exit', (_, signal) => done(signal)))
    const log = join(place, 'log', '000000.log')
    const watch = setInterval(() => {
      if (existsSync(log) && readFileSync(log).length > 200_000) child.kill('SIGKILL')
    }, 5)
    const signal = await ended
    clearInterval(watch)
    expect(signal).toBe('SIGKILL')
    const built = await json(['report', 'build', place])
    expect(built.ok).toBe(true)
    expect(readFileSync(join(place, 'report.html'), 'utf8')).toContain('PARTIAL: cut off')
    // The same folder again, to the end.
    const whole = await json(['backtest', '--tape', 'busy', '--strategy', 'lean', '--out', place])
    expect(whole.ok).toBe(true)
    expect(whole.data?.['complete']).toBe(true)
    expect(existsSync(join(place, 'log'))).toBe(false)
    expect((await json(['report', 'build', place])).data?.['digest']).toBe(whole.data?.['digest'])
  })
})
