/**
 * Faults on command: rules that say which frame, request, connection or moment goes wrong, and how. Owns the file format and the seeded dice; hides nobody: every
 * fault that was injected is in the log. Invariant: the same rules, seed and traffic give the same faults.
 */
import { z } from 'zod'
import type { Frame } from './session.ts'

const when = {
  /** Matching events to let pass first. */
  after: z.int().nonnegative().optional(),
  /** Then every n-th. */
  every: z.int().positive().optional(),
  /** How often at most. */
  times: z.int().positive().optional(),
  probability: z.number().min(0).max(1).optional(),
  account: z.string().optional(),
}
const FrameRule = z.strictObject({
  on: z.literal('frame'),
  do: z.enum(['drop', 'delay', 'duplicate', 'reorder', 'corrupt', 'half-open', 'close', 'channel-error', 'overflow']),
  channel: z.string().optional(),
  type: z.string().optional(),
  /** For delay: milliseconds of exchange time. */
  ms: z.number().nonnegative().optional(),
  ...when,
})
const RequestRule = z.strictObject({
  on: z.literal('request'),
  do: z.enum(['delay', 'lose-response', 'late-effect', 'status', 'html', 'too-many', 'reset', 'wrong-order', 'no-order']),
  /** Name in OpenAPI, as `CreateOrderV2`. */
  operation: z.string().optional(),
  method: z.string().optional(),
  ms: z.number().nonnegative().optional(),
  status: z.int().min(400).max(599).optional(),
  /** For `status`: the code of the body, where the usual one of that status is not meant. */
  code: z.string().min(1).optional(),
  /** For `status`, `html` and `no-order`: the request takes effect before it is answered so. `wrong-order` always does. */
  effect: z.boolean().optional(),
  ...when,
})
const ConnectRule = z.strictObject({
  on: z.literal('connect'),
  do: z.enum(['status', 'reset']),
  status: z.int().min(400).max(599).optional(),
  ...when,
})
const TimeRule = z.strictObject({
  on: z.literal('time'),
  /** Milliseconds of exchange time after the start. */
  at: z.number().nonnegative(),
  do: z.enum([
    'pause-trading',
    'resume-trading',
    'pause-exchange',
    'resume-exchange',
    'freeze-reads',
    'thaw-reads',
    'read-lag',
    'clock-offset',
    'disconnect',
    'half-open',
    'stop-pings',
    'start-pings',
  ]),
  ms: z.number().optional(),
  shard: z.int().nonnegative().optional(),
})
const Rule = z.discriminatedUnion('on', [FrameRule, RequestRule, ConnectRule, TimeRule])
const File = z.strictObject({ seed: z.int().default(1), rules: z.array(Rule) })
export type FaultRule = z.infer<typeof Rule>
export type TimeFault = z.infer<typeof TimeRule>
export type RequestFault = z.infer<typeof RequestRule>
export type FrameFault = z.infer<typeof FrameRule>
export type ConnectFault = z.infer<typeof ConnectRule>
export type FaultFile = { readonly seed: number; readonly rules: readonly FaultRule[] }

/** Throws an Error whose message says which place of the file is wrong. */
export function parseFaults(json: unknown): FaultFile {
  const parsed = File.safeParse(json)
  if (parsed.success) return parsed.data
  throw new Error(issueOf(parsed.error))
}
export function parseRule(json: unknown): FaultRule {
  const parsed = Rule.safeParse(json)
  if (parsed.success) return parsed.data
  throw new Error(issueOf(parsed.error))
}
function issueOf(error: z.ZodError): string {
  const issue = error.issues[0]
  return `${issue?.path.join('.') || 'rule'}: ${issue?.message ?? 'invalid'}`
}

type Counted = { readonly rule: FaultRule; seen: number; done: number }
export type Injected = { readonly time: number; readonly on: FaultRule['on']; readonly do: string; readonly what: string }

export class Faults {
  readonly #rules: Counted[] = []
  #state: number
  readonly log: Injected[] = []

  constructor(file: FaultFile = { seed: 1, rules: [] }) {
    this.#state = file.seed >>> 0
    for (const rule of file.rules) this.add(rule)
  }
  add(rule: FaultRule): void {
    this.#rules.push({ rule, seen: 0, done: 0 })
  }
  clear(): void {
    this.#rules.length = 0
  }
  get rules(): readonly FaultRule[] {
    return this.#rules.map((r) => r.rule)
  }
  get timed(): readonly TimeFault[] {
    return this.rules.filter((r) => r.on === 'time')
  }

  frame(frame: Frame, account: string, now: number): FrameFault | null {
    return this.#find(
      (r): r is FrameFault =>
        r.on === 'frame' &&
        (r.channel === undefined || r.channel === frame.channel) &&
        (r.type === undefined || r.type === frame.type) &&
        mine(r, account),
      `${frame.type} sid ${frame.sid ?? '-'} seq ${frame.seq ?? '-'}`,
      now,
    )
  }
  request(method: string, operation: string, account: string | null, now: number): RequestFault | null {
    return this.#find(
      (r): r is RequestFault =>
        r.on === 'request' &&
        (r.operation === undefined || r.operation === operation) &&
        (r.method === undefined || r.method === method) &&
        mine(r, account ?? ''),
      operation,
      now,
    )
  }
  connect(account: string, now: number): ConnectFault | null {
    return this.#find((r): r is ConnectFault => r.on === 'connect' && mine(r, account), account, now)
  }
  note(injected: Injected): void {
    if (this.log.length < 100_000) this.log.push(injected)
  }

  /** 0 … n − 1 (mulberry32). */
  roll(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n)
  }

  #find<R extends Exclude<FaultRule, TimeFault>>(fits: (rule: FaultRule) => rule is R, what: string, now: number): R | null {
    let found: R | null = null
    for (const counted of this.#rules) {
      const { rule } = counted
      if (!fits(rule)) continue
      const n = counted.seen++ - (rule.after ?? 0)
      if (n < 0 || n % (rule.every ?? 1) !== 0 || counted.done >= (rule.times ?? Infinity)) continue
      if (rule.probability !== undefined && this.roll(1_000_000) >= rule.probability * 1_000_000) continue
      if (found !== null) continue
      counted.done++
      found = rule
      this.note({ time: now, on: rule.on, do: rule.do, what })
    }
    return found
  }
}

function mine(rule: { account?: string | undefined }, account: string): boolean {
  return rule.account === undefined || rule.account === account
}

/** A frame that was damaged on its way: cut somewhere, or one character changed. */
export function corrupted(text: string, roll: (n: number) => number): string {
  const at = 1 + roll(Math.max(1, text.length - 2))
  return roll(2) === 0 ? text.slice(0, at) : `${text.slice(0, at)}#${text.slice(at + 1)}`
}
