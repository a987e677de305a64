/** Two journals, row by row. Owns what counts as different and how a row reads; hides columns. Invariant: rows are compared by their words, never by the numbers of words. */
import { JOURNAL_KIND_NAMES } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'

export type Difference = {
  readonly row: number
  /** The row of each; null: that journal has ended. */
  readonly was: string | null
  readonly is: string | null
}

const NUMBERS = ['time', 'kind', 'order', 'side', 'price', 'quantity', 'value', 'a', 'b'] as const
const WORDS = ['market', 'owner', 'what', 'why'] as const

/** The first row in which they differ, of the first `rows` (of both, whole, without a number). */
export function firstDifference(was: SessionRecord, is: SessionRecord, rows: number | null = null): Difference | null {
  const [a, b] = [was.journal, is.journal]
  const end = rows ?? Math.max(a.length, b.length)
  const word = (record: SessionRecord, number: number): string => (number < 0 ? '' : (record.strings[number] ?? ''))
  for (let i = 0; i < end; i++) {
    const equal =
      i < a.length &&
      i < b.length &&
      NUMBERS.every((c) => Object.is(a[c][i], b[c][i])) &&
      WORDS.every((c) => word(was, a[c][i] as number) === word(is, b[c][i] as number))
    if (!equal) return { row: i, was: rowText(was, i), is: rowText(is, i) }
  }
  return null
}

/** Touches, equity and markouts, row by row. */
export function sameSamples(was: SessionRecord, is: SessionRecord): boolean {
  return (['touches', 'equity', 'markouts'] as const).every((name) => {
    const [a, b] = [was[name], is[name]]
    if (a.length !== b.length) return false
    return Object.entries(a).every(([column, values]) => {
      if (typeof values === 'number') return true
      const others = (b as unknown as Readonly<Record<string, ArrayLike<number>>>)[column] as ArrayLike<number>
      const text = (record: SessionRecord, x: number): string | number => (column === 'market' ? (record.strings[x] ?? '') : x)
      for (let i = 0; i < a.length; i++)
        if (!Object.is(text(was, (values as ArrayLike<number>)[i] as number), text(is, others[i] as number))) return false
      return true
    })
  })
}

/** Rows that a session wrote before it came to its end: what it wrote while it ended is not repeated when it goes on. */
export function rowsBeforeEnd({ journal, strings }: SessionRecord): number {
  const stopping = strings.indexOf('session:stopping')
  const at = stopping < 0 ? -1 : journal.what.subarray(0, journal.length).indexOf(stopping)
  return at < 0 ? journal.length : at
}

function rowText({ journal: j, strings }: SessionRecord, i: number): string | null {
  if (i >= j.length) return null
  const word = (c: (typeof WORDS)[number]): string => strings[j[c][i] as number] ?? ''
  const parts = [
    new Date((j.time[i] as number) / 1000).toISOString().replace('Z', `${String((j.time[i] as number) % 1000).padStart(3, '0')}Z`),
    JOURNAL_KIND_NAMES[j.kind[i] as number] ?? '',
    word('what'),
    word('market'),
    word('owner'),
    (j.order[i] as number) < 0 ? '' : `order ${j.order[i]}`,
    (j.price[i] as number) < 0 ? '' : `price ${j.price[i]}`,
    (j.quantity[i] as number) === 0 ? '' : `quantity ${j.quantity[i]}`,
    word('why'),
    (j.a[i] as number) === 0 && (j.b[i] as number) === 0 ? '' : `(${j.a[i]}, ${j.b[i]})`,
  ]
  return parts.filter((p) => p !== '').join(' ')
}
