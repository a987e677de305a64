/**
 * Answers kept as they came in: `<tape>.download/`, so that a download that was broken off asks for nothing twice. Owns the folder, its lock and the form of a line; hides files.
 * Invariants: a line is written whole and to the disk before anybody counts on it; a torn last line (the process was killed) is cut off, any other damage is an error;
 * the folder belongs to one request and to one process at a time.
 *
 * ```
 * <tape>.download/
 *   request.json    what was asked for
 *   lock            number of the process that works on it
 *   pages.ndjson    a line each: key, page, cursor asked with, cursor that follows, why it ends (null: it goes on), time, SHA-256, and the body as text
 * ```
 */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open, rm, truncate, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DataError } from '../../../data/errors.ts'
import { makeFolder } from '../../../data/folder.ts'

/** Where a kept answer stands, and what was seen of it when it came. */
export type Page = {
  readonly key: string
  readonly number: number
  /** '' for the first. */
  readonly cursor: string
  readonly next: string
  /** Null: another page follows. */
  readonly end: string | null
  /** When it was answered, RFC 3339. */
  readonly at: string
  readonly offset: number
  readonly length: number
}
/** `endReached`: the list said so itself. */
export const END_REACHED = 'end reached'

type Line = {
  readonly key: string
  readonly page: number
  readonly cursor: string
  readonly next: string
  readonly end: string | null
  readonly at: string
  readonly sha256: string
  readonly body: string
}

export class PageStore {
  readonly folder: string
  readonly path: string
  readonly #file: FileHandle
  readonly #pages = new Map<string, Page[]>()
  readonly #below = new Map<string, string[]>()
  #size: number
  #writing: Promise<void> = Promise.resolve()
  /** Pages that were there when it was opened, and all of them. */
  readonly kept: number
  count: number

  private constructor(folder: string, file: FileHandle, pages: readonly Page[], size: number) {
    this.folder = folder
    this.path = join(folder, 'pages.ndjson')
    this.#file = file
    this.#size = size
    this.kept = this.count = pages.length
    for (const page of pages) this.#add(page)
  }

  /** The folder beside a tape: made, or taken up again. `request` is compared by its text. */
  static async open(tape: string, request: unknown, { restart = false }: { readonly restart?: boolean } = {}): Promise<PageStore> {
    const folder = folderOf(tape)
    makeFolder(folder)
    lock(folder)
    try {
      const about = join(folder, 'request.json')
      const text = `${JSON.stringify(request, null, 1)}\n`
      if (restart) for (const name of ['pages.ndjson', 'request.json']) rmSync(join(folder, name), { force: true })
      if (!existsSync(about)) {
        if (existsSync(join(folder, 'pages.ndjson'))) throw damaged(folder, 'request.json is missing')
        writeFileSync(about, text, { flush: true })
      } else if (readFileSync(about, 'utf8') !== text)
        throw new DataError(
          'DOWNLOAD_OTHER',
          `${folder} keeps the pages of another request (${differences(readFileSync(about, 'utf8'), request)}): give the same options to go on, another --tape, or --restart to throw them away`,
        )
      removeLitter(tape)
      const path = join(folder, 'pages.ndjson')
      const { pages, whole, size } = await scan(path)
      if (whole < size) await truncate(path, whole)
      return new PageStore(folder, await open(path, 'a+', 0o644), pages, whole)
    } catch (error) {
      unlock(folder)
      throw error
    }
  }

  pages(key: string): readonly Page[] {
    return this.#pages.get(key) ?? []
  }
  /** Keys that begin with another and have one part more, in the order in which they were first answered. */
  keysBelow(key: string): readonly string[] {
    return this.#below.get(key) ?? []
  }
  /** How a list ended; null: it has not. */
  endOf(key: string): string | null {
    return this.#pages.get(key)?.at(-1)?.end ?? null
  }

  /** Keeps an answer; when this returns it is on the disk. */
  async append(
    key: string,
    { cursor, next, end, body }: { readonly cursor: string; readonly next: string; readonly end: string | null; readonly body: string },
  ): Promise<void> {
    const number = this.pages(key).length
    const at = new Date().toISOString()
    const line: Line = { key, page: number, cursor, next, end, at, sha256: sha256(body), body }
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
    const turn = this.#writing.then(async () => {
      await this.#file.appendFile(bytes)
      await this.#file.datasync()
      this.#add({ key, number, cursor, next, end, at, offset: this.#size, length: bytes.length })
      this.#size += bytes.length
      this.count++
    })
    this.#writing = turn.catch(() => {})
    return turn
  }

  /** What a kept answer says. */
  async read(page: Page): Promise<Readonly<Record<string, unknown>>> {
    const buffer = Buffer.alloc(page.length)
    const { bytesRead } = await this.#file.read(buffer, 0, page.length, page.offset)
    const line = bytesRead === page.length ? lineOf(buffer) : null
    if (line === null) throw damaged(this.folder, `pages.ndjson changed while it was read (page ${page.number} of ${page.key})`)
    return JSON.parse(line.body) as Record<string, unknown>
  }

  /** The folder stays, for the next call. */
  async close(): Promise<void> {
    await this.#writing
    await this.#file.close()
    unlock(this.folder)
  }
  async remove(): Promise<void> {
    await this.close()
    await rm(this.folder, { recursive: true, force: true })
  }

  #add(page: Page): void {
    const list = this.#pages.get(page.key)
    if (list !== undefined) {
      list.push(page)
      return
    }
    this.#pages.set(page.key, [page])
    const above = page.key.slice(0, Math.max(0, page.key.lastIndexOf('/')))
    const below = this.#below.get(above)
    if (below === undefined) this.#below.set(above, [page.key])
    else below.push(page.key)
  }
}

export function folderOf(tape: string): string {
  return `${tape.replace(/[\\/]+$/, '')}.download`
}
/** The request that a folder keeps pages of; null: there is none. */
export function keptRequest(tape: string): Readonly<Record<string, unknown>> | null {
  const path = join(folderOf(tape), 'request.json')
  if (!existsSync(path)) return null
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  } catch (error) {
    throw new DataError('DOWNLOAD_DAMAGED', `${path} is not JSON: give --restart to throw the kept pages away`, error)
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Every whole line, and where the whole lines end. */
async function scan(path: string): Promise<{ pages: Page[]; whole: number; size: number }> {
  const pages: Page[] = []
  if (!existsSync(path)) return { pages, whole: 0, size: 0 }
  let offset = 0
  let number = 0
  let parts: Buffer[] = []
  let bad = -1
  const counts = new Map<string, number>()
  const take = (bytes: Buffer): void => {
    number++
    // Only the last line may be torn: what follows a bad one was written after it.
    if (bad >= 0) throw damaged(dirname(path), `pages.ndjson:${bad} is not what was written`)
    const line = lineOf(bytes)
    const seen = line === null ? -1 : (counts.get(line.key) ?? 0)
    if (line === null || line.page !== seen) bad = number
    else {
      counts.set(line.key, seen + 1)
      const { key, cursor, next, end, at } = line
      pages.push({ key, number: seen, cursor, next, end, at, offset, length: bytes.length })
      offset += bytes.length
    }
  }
  let size = 0
  for await (const block of createReadStream(path, { highWaterMark: 1 << 20 })) {
    let rest = block as Buffer
    size += rest.length
    for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
      parts.push(rest.subarray(0, at + 1))
      take(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts))
      parts = []
      rest = rest.subarray(at + 1)
    }
    if (rest.length > 0) parts.push(rest)
  }
  return { pages, whole: offset, size }
}

function lineOf(bytes: Buffer): Line | null {
  try {
    const line = JSON.parse(bytes.toString('utf8')) as Line
    return typeof line.key === 'string' && typeof line.body === 'string' && line.sha256 === sha256(line.body) ? line : null
  } catch {
    return null
  }
}

function damaged(folder: string, what: string): DataError {
  return new DataError('DOWNLOAD_DAMAGED', `${folder}: ${what}: give --restart to throw the kept pages away and ask again`)
}

/** Which fields of the request are others now. */
function differences(before: string, after: unknown): string {
  let old: Record<string, unknown> = {}
  try {
    old = JSON.parse(before) as Record<string, unknown>
  } catch {
    return 'its request.json cannot be read'
  }
  const now = after as Record<string, unknown>
  const names = [...new Set([...Object.keys(old), ...Object.keys(now)])].filter((k) => JSON.stringify(old[k]) !== JSON.stringify(now[k]))
  return names.map((k) => `${k} was ${JSON.stringify(old[k] ?? null)}`).join(', ')
}

function lock(folder: string): void {
  const path = join(folder, 'lock')
  for (let attempt = 0; ; attempt++) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' })
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const owner = Number(readFileSync(path, 'utf8'))
    if (attempt > 0 || (owner !== process.pid && isAlive(owner)))
      throw new DataError(
        'DOWNLOAD_BUSY',
        `${folder} is being worked on by process ${owner}: wait for it (remove ${path} if that process is no download)`,
      )
    rmSync(path, { force: true })
  }
}
function unlock(folder: string): void {
  rmSync(join(folder, 'lock'), { force: true })
}
function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    // A process that was killed and that nobody has cleared away yet still has its number.
    const state = existsSync(`/proc/${pid}/stat`) ? /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] : undefined
    return state !== 'Z' && state !== 'X'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Half a tape of a process that is gone stands in the way of nobody, but nobody else removes it. */
function removeLitter(tape: string): void {
  const parent = dirname(tape)
  const prefix = `.${basename(tape)}.partial-`
  for (const name of existsSync(parent) ? readdirSync(parent) : []) {
    const pid = name.startsWith(prefix) ? /^(\d+)(-sort)?$/.exec(name.slice(prefix.length))?.[1] : undefined
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(parent, name), { recursive: true, force: true })
  }
}
