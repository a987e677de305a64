/** What the course of a live session asks of whoever trades for it. Owns the port; hides the exchange. Invariant: an answer reaches the session as news, and in no other way. */
import type { SessionInput } from '../../data/session-inputs.ts'
import type { Engine } from '../../engine/engine.ts'
import type { News } from '../../engine/news.ts'
import type { Venue } from '../../engine/venue.ts'

/** What the session does for whoever trades. */
export interface TradingDesk {
  /** Of this process in the session, from 1: part of every client order id. */
  readonly generation: number
  readonly engine: Engine
  /** Keeps something beside rows and news; returns its place in the log. Throws DataError DISK when it cannot. */
  record(kind: string, detail: unknown): number
  /** Returns when everything kept so far is on disk. */
  sync(): Promise<void>
  /** Place in the log up to which everything is on disk. */
  synced(): number
  /** The engine learns it now; it is kept before. Never called while the engine is at work. */
  enter(news: News): void
  /** Something that an operator must know. */
  say(text: string): void
}

export interface Trading {
  /** The engine's venue: silent until `restore`. */
  readonly venue: Venue
  /** What happened before, in order: intents, news. Returns the news that must enter first: what was never sent, and what became of it is not known. */
  restore(inputs: Iterable<SessionInput>): readonly News[]
  /** Connects, and begins to compare with the exchange. */
  start(): Promise<void>
  /** After every turn of the engine: what it commanded is written down, synced and sent. */
  flush(): void
  /** Takes everything back, and returns when the exchange shows nothing open, or when `patience` µs are over: then what is left, a line each. */
  settle(patience: number): Promise<readonly string[]>
  stop(): Promise<void>
}
