/**
 * What `tapeline status` prints. Owns the words; hides nothing. Invariant: what a snapshot said while it ran is never shown as what holds now: of a session that has ended or is gone nothing is open,
 * working or recording.
 */
import { count, tableText } from './output.ts'
import type { Found } from './sessions.ts'
import type { Life, SessionSnapshot } from './session-status.ts'

const RECORD = 'record'
const REASONS_MAX = 5
/** The feed pings every 5 s and is answered: a connection that lives is never silent for longer. */
export const SILENT_MAX = 5_500_000

/** How a state is called: paused and warming up are both `ready`. */
export function stateText({ name, hold }: Pick<SessionSnapshot['state'], 'name' | 'hold'>): string {
  return name !== 'ready' || hold === null ? name : hold === 'paused' ? 'paused' : 'ready, warming up'
}
export function goneText({ session, pid, written, state, mode }: SessionSnapshot): string {
  const again =
    mode === RECORD ? 'the same `tapeline record` as before' : `\`tapeline ${mode === 'live' ? 'live' : 'paper'} --resume ${session}\``
  return `${session} was last heard of ${iso(written * 1000)} in state ${stateText(state)}, and its process (${pid}) is gone or silent: this is what it said then; ${again} goes on with it`
}
export function iso(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString()
}
/** What is wrong with a market or a series, by its name. */
export function troubleText(what: string, why: string): string {
  return why.includes(what) ? why : `${what}: ${why}`
}
/** ms → `2 h 3 min`. */
function span(milliseconds: number): string {
  const s = Math.max(0, milliseconds / 1000)
  if (s < 10) return `${s.toFixed(1)} s`
  if (s < 120) return `${s.toFixed(0)} s`
  const minutes = Math.floor(s / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
const ms = (us: number): string => `${(us / 1000).toFixed(1)} ms`
const share = (x: number): string => `${(x * 100).toFixed(0)}%`
const money = (x: number): string => `${x < 0 ? '−' : ''}$${Math.abs(x).toFixed(2)}`
const quantiles = (q: SessionSnapshot['decision']): string => (q === null ? 'n/a' : `p50 ${ms(q.p50)}, p99 ${ms(q.p99)}`)

/** Several that run: a line each. */
export function sessionsText(found: readonly Found[]): string {
  return tableText(
    ['session', 'mode', 'state', 'markets synced', 'working', 'P&L', 'up'],
    found.map(({ dir, snapshot: s }) => [
      dir,
      s.mode,
      stateText(s.state),
      `${s.feed.marketsSynced} of ${s.feed.marketsSynced + s.feed.marketsUnsynced}`,
      String(s.orders.working),
      money(s.money.pnl),
      span(s.written - s.started),
    ]),
  )
}

export function statusText(s: SessionSnapshot, life: Life, now: number): string {
  const { feed } = s
  const lines: [string, string][] = [
    ['Session', `${s.session} (${[s.mode, ...s.strategies].join(', ')})`],
    ['Life', lifeText(s, life, now)],
  ]
  if (s.ended === null)
    lines.push([
      'State',
      `${life === 'gone' ? 'was ' : ''}${stateText(s.state)} since ${iso(s.state.since)}${s.state.cause === null ? '' : ` (${s.state.cause})`}${life === 'running' ? heldText(s) : ''}`,
    ])
  lines.push(
    [
      'Feed',
      `${feed.environment}, ${connectionsText(s, life)}; lag ${quantiles(feed.lag)}; ${feed.uptime === null ? 'share of time synced n/a' : `synced ${share(feed.uptime)} of the last minutes`}; ${count(feed.gaps)} gaps in the order of its messages, ${feed.auditsEqual} of ${feed.audits} audits equal`,
    ],
    [
      'Markets',
      `${life === 'running' ? '' : 'at the end '}${feed.marketsSynced} synced, ${feed.marketsUnsynced} not${feed.unsynced.length === 0 ? '' : `: ${feed.unsynced.slice(0, REASONS_MAX).join(', ')}`}`,
    ],
  )
  if (s.mode !== RECORD) lines.push(...tradingLines(s, life))
  lines.push(
    ['Rows', `${count(s.rows.total)}${life === 'running' ? `, ${count(s.rows.perSecond)}/s` : ''}; ${tapeText(s, life)}`],
    ['Process', `loop late p99 ${ms(s.loop.p99)}, max ${ms(s.loop.max)}; ${Math.round(s.memory.resident / 2 ** 20)} MB`],
  )
  const parts = [lines.map(([name, text]) => `${name.padEnd(8)} ${text}`).join('\n')]
  if (s.positions.length > 0)
    parts.push(
      tableText(
        ['market', 'position', 'P&L'],
        s.positions.map((p) => [p.market, String(p.position), money(p.pnl)]),
      ),
    )
  // Simulated orders end with their session.
  if (s.orders.list.length > 0 && (life === 'running' || s.mode === 'live'))
    parts.push(
      tableText(
        ['market', 'strategy', 'side', 'price', 'remaining', life === 'running' ? 'state' : 'last known'],
        s.orders.list.map((o) => [o.market, o.owner, o.side, o.price.toFixed(4), String(o.remaining), o.state]),
      ),
    )
  const notices = [...s.wrong.map((text) => `WRONG NOW ${text}`), ...s.remarks.map((text) => `NOTICE    ${text}`)]
  if (notices.length > 0) parts.push(notices.join('\n'))
  for (const [what, why] of Object.entries(feed.troubles)) parts.push(`trouble  ${troubleText(what, why)}`)
  for (const error of s.errors) parts.push(`said     ${iso(error.time)} ${error.text}`)
  return `${parts.join('\n')}\n`
}

/** What permits orders in general and has no market for them. */
function heldText({ mode, state, feed }: SessionSnapshot): string {
  if (mode === RECORD || (state.name !== 'trading' && state.name !== 'reducing')) return ''
  const { connections, marketsSynced } = feed
  if (marketsSynced === 0) return '; no market is synced, so no order is sent'
  return connections.length > 0 && connections.every((c) => c.silent === null || c.silent >= SILENT_MAX)
    ? '; the feed is SILENT: its books may be old, and orders stop at feedSilenceSeconds'
    : ''
}
function lifeText(s: SessionSnapshot, life: Life, now: number): string {
  const ran = span(s.written - s.started)
  switch (life) {
    case 'running':
      return `running, process ${s.pid}, up ${ran}; said ${span(now - s.written)} ago`
    case 'ended':
      return `ENDED ${iso(s.written * 1000)} after ${ran}: ${s.ended ?? ''}`
    case 'gone':
      return `GONE: last heard of ${iso(s.written * 1000)}, ${span(now - s.written)} ago, after ${ran}; what follows is what it said then`
  }
}
function connectionsText({ feed }: SessionSnapshot, life: Life): string {
  if (life !== 'running') return feed.connections.length === 1 ? 'connection closed' : `${feed.connections.length} connections closed`
  if (feed.connections.length === 0) return 'no connection'
  return feed.connections
    .map(
      (c) =>
        `${c.state}${c.stale ? ' STALE' : ''}${c.silent !== null && c.silent >= SILENT_MAX ? ` SILENT for ${Math.floor(c.silent / 1e6)} s` : ''}`,
    )
    .join(', ')
}
function tapeText({ tape }: SessionSnapshot, life: Life): string {
  const failure = tape.failure === null ? '' : `: ${tape.failure}`
  if (life === 'running') return `tape ${tape.state}${failure}`
  const closed = tape.state === 'recording' || tape.state === 'finished'
  return `tape ${life === 'gone' ? 'broken off, whole up to its last second' : closed ? 'finished' : tape.state}${failure}`
}

function tradingLines(s: SessionSnapshot, life: Life): [string, string][] {
  const { orders, limits } = s
  const working =
    life === 'running'
      ? `${orders.working} working`
      : orders.working === 0
        ? 'none left open'
        : s.mode === 'live'
          ? `${orders.working} NOT known to be closed`
          : `${orders.working} left when it ended, gone with it (simulated)`
  const lines: [string, string][] = [
    [
      'Money',
      `P&L ${money(s.money.pnl)}, equity ${money(s.money.equity)}, fees ${money(s.money.fees)}, drawdown ${money(s.money.drawdown)}`,
    ],
    ['Orders', `${working}, ${count(orders.sent)} sent, ${count(orders.fills)} fills`],
    [
      'Refused',
      `by risk ${reasons(orders.refusals)}; ${s.mode === 'live' ? `kept back by the gate ${reasons(only(orders.rejections, true))}; ` : ''}by the venue ${reasons(only(orders.rejections, false))}`,
    ],
    [
      'Limits',
      `used of what is allowed: open orders ${share(limits.orders)}, largest position ${share(limits.position)}, loss of a market ${share(limits.marketLoss)}, loss of the session ${share(limits.sessionLoss)}`,
    ],
    ['Delays', `place ${ms(s.delays.place)}, answer ${ms(s.delays.answer)}`],
    [
      'Decision',
      `${quantiles(s.decision)} from a row's arrival to the strategies' answer${s.labelWait > 0 ? `, of which a row waits up to ${ms(s.labelWait)} for its label (--label-wait)` : ''}`,
    ],
  ]
  return lines
}
/** Of our own gate, or of the venue. */
function only(counts: Readonly<Record<string, number>>, gate: boolean): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([reason]) => reason.startsWith('gate:') === gate))
}
function reasons(counts: Readonly<Record<string, number>>): string {
  const all = Object.entries(counts)
  const sum = all.reduce((a, [, n]) => a + n, 0)
  if (sum === 0) return '0'
  const more = all.length - REASONS_MAX
  return `${count(sum)} (${all
    .slice(0, REASONS_MAX)
    .map(([reason, n]) => `${reason} ${count(n)}`)
    .join(', ')}${more > 0 ? `, ${more} more reasons` : ''})`
}
