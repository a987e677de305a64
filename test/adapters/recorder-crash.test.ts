import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Recorder } from '../../adapters/recorder/recorder.ts'
import type { Manifest } from '../../data/schema.ts'
import { verifyTape } from '../../data/verify.ts'
import { Kind } from '../../engine/message.ts'
import { bundled } from '../support/bundle.ts'
import { integer, random } from '../support/random.ts'
import { randomTape } from '../support/rows.ts'
import { named, readNamed } from '../support/recordings.ts'

let program = ''
beforeAll(() => {
  program = bundled('test/support/recording.ts')
})
afterAll(() => rmSync(program, { force: true }))

/** Runs a recording and kills it (SIGKILL) `after` ms past its opening, or lets it end. Its lines. */
function recording(dir: string, seed: number, rows: number, part: number, after: number): Promise<string[]> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [program, 'record', dir, String(seed), String(rows), String(part)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let out = ''
    let timer: NodeJS.Timeout | null = null
    child.stdout.on('data', (text: Buffer) => {
      out += text.toString()
      timer ??= setTimeout(() => child.kill('SIGKILL'), after)
    })
    child.on('close', () => {
      if (timer !== null) clearTimeout(timer)
      // The last line may be half a line.
      done(
        out
          .slice(0, out.lastIndexOf('\n') + 1)
          .trim()
          .split('\n'),
      )
    })
  })
}
const syncedRows = (lines: readonly string[]): number =>
  Number(
    lines
      .filter((l) => l.startsWith('synced'))
      .at(-1)
      ?.split(' ')[1] ?? 0,
  )
const manifestOf = (dir: string): Manifest => JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as Manifest

describe('a recording that is killed', () => {
  it('loses nothing that was synced, at any moment, many times over', async () => {
    const deadline = Date.now() + 35_000
    const tally = { killed: 0, ended: 0, again: 0, inLog: 0 }
    let most = 0
    for (let seed = 1; seed < 200 && (seed <= 6 || Date.now() < deadline); seed++) {
      const next = random(seed)
      const dir = mkdtempSync(join(tmpdir(), 'tapeline-crash-'))
      const tape = join(dir, 'tape')
      const wanted = named(randomTape({ seed, rows: 9000, markets: 3, gaps: true }).rows, [
        'KXTEST0-26JAN01-B0',
        'KXTEST1-26JAN01-B1',
        'KXTEST2-26JAN01-B2',
      ])
      const lines = await recording(tape, seed, 9000, integer(next, 150, 3000), integer(next, 0, 900))
      const finished = lines.at(-1) === 'finished'
      tally[finished ? 'ended' : 'killed']++
      // As a reader finds it, before anybody mends anything.
      const found = await readNamed(tape)
      expect(found).toEqual(wanted.slice(0, found.length))
      expect(found.length).toBeGreaterThanOrEqual(syncedRows(lines))
      expect(await verifyTape(tape)).toEqual([])
      const before = manifestOf(tape)
      if ((before.growing?.rows ?? Infinity) < found.length) tally.inLog++
      let kept = found.length
      if (seed % 3 === 0 && !finished) {
        // Killed again, in its recovery or soon after it.
        tally.again++
        const more = await recording(tape, seed + 1000, 9000, 700, integer(next, 0, 150))
        const again = await readNamed(tape)
        expect(again.slice(0, kept)).toEqual(found)
        expect(again.length).toBeGreaterThanOrEqual(syncedRows(more))
        kept = again.length
      }
      const files = new Map(
        manifestOf(tape)
          .files.filter((f) => f.path.startsWith('messages/'))
          .map((f) => [f.path, f.sha256]),
      )
      const recorder = await Recorder.open(tape, { source: 'test', spaceMin: 0 })
      expect(recorder.status.rowsInParts).toBe(kept)
      const manifest = await recorder.finish()
      // No file that was written is lost or changed.
      for (const [path, sha256] of files) expect(manifest.files.find((f) => f.path === path)?.sha256).toBe(sha256)
      const rows = await readNamed(tape)
      expect(rows.slice(0, found.length)).toEqual(found)
      const sync = rows.slice(kept)
      expect(sync.every((r) => r.kind === Kind.SYNC)).toBe(true)
      if (found.length > 300) expect(sync.length).toBe(3)
      expect(await verifyTape(tape)).toEqual([])
      expect(existsSync(join(tape, 'log'))).toBe(false)
      most = Math.max(most, found.length)
      rmSync(dir, { recursive: true, force: true })
    }
    console.log(
      `killed ${tally.killed} (${tally.again} twice), ended by itself ${tally.ended}; rows found in the log ${tally.inLog} times, at most ${most} rows`,
    )
    expect(tally.killed).toBeGreaterThan(3)
    expect(tally.inLog).toBeGreaterThan(1)
  }, 58_000)
})

describe('a recording of many markets', () => {
  it('has flat memory over ten thousand births and deaths', () => {
    const dir = mkdtempSync(join(tmpdir(), 'tapeline-births-'))
    try {
      const out = execFileSync(process.execPath, ['--expose-gc', program, 'births', join(dir, 'tape'), '0', '10000', '20000'], {
        encoding: 'utf8',
      })
      const figures = JSON.parse(out.trim().split('\n').at(-1) ?? '') as { heap: number[]; rows: number; markets: number; alive: number }
      console.log(`heap in MB after each tenth: ${figures.heap.map((b) => (b / 1e6).toFixed(1)).join(' ')}; ${figures.rows} rows`)
      expect(figures.markets).toBe(10_000)
      expect(figures.alive).toBe(0)
      const [early, late] = [figures.heap[1] as number, figures.heap.at(-1) as number]
      expect(late - early).toBeLessThan(4e6)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  }, 58_000)
})
