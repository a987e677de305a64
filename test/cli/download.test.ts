import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { giveKey } from '../../adapters/exchange/index.ts'
import { accessOf } from '../../cli/kalshi-access.ts'
import { Database, quote } from '../../data/parquet.ts'
import { PROGRAM, runJson, runProgram } from '../support/program.ts'
import { integer, random } from '../support/random.ts'
import { folder, iso, removeFolders, rowsOf } from '../support/tapes.ts'
import { playedPast, SERIES, truth, type Past } from '../adapters/kalshi/past.ts'

/** The shipped program against a local exchange on real sockets. */

const built = existsSync(PROGRAM)
const pasts: Past[] = []
afterEach(async () => {
  for (const p of pasts.splice(0)) await p.stop()
  removeFolders()
})
async function past(options: Parameters<typeof playedPast>[0] = {}): Promise<Past> {
  const p = await playedPast(options)
  pasts.push(p)
  return p
}
const access = (p: Past): string[] => ['--environment', 'local', '--url', p.server.url]
const order = (p: Past, ...more: string[]): string[] => [
  'download',
  '--series',
  SERIES,
  '--from',
  iso(p.start),
  '--to',
  iso(p.end),
  '--tape',
  'tape',
  ...access(p),
  ...more,
]
async function parquetRows(path: string): Promise<Record<string, unknown>[]> {
  const db = await Database.open()
  try {
    return await db.rows(`SELECT * FROM read_parquet(${quote(path)})`)
  } finally {
    db.close()
  }
}
const traded = async (tape: string): Promise<string[]> =>
  (await rowsOf(tape)).filter((r) => r.kind === 'trade').map((r) => `${r.timeVenue} ${r.ticker} ${r.side} ${r.price} ${r.quantity}`)

/** Runs it until it ends, or until the exchange has been asked so many times more and a moment has passed: then it gets the signal. */
function until(
  p: Past,
  cwd: string,
  args: readonly string[],
  { requests, ms = 0, signal }: { requests: number; ms?: number; signal: 'SIGKILL' | 'SIGINT' },
): Promise<{ code: number | null; err: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [PROGRAM, ...args], { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
    let err = ''
    child.stderr.on('data', (d: Buffer) => (err += d.toString()))
    const enough = p.server.requests + requests
    const watch = setInterval(() => {
      if (p.server.requests < enough) return
      clearInterval(watch)
      setTimeout(() => child.kill(signal), ms)
    }, 5)
    child.once('close', (code) => {
      clearInterval(watch)
      resolve({ code, err })
    })
  })
}

describe.skipIf(!built)(`tapeline download${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('killed at random moments goes on until the tape is what the exchange traded, and asks for no kept page again', async () => {
    const p = await past({ minutes: 30, markets: 3, life: 6 * 60_000_000 })
    const dir = folder()
    const next = random(11)
    let [kills, code] = [0, null as number | null]
    while (code === null) {
      code = (
        await until(p, dir, order(p, '--candles', '1m'), { requests: integer(next, 1, 25), ms: integer(next, 0, 300), signal: 'SIGKILL' })
      ).code
      if (code === null) kills++
      if (kills > 40) break
      if (code === null && existsSync(join(dir, 'tape'))) expect(existsSync(join(dir, 'tape', 'manifest.json'))).toBe(true)
    }
    expect(code).toBe(0)
    expect(kills).toBeGreaterThan(1)
    expect(await traded(join(dir, 'tape'))).toEqual(truth(p.x, p.start, p.end))
    const { origin } = JSON.parse(readFileSync(join(dir, 'tape', 'manifest.json'), 'utf8')) as { origin: { download: { pages: number } } }
    // Six lists are walked at a time: so many answers can be lost with a process.
    expect(p.server.requests).toBeLessThanOrEqual(origin.download.pages + 6 * kills)
    expect(readdirSync(dir)).toEqual(['tape'])
  })

  it('stops on Ctrl-C with what it has, and goes on with the same words alone', async () => {
    const p = await past({ minutes: 30, markets: 3, life: 6 * 60_000_000 })
    const dir = folder()
    const { code, err } = await until(p, dir, order(p), { requests: 14, signal: 'SIGINT' })
    expect([code, err]).toEqual([
      130,
      'error: interrupted: no tape was written; what was answered is kept in tape.download, the same command goes on from there\n',
    ])
    const other = await runJson(dir, order(p, '--candles', '1h'))
    expect([other.code, other.errors[0]?.code]).toEqual([4, 'DOWNLOAD_OTHER'])
    expect(other.errors[0]?.message).toMatch(/candles was null\): give the same options to go on, another --tape, or --restart/)
    const whole = await runJson(dir, order(p))
    expect([whole.code, whole.errors]).toEqual([0, []])
    expect(whole.data).toMatchObject({ volumeUnequal: [], broken: [] })
    expect(Number(whole.data?.['pagesKept'])).toBeGreaterThan(5)
    expect(await traded(join(dir, 'tape'))).toEqual(truth(p.x, p.start, p.end))
    // Practice stays practice, whichever way it came.
    expect(JSON.parse(readFileSync(join(dir, 'tape', 'manifest.json'), 'utf8'))).toMatchObject({
      practice: true,
      source: 'kalshi-rest (local exchange)',
    })
    expect((await runProgram(dir, ['backtest', '--tape', 'tape', '--strategy', 'lean', '--out', 'run'])).stdout).toMatch(/^PRACTICE DATA/)
    expect((await runJson(dir, order(p))).errors[0]?.code).toBe('TAPE_EXISTS')
  })

  it('finds exchange and key in tapeline.yaml, a variable over the file and a flag over both', async () => {
    const p = await past({ minutes: 10 })
    const dir = folder()
    const { keyId, privatePem } = giveKey(p.x, p.x.openAccount('a', [{ shard: 0, amount: 1_000_000_000 }], 'basic'), 'ed25519')
    writeFileSync(join(dir, 'key.pem'), privatePem, { mode: 0o600 })
    const nobody = 'http://127.0.0.1:9'
    const settings = (url: string): void =>
      writeFileSync(
        join(dir, 'tapeline.yaml'),
        `kalshi:\n  environment: local\n  localUrl: ${url}\n  keyId: ${keyId}\n  keyFile: ${join(dir, 'key.pem')}\n`,
      )
    const bare = (...more: string[]): string[] => [
      'download',
      '--series',
      SERIES,
      '--from',
      iso(p.start),
      '--to',
      iso(p.end),
      '--tape',
      'tape',
      '--replace',
      ...more,
    ]
    settings(p.server.url)
    // The key is the file's: an account without one has no tier.
    expect((await runJson(dir, bare())).data).toMatchObject({ tier: 'basic', request: { environment: 'local' } })
    settings(nobody)
    const variable = { TAPELINE_KALSHI_LOCAL_URL: p.server.url }
    expect((await runJson(dir, bare(), variable)).data).toMatchObject({ tier: 'basic' })
    const flag = ['--environment', 'local', '--url', p.server.url]
    expect((await runJson(dir, bare(...flag), { TAPELINE_KALSHI_LOCAL_URL: nobody })).data).toMatchObject({ tier: 'basic' })
    const none = join(dir, 'none.yaml')
    writeFileSync(none, 'kalshi:\n  environment: demo\n')
    expect((await runJson(dir, bare(...flag, '--config', none))).data).toMatchObject({ tier: null })
    writeFileSync(join(dir, 'tapeline.yaml'), 'kalshi:\n  enviroment: local\n')
    const wrong = await runJson(dir, bare())
    expect([wrong.code, wrong.errors[0]?.message]).toEqual([3, expect.stringMatching(/tapeline\.yaml:2:3 kalshi\.enviroment: unknown/)])
  })

  it('reads production by the word alone and without a key of the file, unless a profile names it', async () => {
    const dir = folder()
    const config = join(dir, 'tapeline.yaml')
    writeFileSync(
      config,
      `kalshi:\n  environment: demo\n  keyId: demo-key\n  keyFile: /demo.pem\nprofiles:\n  real:\n    kalshi:\n      environment: production\n      keyId: real-key\n      keyFile: /real.pem\n`,
    )
    const found = (more: object) => accessOf({ config, ...more })
    expect(await found({})).toEqual({ name: 'demo', environment: 'demo', key: { id: 'demo-key', file: '/demo.pem' } })
    expect(await found({ environment: 'production' })).toEqual({ name: 'production', environment: 'production', key: null })
    expect(await found({ environment: 'production', profile: 'real' })).toMatchObject({ name: 'production', key: { id: 'real-key' } })
    await expect(found({ profile: 'real' })).rejects.toThrow(/add --environment production to the command line/)
    await expect(found({ environment: 'production', url: 'http://127.0.0.1:9' })).rejects.toThrow(/--url goes with --environment local/)
  })

  it('makes a tape that `favorite` runs on, that is verified and exported, with a key of its own', async () => {
    const p = await past({ minutes: 24 })
    const dir = folder()
    const { keyId, privatePem } = giveKey(p.x, p.x.openAccount('a', [{ shard: 0, amount: 1_000_000_000 }], 'basic'), 'ed25519')
    writeFileSync(join(dir, 'key.pem'), privatePem, { mode: 0o600 })
    const made = await runJson(dir, order(p, '--candles', '1m', '--lag', '250ms', '--key-id', keyId, '--key-file', 'key.pem'))
    expect(made.data).toMatchObject({ tier: 'basic', volumeUnequal: [] })
    // The exchange counts too, and had nothing to refuse: 200 tokens a second, 10 each.
    expect(made.data?.['answers']).toEqual({ ok: made.data?.['requests'] })
    expect(Number(made.data?.['requests'])).toBeGreaterThan(30)
    expect((await runProgram(dir, ['data', 'verify', 'tape'])).stdout).toBe('tape is whole\n')
    const run = await runJson(dir, ['backtest', '--strategy', 'favorite', '--tape', 'tape', '--param', 'from=60', '--out', 'run'])
    expect([run.code, run.data?.['complete'] ?? true]).toEqual([0, true])
    // Candles are passed over: without them the run is the same.
    await runJson(
      dir,
      order(p, '--lag', '250ms').map((a) => (a === 'tape' ? 'plain' : a)),
    )
    const plain = await runJson(dir, ['backtest', '--strategy', 'favorite', '--tape', 'plain', '--param', 'from=60', '--out', 'other'])
    const fills = async (out: string) => (await parquetRows(join(dir, out, 'journal.parquet'))).filter((r) => r['kind'] === 'fill')
    expect((await fills('run')).length).toBeGreaterThan(0)
    expect(await fills('run')).toEqual(await fills('other'))
    expect(plain.code).toBe(0)
    expect((await runProgram(dir, ['report', 'export', 'tape', '--parquet', '--out', 'out'])).code).toBe(0)
    const candles = await parquetRows(join(dir, 'out', 'candles.parquet'))
    expect(candles).toHaveLength([...p.x.markets.values()].reduce((n, m) => n + m.candles.query(p.start, p.end, 60_000_000).length, 0))
    expect(candles.find((c) => c['price_close'] !== null)).toMatchObject({ period: 60_000_000 })
  })

  it('warns of a volume that does not match, and with --strict exits 9; wrong use is one sentence', async () => {
    const p = await past({ minutes: 12 })
    p.x.trades.splice(5, 1)
    const dir = folder()
    const warned = await runProgram(dir, order(p))
    expect([warned.code, warned.stderr]).toEqual([
      0,
      expect.stringMatching(
        /^warning: the trades of KXPRACTICE15M-\S+ \([\d,.]+ of [\d,.]+ contracts\) do not make up the volume of the exchange\n$/,
      ),
    ])
    const strict = await runJson(dir, order(p, '--strict', '--replace'))
    expect([strict.code, strict.errors[0]?.code]).toEqual([9, 'VOLUME_MISMATCH'])
    for (const [args, code, message] of [
      [['--tape', 't', ...access(p)], 2, /^error: what is to be downloaded\? Give --series/],
      [['--tape', 't', '--series', 'X', ...access(p)], 2, /--series needs --from/],
      [['--tape', 't', '--market', '../x', ...access(p)], 2, /--market ..\/x: not a ticker/],
      [['--tape', 't', '--market', 'X', '--environment', 'local'], 2, /needs --url/],
      [['--tape', 't', '--market', 'X', '--to', '2999-01-01'], 2, /--to 2999-01-01 lies in the future/],
      [
        ['--tape', 't', '--market', 'X', '--environment', 'local', '--url', 'http://10.0.0.1'],
        2,
        /^error: --url http:\/\/10.0.0.1: an exchange on this machine alone has an address of its own/,
      ],
      [
        ['--tape', 't', '--market', 'X', '--key-id', 'a', ...access(p)],
        2,
        /--key-file was given alone|--key-id was given alone|a key is --key-id and --key-file together/,
      ],
      [['--tape', 't', '--market', 'KXNONE-1', ...access(p)], 4, /lists no market of market KXNONE-1/],
    ] as const) {
      const { code: got, stderr } = await runProgram(dir, ['download', ...args])
      expect([got, stderr]).toEqual([code, expect.stringMatching(message)])
      expect(stderr.trim().split('\n')).toHaveLength(1)
    }
    expect(readdirSync(dir).sort()).toEqual(['tape'])
  })
})
