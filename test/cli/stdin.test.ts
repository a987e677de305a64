import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { endAll, exchange, start, statusOf, until } from '../support/live.ts'
import { PROGRAM, runJson, type Envelope } from '../support/program.ts'
import { folder, removeFolders, rowsOf } from '../support/tapes.ts'

/** Outside values through a pipe into the shipped program. */
const built = existsSync(PROGRAM)
afterEach(() => {
  endAll()
  removeFolders()
})
const values = async (tape: string): Promise<unknown[]> =>
  (await rowsOf(tape)).filter((r) => r.kind === 'external').map((r) => [r.detail?.['series'], r.detail?.['value']])

describe.skipIf(!built)(`--external -${built ? '' : ' (skipped: dist/ is not built, run npm run build)'}`, () => {
  it('takes what is written to stdin, line by line as it comes, whatever its pieces; its end ends nothing; a resumed session takes new lines', async () => {
    const dir = folder()
    mkdirSync(join(dir, 'mine'))
    // It says what it heard, in the journal.
    writeFileSync(
      join(dir, 'mine/ear.mjs'),
      "export default () => ({ name: 'ear', parameters: {}, onExternal(v, desk) { this.m && desk.forecast(this.m, v.value / 1000) }, onBook(b) { this.m ??= b.market } })\n",
    )
    const x = await exchange(dir, ['--practice', '--markets', '1', '--life', '1h', '--rate', '10'])
    const heard = (): number => statusOf(join(dir, 's'))?.rows.externals ?? 0
    const args = '--strategy mine/ear.mjs --series KXPRACTICE15M --out s --external - --json'.split(' ')
    const first = start(dir, ['paper', ...args, ...x.access])
    await until('a book', () => statusOf(join(dir, 's'))?.feed.marketsSynced === 1)
    const write = (text: string): void => void first.child.stdin?.write(text)
    write('{"series":"a","value":1}\n{"series":"b","val')
    await until('one value', () => heard() === 1)
    // Known in an hour: it holds back nobody.
    write(`ue":2}\n{"series":"far","value":9,"known":"${new Date(Date.now() + 3_600_000).toISOString()}"}\nnonsense\n`)
    write('{"series":"a","value":3}\r\n')
    await until('three values', () => heard() === 3)
    write('{"series":"a","value":4}')
    first.child.stdin?.end()
    await until('the last line, which has no end', () => heard() === 4)
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    expect(statusOf(join(dir, 's'))?.errors.map((e) => e.text)).toEqual(['stdin:4: not JSON; the line was skipped'])
    first.child.kill('SIGKILL')
    await first.ended
    const second = start(dir, ['paper', '--resume', 's', ...x.access, '--json'])
    await until(
      'it goes on',
      () => statusOf(join(dir, 's'))?.pid === second.child.pid && statusOf(join(dir, 's'))?.feed.marketsSynced === 1,
    )
    second.child.stdin?.write('{"series":"a","value":1}\n')
    await until('a new value', () => heard() === 1)
    second.child.kill('SIGTERM')
    const { code, out } = await second.ended
    expect([code, (JSON.parse(out) as Envelope).errors[0]?.code]).toEqual([143, 'TERMINATED'])
    expect(await values(join(dir, 's/tape'))).toEqual([
      ['a', 1],
      ['b', 2],
      ['a', 3],
      ['a', 4],
      ['a', 1],
    ])
    const replay = await runJson(dir, ['replay', 's'])
    expect([replay.code, replay.data?.['equal']]).toEqual([0, true])
  }, 60_000)

  it('is recorded, and a pipe that runs faster than it is read loses nothing', async () => {
    const dir = folder()
    const x = await exchange(dir, ['--practice', '--markets', '1', '--life', '1h', '--rate', '5'])
    const record = start(dir, ['record', '--tape', 'rec', '--series', 'KXPRACTICE15M', '--external', '-', ...x.access, '--json'])
    const lines = Array.from({ length: 30_000 }, (_, n) => `{"series":"fast","value":${n}}\n`)
    record.child.stdin?.end(lines.join(''))
    await until('all of them', () => (statusOf(join(dir, 'rec'))?.rows.externals ?? 0) === lines.length)
    record.child.kill('SIGTERM')
    expect((await record.ended).code).toBe(143)
    expect((await values(join(dir, 'rec'))).map((v) => (v as [string, number])[1])).toEqual(lines.map((_, n) => n))
  }, 60_000)
})
