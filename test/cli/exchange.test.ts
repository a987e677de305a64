import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { signRequest, VirtualClock } from '../../adapters/exchange/index.ts'
import { makePracticeTape } from '../../adapters/practice/practice-tape.ts'
import { SocketClient } from '../adapters/exchange/support.ts'

/** The shipped program, as its user starts and stops it. */
const program = fileURLToPath(new URL('../../dist/tapeline.js', import.meta.url))
const built = existsSync(program)
const folders: string[] = []
const children: ChildProcessWithoutNullStreams[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true })
})
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'tapeline-'))
  folders.push(dir)
  return dir
}
type Envelope = { schema: string; ok: boolean; data: any; errors: { code: string; message: string }[] }

async function start(
  dir: string,
  ...args: string[]
): Promise<{
  envelope: Envelope
  child: ChildProcessWithoutNullStreams
  ended: Promise<{ code: number | null; out: string; err: string }>
}> {
  const child = spawn(process.execPath, [program, 'exchange', '--json', ...args], { cwd: dir })
  children.push(child)
  let out = ''
  let err = ''
  child.stderr.on('data', (d: Buffer) => (err += d.toString()))
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, out, err })),
  )
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (d: Buffer) => {
      out += d.toString()
      if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')))
    })
    void ended.then(() => reject(new Error(`it ended: ${err}`)))
  })
  return { envelope: JSON.parse(line) as Envelope, child, ended }
}
function refused(dir: string, ...args: string[]): [number | null, string] {
  const { status, stderr } = spawnSync(process.execPath, [program, 'exchange', ...args], { cwd: dir, encoding: 'utf8' })
  return [status, stderr.trim()]
}

describe.skipIf(!built)(`tapeline exchange${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('says where it is and with which keys, takes a signed order by its clock, and stops on Ctrl-C with money that adds up', async () => {
    const dir = folder()
    const { envelope, child, ended } = await start(dir, '--practice', '--scale', '10', '--admin-port', '0', '--key-type', 'ed25519')
    expect([envelope.schema, envelope.ok]).toEqual(['tapeline.exchange/1', true])
    const { rest, socket, admin, clock, accounts, markets } = envelope.data
    for (const url of [rest, socket, admin]) expect(url).toMatch(/^(http|ws):\/\/127\.0\.0\.1:\d+/)
    expect([accounts.length, markets.length]).toEqual([2, 4])
    const pem = join(dir, accounts[0].keyFile)
    expect([statSync(pem).mode & 0o777, statSync(join(dir, 'exchange-keys')).mode & 0o777]).toEqual([0o600, 0o700])
    const virtual = new VirtualClock(clock)
    const call = async (method: string, path: string, body?: unknown): Promise<[number, any]> => {
      const headers = signRequest(accounts[0].keyId, readFileSync(pem, 'utf8'), virtual.now(), method, `/trade-api/v2${path}`)
      const response = await fetch(`${rest}${path}`, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
      return [response.status, await response.json()]
    }
    expect((await call('GET', '/portfolio/balance'))[1].balance_dollars).toBe('10000.0000')
    const order = {
      ticker: markets[0],
      side: 'bid',
      count: '10.00',
      price: '0.9900',
      time_in_force: 'immediate_or_cancel',
      self_trade_prevention_type: 'taker_at_cross',
    }
    expect(await call('POST', '/portfolio/events/orders', order)).toMatchObject([201, { fill_count: '10.00' }])
    child.kill('SIGINT')
    const { code, out, err } = await ended
    expect([code, out.trim().split('\n').length]).toEqual([0, 1])
    expect(err).toContain('Stopped: Ctrl-C')
    expect(err).toContain('money adds up')
    // The keys are kept: a second start knows the client again.
    const again = await start(dir, '--practice', '--duration', '1s')
    expect(again.envelope.data.accounts[0].keyId).toBe(accounts[0].keyId)
    expect((await again.ended).err).toContain('--duration 1s is over')
  })

  it('names the port that is taken, which may be the admin door, and ends at once', async () => {
    const dir = folder()
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    for (const [option, ...args] of [
      ['--admin-port', '--admin-port', `${port}`],
      ['--port', '--port', `${port}`],
      ['--port', '--port', `${port}`, '--admin-port', '0'],
    ] as const) {
      const child = spawn(process.execPath, [program, 'exchange', '--practice', ...args], { cwd: dir })
      children.push(child)
      let err = ''
      child.stderr.on('data', (d: Buffer) => (err += d.toString()))
      const code = await Promise.race([
        once(child, 'exit').then(([c]) => c),
        new Promise((resolve) => setTimeout(resolve, 20_000, 'never')),
      ])
      expect([code, err.trim()]).toEqual([
        2,
        `error: ${option} ${port}: the port is taken or not allowed; give another, or 0 for any free one`,
      ])
    }
    taken.close()
  })

  it('prints the clock that clients need, and a client without it says so at once', async () => {
    const dir = folder()
    const child = spawn(process.execPath, [program, 'exchange', '--practice', '--scale', '20', '--duration', '2m'], { cwd: dir })
    children.push(child)
    let out = ''
    child.stdout.on('data', (d: Buffer) => (out += d.toString()))
    while (!out.includes('Stop ')) await once(child.stdout, 'data')
    const pick = (re: RegExp): string => re.exec(out)?.[1] ?? 'nothing'
    const clock = pick(/--clock '(\{.+\})'/)
    expect(JSON.parse(clock)).toMatchObject({ scale: 20 })
    const record = (tape: string, ...more: string[]): string => {
      const args = ['record', '--tape', tape, '--series', 'KXPRACTICE15M', '--environment', 'local', '--url', pick(/REST +(\S+)/)]
      const key = ['--key-id', pick(/key (\S+)/), '--key-file', pick(/key \S+ +(\S+)/), '--duration', '1s']
      return spawnSync(process.execPath, [program, ...args, ...key, ...more], { cwd: dir, encoding: 'utf8' }).stderr
    }
    expect(record('given', '--clock', clock)).not.toMatch(/clock/)
    expect(record('none')).toMatch(
      /the local exchange's clock (stands \d+ s ahead of|runs about (19|20|21) times as fast as) this session's.*--clock/,
    )
    // Later the signature is refused, too: not the key is to blame.
    await new Promise((resolve) => setTimeout(resolve, 12_000))
    expect(record('late')).toMatch(/^(warning|error): .*the local exchange's clock stands [\d,]+ s ahead of this session's.*--clock/)
  }, 90_000)

  it('holds a tape with its first books until a client subscribes, or for as long as it was told; --start ties it to the clock', async () => {
    const dir = folder()
    await makePracticeTape(join(dir, 'tape'), { seed: 3, markets: 1, days: 1, rate: 30, rowsMax: 4000 })
    const { envelope, child, ended } = await start(dir, '--tape', 'tape', '--key-type', 'ed25519')
    const { rest, socket, clock, accounts, markets, tapeWaits } = envelope.data
    expect([tapeWaits, markets.length]).toEqual([true, 1])
    const book = async (): Promise<string> => (await fetch(`${rest}/markets/${markets[0]}/orderbook`)).text()
    const first = await book()
    expect(first).toContain('0.')
    await new Promise((resolve) => setTimeout(resolve, 1000))
    expect(await book()).toBe(first)
    const pem = readFileSync(join(dir, accounts[0].keyFile), 'utf8')
    const headers = signRequest(accounts[0].keyId, pem, new VirtualClock(clock).now(), 'GET', '/trade-api/ws/v2')
    const client = new SocketClient(new WebSocket(socket, { headers }))
    await client.opened
    client.send('subscribe', { channels: ['orderbook_delta'], market_tickers: markets })
    const snapshot = await client.until((m) => m['type'] === 'orderbook_snapshot')
    const { yes_dollars_fp: yes, no_dollars_fp: no } = snapshot['msg']
    expect({ yes_dollars: yes, no_dollars: no }).toEqual(JSON.parse(first).orderbook_fp)
    await client.until((m) => m['type'] === 'orderbook_delta')
    child.kill('SIGINT')
    expect((await ended).err).toMatch(/^the tape begins: a client has subscribed\n/)
    const alone = await start(dir, '--tape', 'tape', '--wait', '1s', '--duration', '2s')
    expect((await alone.ended).err).toMatch(/^the tape begins: nobody has subscribed\n/)
    for (const args of [
      ['--wait', '0s'],
      ['--start', '2026-01-01'],
    ]) {
      const tied = await start(dir, '--tape', 'tape', '--duration', '1s', ...args)
      expect([tied.envelope.data.tapeWaits, (await tied.ended).err]).toEqual([false, expect.not.stringContaining('begins')])
    }
    expect(refused(dir, '--tape', 'tape', '--wait', '5s', '--start', '2026-01-01')).toEqual([
      2,
      'error: --wait goes without --start, at which the tape begins',
    ])
    expect(refused(dir, '--practice', '--wait', '5s')).toEqual([2, 'error: --wait holds a tape back: it goes with --tape'])
  }, 30_000)

  it('says in one sentence what is wrong', () => {
    const dir = folder()
    expect(refused(dir)).toEqual([2, 'error: an exchange needs strangers: give --practice, --tape <folder>, or both'])
    expect(refused(dir, '--tape', 'nowhere')).toEqual([4, expect.stringContaining('nowhere is not a tape')])
    expect(refused(dir, '--practice', '--accounts', '0')).toEqual([2, 'error: --accounts 0: a whole number from 1 to 50'])
    expect(refused(dir, '--practice', '--duration', 'long')).toEqual([2, expect.stringContaining('--duration long: not a duration')])
    expect(refused(dir, '--practice', '--port', '80000')[0]).toBe(2)
    writeFileSync(join(dir, 'faults.json'), '{"rules":[{"on":"frame","do":"explode"}]}')
    expect(refused(dir, '--practice', '--faults', 'faults.json')).toEqual([3, expect.stringContaining('--faults faults.json: rules.0.do')])
    expect(refused(dir, '--practice', '--faults', 'none.json')).toEqual([3, 'error: --faults none.json: the file does not exist'])
  })
})
