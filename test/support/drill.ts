/** Processes of a drill: the local exchange of the shipped program, something like a live engine, and reads of what the exchange holds. Owns starting and ending them; hides the pipes. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FileQuarantine, KalshiLive, systemWorld } from '../../adapters/kalshi/live.ts'
import type { WireOrder } from '../../adapters/kalshi/wire/answers.ts'
import { bundled } from './bundle.ts'
import { PROGRAM, type Envelope } from './program.ts'

const children: ChildProcess[] = []
const closers: (() => Promise<void>)[] = []
export async function endDrill(): Promise<void> {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const close of closers.splice(0)) await close()
}

export type Started = {
  readonly child: ChildProcess
  out(): string
  readonly ended: Promise<{ code: number | null; out: string; err: string }>
}
export function startProgram(cwd: string, args: readonly string[]): Started {
  return startNode(cwd, [PROGRAM, ...args])
}
function startNode(cwd: string, args: readonly string[]): Started {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TAPELINE_')))
  const child = spawn(process.execPath, args, { cwd, env: { ...env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  let [out, err] = ['', '']
  child.stdout.on('data', (d: Buffer) => (out += d.toString()))
  child.stderr.on('data', (d: Buffer) => (err += d.toString()))
  return { child, out: () => out, ended: new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err }))) }
}
export async function until<T>(what: string, look: () => T | null | false | Promise<T | null | false>, seconds = 90): Promise<T> {
  const end = performance.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (found !== null && found !== false) return found
    if (performance.now() > end) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

export type DrillExchange = {
  readonly started: Started
  readonly rest: string
  readonly admin: string
  readonly ticker: string
  readonly other: string
  readonly key: (n: number) => { readonly keyId: string; readonly keyFile: string }
  /** Everything of the first account, whatever its state. */
  orders(): Promise<readonly WireOrder[]>
  resting(): Promise<readonly WireOrder[]>
  positions(): Promise<readonly { readonly ticker: string; readonly position_fp: unknown }[]>
  say(path: string, body: unknown): Promise<void>
}
export async function startExchange(cwd: string, args: readonly string[] = []): Promise<DrillExchange> {
  const started = startProgram(cwd, [
    ...'exchange --json --practice --markets 2 --life 1h --key-type ed25519 --duration 15m --admin-port 0'.split(' '),
    ...args,
  ])
  await until('the exchange is ready', () => started.out().includes('\n'))
  const { data } = JSON.parse(started.out().slice(0, started.out().indexOf('\n'))) as Envelope
  const { rest, admin, accounts } = data as { rest: string; admin: string; accounts: { keyId: string; keyFile: string }[] }
  const key = (n: number) => ({ keyId: accounts[n]?.keyId ?? '', keyFile: join(cwd, accounts[n]?.keyFile ?? '') })
  const world = systemWorld(new FileQuarantine(join(cwd, 'quarantine.ndjson')))
  const kalshi = new KalshiLive({ environment: rest.replace('/trade-api/v2', ''), ...key(0) }, world)
  closers.push(async () => {
    kalshi.close()
    await world.close()
  })
  const listed = async (status: Record<string, string>): Promise<readonly WireOrder[]> =>
    (await kalshi.rest.list<WireOrder>('orders', { ...status, subaccount: 0, limit: 1000 })).items
  const [ticker = '', other = ''] = await until('two markets are open', async () => {
    const { items } = await kalshi.rest.list<{ ticker: string; status: string }>('markets', { status: 'open' })
    return items.length < 2 ? null : items.map((m) => m.ticker)
  })
  return {
    started,
    rest,
    admin,
    ticker,
    other,
    key,
    orders: () => listed({}),
    resting: () => listed({ status: 'resting' }),
    positions: async () =>
      (await kalshi.rest.list<{ ticker: string; position_fp: unknown }>('positions', { subaccount: 0, count_filter: 'position' })).items,
    say: async (path, body) => {
      const answer = await fetch(`${admin}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    },
  }
}

let bundle: string | null = null
/** Something like a live engine. Returns when its first orders rest. */
export async function startEngine(
  cwd: string,
  x: DrillExchange,
  session: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<Started> {
  bundle ??= bundled('test/support/live-engine.ts')
  const plan = { session: join(cwd, session), rest: x.rest, ...x.key(0), ticker: x.ticker, other: x.other, ...more }
  const started = startNode(cwd, [bundle, JSON.stringify(plan)])
  const before = creates(plan.session).length
  await until('orders rest', () => creates(plan.session).length >= before + 4)
  return started
}
export type Create = {
  readonly client: string
  readonly began: number
  readonly ended: number
  readonly outcome: { readonly kind: string; readonly code?: string }
}
export function creates(session: string): readonly Create[] {
  const path = join(session, 'creates.ndjson')
  if (!existsSync(path)) return []
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((l) => l !== '')
    .map((l) => JSON.parse(l) as Create)
}
