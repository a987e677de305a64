/**
 * One live engine to an account on this machine. Owns the lock, its name and what its holder says of itself; hides that it is a socket. Invariants: of any number of processes that want the same
 * (environment, key, subaccount) one gets it; the kernel lets go when the process is gone, however it went, so that nothing stale can stand in the way.
 *
 * Linux: a socket in the abstract namespace (no file, so nothing is left behind and nothing can be removed under it). Windows: a named pipe. Elsewhere: a file that the kernel locks, never removed,
 * because between two programs that remove and make it again both would have theirs. Two containers that share no network namespace are two machines here.
 */
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { EXIT, UsageError } from '../exit.ts'

export type LiveOwner = {
  /** `demo`, `production`, or the address of an exchange on this machine. */
  readonly environment: string
  readonly keyId: string
  readonly subaccount: number
}
export type LiveLock = {
  /** Read by the gate before every write. */
  held(): boolean
  release(): Promise<void>
}
type Means = 'socket' | 'file'

const ASK_MS = 1_000
const ANSWER_BYTES = 2_048

/** Two addresses of one machine are one exchange. */
function nameOf({ environment, keyId, subaccount }: LiveOwner): string {
  const place = environment.replace(/\/\/(localhost|\[::1\])(?=[:/]|$)/, '//127.0.0.1').replace(/\/+$/, '')
  return createHash('sha256')
    .update(JSON.stringify([place, keyId, subaccount]))
    .digest('hex')
    .slice(0, 40)
}

/** Takes the lock before any network call. `session`: what the holder is called, for whoever finds it taken. Throws LIVE_BUSY. */
export async function takeLock(
  owner: LiveOwner,
  session: string,
  means: Means = process.platform === 'linux' || process.platform === 'win32' ? 'socket' : 'file',
): Promise<LiveLock> {
  return means === 'socket' ? bySocket(owner, session) : byFile(owner)
}

async function bySocket(owner: LiveOwner, session: string): Promise<LiveLock> {
  const name = `tapeline-live-${nameOf(owner)}`
  const path = process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : `\0${name}`
  const said = JSON.stringify({ pid: process.pid, session: session.slice(0, 300), since: new Date().toISOString() })
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(said)
  })
  try {
    await listening(server, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw busy(owner, await holderOf(path))
  }
  // It ends with the process and keeps none alive.
  server.unref()
  server.on('error', () => {})
  return {
    held: () => server.listening,
    release: () => new Promise((resolve) => (server.listening ? server.close(() => resolve()) : resolve())),
  }
}
function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    // Exclusive: a child of a cluster would share its parent's.
    server.listen({ path, exclusive: true }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
/** What the holder says; null when it does not in time, as when its loop stands still. */
function holderOf(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect({ path })
    const done = (): void => {
      clearTimeout(timer)
      socket.destroy()
      try {
        const { pid, session, since } = JSON.parse(text) as Record<string, unknown>
        resolve(`process ${Number(pid)}, session ${String(session).replace(/\p{Cc}/gu, ' ')}, since ${String(since).slice(0, 19)}Z`)
      } catch {
        resolve(null)
      }
    }
    const timer = setTimeout(done, ASK_MS)
    socket.setEncoding('utf8')
    socket.on('data', (piece: string) => {
      text += piece
      if (text.length > ANSWER_BYTES) done()
    })
    socket.on('error', done)
    socket.on('end', done)
  })
}

/** The kernel's locks of files are a process's: inside one, this is it. */
const held = new Set<string>()
async function byFile(owner: LiveOwner): Promise<LiveLock> {
  const folder = join(homedir(), '.tapeline', 'live')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `${nameOf(owner)}.lock`)
  if (held.has(path)) throw busy(owner, `process ${process.pid}`)
  held.add(path)
  let letGo: (() => void) | null = null
  try {
    const { holdFile } = await import('../../data/parquet.ts')
    letGo = await holdFile(path)
  } catch (error) {
    held.delete(path)
    throw new UsageError(
      `${path}, which keeps a second live engine away, cannot be locked (${error instanceof Error ? error.message.split('\n')[0] : String(error)}): if no live session runs on this machine, remove it`,
      EXIT.gate,
      'LIVE_BUSY',
    )
  }
  if (letGo === null) {
    held.delete(path)
    throw busy(owner, null)
  }
  const release = letGo
  return {
    held: () => held.has(path),
    release: async () => {
      if (held.delete(path)) release()
    },
  }
}

function busy({ environment, subaccount }: LiveOwner, holder: string | null): UsageError {
  return new UsageError(
    `a live engine trades this key and subaccount ${subaccount} of ${environment} on this machine already (${holder ?? 'it does not say who it is: look with ps'}): end it first, or give this one a subaccount and a key of its own`,
    EXIT.gate,
    'LIVE_BUSY',
  )
}
