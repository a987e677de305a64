/**
 * What stands in a strategy's bundle for the names that would make a run differ from the next: clocks, randomness, timers, the machine, the network, text as code, the
 * locale. Owns the table of those names, each with what it does and what to use instead, for the check before a run and the refusal in it. Invariant: what is not refused
 * depends on the tape and the parameters alone. This guards against mistakes, not against malice: whoever wants to get around it can.
 */
import { Console } from 'node:console'
import { StrategyError } from '../../engine/strategy-error.ts'

export type Ban = { readonly code: string; readonly does: string; readonly instead: string }

const clock: Ban = {
  code: 'STRATEGY_CLOCK',
  does: 'reads the clock',
  instead: 'use desk.now (µs; new Date(desk.now / 1000) makes a date of it)',
}
const local: Ban = {
  code: 'STRATEGY_CLOCK',
  does: 'reads the time zone of this machine',
  instead: "use UTC: Date.UTC, getUTCHours, toISOString, a text such as '2026-05-13T13:45:00Z'",
}
const chance: Ban = {
  code: 'STRATEGY_RANDOM',
  does: 'is random',
  instead: 'a run must be the same each time: use a seeded generator of your own, with the seed as a parameter',
}
const timer: Ban = { code: 'STRATEGY_TIMER', does: 'starts a timer', instead: 'use desk.wake(at) and onWake' }
const later: Ban = {
  code: 'STRATEGY_TIMER',
  does: 'answers later',
  instead: 'a handler decides before it returns; desk.wake comes back later',
}
const machine: Ban = {
  code: 'STRATEGY_MACHINE',
  does: 'reads this machine',
  instead: 'take what you need as a parameter, or put it on the tape as an external series',
}
const network: Ban = {
  code: 'STRATEGY_NETWORK',
  does: 'uses the network',
  instead: 'put outside values on the tape as an external series and read desk.external',
}
const text: Ban = { code: 'STRATEGY_CODE', does: 'makes code of text', instead: 'write the function' }
const loading: Ban = { code: 'STRATEGY_CODE', does: 'loads code during a run', instead: 'write an import at the top of the file' }
const around: Ban = {
  code: 'STRATEGY_CODE',
  does: 'changes what all code shares',
  instead: 'keep your state in variables of the factory',
}
const locale: Ban = {
  code: 'STRATEGY_LOCALE',
  does: 'depends on the language of this machine',
  instead: 'compare with < and >, write numbers with toFixed, formatPrice or formatMoney',
}
const memory: Ban = { code: 'STRATEGY_MACHINE', does: 'depends on when memory is freed', instead: 'use a Map' }
const thread: Ban = { code: 'STRATEGY_MACHINE', does: 'shares memory with other threads', instead: 'a strategy is one thread' }

/** Names whose every use is refused. */
export const BANS: Readonly<Record<string, Ban>> = {
  performance: clock,
  setTimeout: timer,
  setInterval: timer,
  setImmediate: timer,
  clearTimeout: timer,
  clearInterval: timer,
  clearImmediate: timer,
  queueMicrotask: timer,
  requestAnimationFrame: timer,
  Promise: later,
  process: machine,
  navigator: machine,
  __dirname: machine,
  __filename: machine,
  Buffer: machine,
  fetch: network,
  WebSocket: network,
  EventSource: network,
  XMLHttpRequest: network,
  crypto: chance,
  Crypto: chance,
  Intl: locale,
  eval: text,
  Function: text,
  Worker: thread,
  SharedArrayBuffer: thread,
  Atomics: thread,
  WeakRef: memory,
  FinalizationRegistry: memory,
}
/** Names that reach everything else by name: reading harmless things through them is fine. */
export const GLOBALS = ['globalThis', 'global', 'self', 'window'] as const
/** Ways of using harmless names that are refused. */
export const USES = { clock, local, chance, locale, loading, around, machine } as const
export const DATE_LOCAL: readonly string[] = [
  ...['FullYear', 'Month', 'Date', 'Day', 'Hours', 'Minutes', 'Seconds', 'Milliseconds', 'Year'].flatMap((x) => [`get${x}`, `set${x}`]),
  'getTimezoneOffset',
  'toString',
  'toDateString',
  'toTimeString',
  'toLocaleString',
  'toLocaleDateString',
  'toLocaleTimeString',
]

export function sentence(name: string, ban: Ban): string {
  return `${name} ${ban.does}: ${ban.instead}`
}
export function refuse(name: string, ban: Ban): never {
  throw new StrategyError(ban.code, sentence(name, ban))
}

/** What every function has: looking at it is no use of it. */
const ORDINARY = new Set<PropertyKey>([
  'prototype',
  'name',
  'length',
  'toString',
  'constructor',
  'hasOwnProperty',
  Symbol.toStringTag,
  Symbol.toPrimitive,
])

/** Throws at any use; `typeof`, being looked at and being passed around are no use. */
function standIn(name: string, ban: Ban): unknown {
  const no = (): never => refuse(name, ban)
  return new Proxy(function () {}, {
    get: (target, key) => (ORDINARY.has(key) ? (Reflect.get(target, key) as unknown) : no()),
    set: no,
    apply: no,
    construct: no,
    defineProperty: no,
  })
}

/** A date with its time zone, or a bare day, which is UTC by the language. */
const DATE_FULL = /^\d{4}-\d\d(-\d\d)?$|^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/
function parsed(value: string): string {
  return DATE_FULL.test(value) ? value : refuse(`the date '${value}' has no time zone and`, local)
}
class TimelessDate extends Date {
  constructor(...values: readonly (number | string | Date)[]) {
    const [first] = values
    if (first === undefined) refuse('new Date()', clock)
    if (values.length > 1) refuse('new Date(year, month, …)', local)
    super(typeof first === 'string' ? parsed(first) : first)
  }
  static override now(): never {
    return refuse('Date.now()', clock)
  }
  static override parse(value: string): number {
    return Date.parse(parsed(value))
  }
}
for (const name of DATE_LOCAL)
  Object.defineProperty(TimelessDate.prototype, name, { value: () => refuse(`${name}()`, local), configurable: true, writable: true })

function guardedMath(): unknown {
  return Object.freeze(
    Object.create(null, {
      ...Object.getOwnPropertyDescriptors(Math),
      random: { value: () => refuse('Math.random()', chance), enumerable: true },
    }),
  )
}

/** What authors debug with: on stderr, so that results stay alone on stdout. Nothing that measures time. */
let silenced = 0
/** What runs in it prints nothing of a strategy: a run again for a report, whose fills never happened, would look like the session itself. */
export async function silently<T>(body: () => Promise<T>): Promise<T> {
  silenced++
  try {
    return await body()
  } finally {
    silenced--
  }
}
function guardedConsole(): unknown {
  const real = new Console(process.stderr)
  const words = ['log', 'info', 'debug', 'warn', 'error', 'table', 'dir', 'assert', 'trace'] as const
  const say =
    (word: (typeof words)[number]) =>
    (...values: unknown[]): void => {
      if (silenced === 0) (real[word] as (...values: unknown[]) => void)(...values)
    }
  return Object.freeze(Object.fromEntries(words.map((word) => [word, say(word)])))
}

function guardedGlobals(guards: Readonly<Record<string, unknown>>): unknown {
  const shared = globalThis as unknown as Readonly<Record<PropertyKey, unknown>>
  const language = new Set(
    'Object Array String Number Boolean Symbol BigInt Map Set WeakMap WeakSet Error TypeError RangeError SyntaxError RegExp JSON ArrayBuffer DataView Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array Float32Array Float64Array BigInt64Array BigUint64Array Uint8ClampedArray Reflect Proxy parseInt parseFloat isNaN isFinite NaN Infinity undefined'.split(
      ' ',
    ),
  )
  // Packages look for it here to know what a promise looks like, and do without.
  const { Promise: _, ...seen } = guards
  const no = (): never => refuse('an assignment to globalThis', around)
  return new Proxy(Object.create(null) as object, {
    get: (_, key) =>
      typeof key === 'string' && Object.hasOwn(seen, key) ? seen[key] : language.has(String(key)) ? shared[key] : undefined,
    has: (_, key) => (typeof key === 'string' && Object.hasOwn(seen, key)) || language.has(String(key)),
    set: no,
    defineProperty: no,
    deleteProperty: no,
  })
}

/** The names that a bundle takes from `makeGuards` instead of from the machine. */
export const GUARDED: readonly string[] = [...Object.keys(BANS), ...GLOBALS, 'Date', 'Math', 'console']

export function makeGuards(): Readonly<Record<string, unknown>> {
  const guards: Record<string, unknown> = {}
  for (const [name, ban] of Object.entries(BANS)) guards[name] = standIn(name, ban)
  // Packages look whether there is one, and do without.
  guards['Buffer'] = undefined
  // Packages ask `instanceof Function` and take `Function.prototype`; making one of text is what is refused.
  const no = (): never => refuse('Function()', text)
  guards['Function'] = new Proxy(Function, { apply: no, construct: no })
  guards['Date'] = new Proxy(TimelessDate, { apply: () => refuse('Date()', clock) })
  guards['Math'] = guardedMath()
  guards['console'] = guardedConsole()
  const globals = guardedGlobals(guards)
  for (const name of GLOBALS) guards[name] = globals
  return guards
}
