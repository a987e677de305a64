/** What the course of a live session asks of whoever trades for it. Owns the port; hides the exchange. Invariant: an answer reaches the session as news, and in no other way. */
import type { KalshiTrader, TraderDesk } from '../../adapters/kalshi/live.ts'

/** What the session does for whoever trades. */
export type TradingDesk = TraderDesk
export type Trading = Pick<
  KalshiTrader,
  | 'venue'
  | 'restore'
  | 'start'
  | 'flush'
  | 'settle'
  | 'stop'
  | 'resumed'
  | 'recheck'
  | 'freed'
  | 'halted'
  | 'acceptCash'
  | 'status'
  | 'reconciled'
>
