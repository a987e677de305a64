/**
 * A second reader of a session's log, while another process writes it and is killed: what was asked, what was told, in the order of the log. Owns how it follows the segments; hides frames. Invariant: what it
 * has read stood in the file at that moment.
 */
import { existsSync } from 'node:fs'
import { FrameKind, SegmentReader, segmentsOf } from '../../data/log-reader.ts'
import type { SessionInput } from '../../data/session-inputs.ts'
import type { Intent } from '../../adapters/kalshi/venue/intent.ts'
import type { News } from '../../engine/news.ts'

type Fill = Extract<News, { type: 'fill' | 'foreign-fill' }>
export type Asked = { readonly intent: Intent; readonly time: number; readonly sequence: number; readonly life: number; answered: boolean }

export class SessionWitness {
  readonly #dir: string
  #reader: SegmentReader | null = null
  #segment = -1
  /** Creates by client order id. */
  readonly creates = new Map<string, Asked>()
  /** Every intent, and those of the present life whose outcome is not in the log. */
  asked = 0
  readonly flying = new Set<Asked>()
  readonly fills: Fill[] = []
  readonly news: { readonly time: number; readonly life: number; readonly news: News }[] = []
  readonly verdicts: { readonly time: number; readonly verdict: unknown }[] = []
  readonly twice: string[] = []
  /** Processes so far, µs at which each began, and its first agreement. */
  readonly lives: { readonly began: number; agreed: number | null }[] = []
  sequence = 0
  cut: string | null = null

  /** `dir`: the session's log. */
  constructor(dir: string) {
    this.#dir = dir
  }

  /** Reads on to the end of what is there. */
  look(): void {
    if (!existsSync(this.#dir)) return
    for (;;) {
      this.#drain()
      const next = segmentsOf(this.#dir).find((s) => s.number > this.#segment)
      if (next === undefined) return
      // What came into the old one since.
      this.#drain()
      this.#reader?.close()
      this.#reader = new SegmentReader(next.path)
      this.#segment = next.number
    }
  }
  close(): void {
    this.#reader?.close()
    this.#reader = null
  }

  #drain(): void {
    for (let frame = this.#reader?.next() ?? null; frame !== null; frame = this.#reader?.next() ?? null) {
      this.sequence = frame.sequence
      if (frame.kind === FrameKind.INPUT) this.#input(JSON.parse(frame.payload.toString('utf8')) as SessionInput, frame.sequence)
    }
  }
  #input({ kind, time, detail }: SessionInput, sequence: number): void {
    const life = this.lives.length
    if (kind === 'segment') {
      this.flying.clear()
      this.lives.push({ began: time, agreed: null })
    } else if (kind === 'intent') {
      const intent = detail as Intent
      const asked: Asked = { intent, time, sequence, life, answered: false }
      this.asked++
      this.flying.add(asked)
      if (intent.kind !== 'create') return
      if (this.creates.has(intent.client)) this.twice.push(intent.client)
      this.creates.set(intent.client, asked)
    } else if (kind === 'outcome') {
      const { order, type } = detail as { order: number | null; type: string }
      for (const a of this.flying) {
        if (a.intent.kind !== type || ('order' in a.intent && a.intent.order !== order)) continue
        a.answered = true
        this.flying.delete(a)
        break
      }
    } else if (kind === 'news') {
      const news = detail as News
      this.news.push({ time, life, news })
      if (news.type === 'fill' || news.type === 'foreign-fill') this.fills.push(news)
      const present = this.lives.at(-1)
      if (news.type === 'agreed' && present !== undefined) present.agreed ??= time
    } else if (kind === 'reconciled') this.verdicts.push({ time, verdict: (detail as { verdict: unknown }).verdict })
  }
}
