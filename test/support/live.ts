/** Live sessions and the local exchange of the shipped program, as processes that a test starts and ends. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PROGRAM, type Envelope } from './program.ts'

const children: ChildProcess[] = []
/** Ends what the test has started. */
export function endAll(): void {
  for (const child of children.splice(0)) child.kill('SIGKILL')
}

export type Started = { readonly child: ChildProcess; readonly ended: Promise<{ code: number | null; out: string; err: string }> }
export function start(cwd: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  const child = spawn(process.execPath, [PROGRAM, ...args], { cwd, env: { ...process.env, NO_COLOR: '1', ...env } })
  children.push(child)
  let [out, err] = ['', '']
  child.stdout.on('data', (d: Buffer) => (out += d.toString()))
  child.stderr.on('data', (d: Buffer) => (err += d.toString()))
  return { child, ended: new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err }))) }
}
export async function until<T>(what: string, look: () => T | null | false): Promise<T> {
  const end = performance.now() + 25_000
  for (;;) {
    const found = look()
    if (found !== null && found !== false) return found
    if (performance.now() > end) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}
export type Status = {
  readonly pid: number
  readonly state: { readonly name: string }
  readonly rows: { readonly total: number; readonly externals: number }
  readonly orders: { readonly sent: number; readonly fills: number; readonly working: number }
  readonly feed: {
    readonly marketsSynced: number
    readonly connections: readonly { readonly connects: number; readonly silent: number | null }[]
  }
  readonly errors: readonly { readonly text: string }[]
}
export const statusOf = (session: string): Status | null =>
  existsSync(join(session, 'status.json')) ? (JSON.parse(readFileSync(join(session, 'status.json'), 'utf8')) as Status) : null

/** An exchange of the shipped program, and what a paper session on it is started with. */
export async function exchange(
  cwd: string,
  args: readonly string[],
): Promise<
  Started & {
    readonly access: readonly string[]
    readonly admin: (path: string, body: unknown) => Promise<void>
    readonly markets: readonly string[]
  }
> {
  const started = start(cwd, ['exchange', '--json', '--key-type', 'ed25519', '--duration', '3m', ...args])
  let out = ''
  started.child.stdout?.on('data', (d: Buffer) => (out += d.toString()))
  await until('the exchange is ready', () => out.includes('\n'))
  const { data } = JSON.parse(out.slice(0, out.indexOf('\n'))) as Envelope
  const { rest, clock, accounts, admin, markets } = data as {
    rest: string
    clock: { scale: number }
    accounts: { keyId: string; keyFile: string }[]
    admin: string | null
    markets: string[]
  }
  const access = ['--environment', 'local', '--url', rest, '--key-id', accounts[0]?.keyId ?? '', '--key-file', accounts[0]?.keyFile ?? '']
  const order = async (path: string, body: unknown): Promise<void> => {
    const answer = await fetch(`${admin}/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`)
  }
  return { ...started, access: clock.scale === 1 ? access : [...access, '--clock', JSON.stringify(clock)], admin: order, markets }
}
