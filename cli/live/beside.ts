/** What was done to a live session beside its engine, as a line each for `status`: a halt that stands, what was proved to be closed, what was flattened and is not in its record yet. Owns the words; hides files. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { readHalt } from '../halt.ts'
import type { SessionSnapshot } from '../session-status.ts'
import { OPERATOR_LOG } from './operator-log.ts'

/** As `flatten` keeps it. */
export type FlattenedFill = { readonly trade: string; readonly ticker: string; readonly quantity: number }

/** Of an engine that runs its own status says everything but the halt. */
export function besideText(
  dir: string,
  { written, positions }: Pick<SessionSnapshot, 'written' | 'positions'>,
  running: boolean,
): string[] {
  const lines: string[] = []
  const halt = readHalt(dirname(resolve(dir)))
  if (halt !== null)
    lines.push(
      `HALTED    ${halt.path} stands (${halt.reason}): nothing trades before \`tapeline resume ${dir} --reason …\`${running ? '' : ', then `live arm` and `live --resume`'}`,
    )
  if (running) return lines
  const proved = linesOf(join(dir, OPERATOR_LOG)).findLast((l) => provedAt(l) !== null)
  const at = proved === undefined ? null : provedAt(proved)
  if (proved !== undefined && at !== null && at > written)
    lines.push(
      `NOTICE    since then: nothing of its orders was open at ${iso(at)} (proved by ${proved['what'] === 'takeover' ? '`tapeline watch`' : '`tapeline halt`'})`,
    )
  const fills = flattenedSince(dir, written)
  if (fills.length > 0)
    lines.push(
      `NOTICE    since then: \`tapeline flatten\` traded ${fills.reduce((a, f) => a + f.quantity, 0) / 100} contracts in ${new Set(fills.map((f) => f.ticker)).size} markets; its record has them when it goes on (\`live --resume\`)${positions.length > 0 ? ', and the positions shown are those before' : ''}`,
    )
  return lines
}
/** Fills of `flatten` since then (ms), by the files that it kept. */
export function flattenedSince(dir: string, since: number): readonly FlattenedFill[] {
  if (!existsSync(dir)) return []
  return readdirSync(dir)
    .filter((name) => /^flatten-\d+\.ndjson$/.test(name))
    .flatMap((name) => linesOf(join(dir, name)))
    .filter((l) => l['what'] === 'flattened' && Date.parse(String(l['time'])) > since)
    .flatMap((l) => (l['fills'] as readonly FlattenedFill[] | undefined) ?? [])
}

type Line = Readonly<Record<string, unknown>>
/** A line that is not whole is none. */
function linesOf(path: string): Line[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return []
  }
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as Line]
    } catch {
      return []
    }
  })
}
/** ms of this machine's clock at which it was proved that nothing is open; null: it says nothing of it. */
function provedAt(line: Line): number | null {
  const proved = line['what'] === 'takeover' ? line['proved'] : line['what'] === 'halt' ? line['provedEmpty'] : null
  return typeof proved === 'number' ? Date.parse(String(line['time'])) : null
}
function iso(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
