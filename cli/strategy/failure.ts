/**
 * What stopped a session, as its author needs it: the line, the handler, the market, the time. Owns the sentence; hides where each part comes from. Invariant: what is no
 * strategy's fault passes unchanged, and the sentence holds no path of this machine.
 */
import { StrategyError, type Call } from '../../engine/strategy-error.ts'
import { TimeoutError } from '../turn.ts'
import { placeText, type Place } from './finding.ts'
import { whereOf } from './trace.ts'

/** Where the last turn stood, for one that was broken off. */
type Witness = { stood(): Place | null }

/** `failure` is for whoever runs it and names the file by its path; `reason` is for the record. */
export type Failed = { readonly failure: StrategyError; readonly reason: string }

export function failureIn(error: unknown, { time, call }: { readonly time: number; readonly call: Call | null }, witness: Witness): Failed {
  if (error instanceof TimeoutError) {
    const who = call === null ? 'The session' : `Strategy ${call.strategy}: ${call.handler}`
    return say('STRATEGY_LOOP', `${who} does not end: ${error.message}`, witness.stood(), call, time, error)
  }
  if (!(error instanceof StrategyError)) throw error
  return say(error.code, error.message, whereOf(error), error.call, time, error)
}

function say(code: string, message: string, place: Place | null, call: Call | null, time: number, cause: Error): Failed {
  const market = call?.market ?? null
  const context = [
    call === null || message.includes(call.handler) ? null : `in ${call.handler}`,
    market === null || message.includes(market) ? null : `for ${market}`,
    `at ${new Date(time / 1000).toISOString()}`,
  ]
  const text = `${message} (${context.filter((x) => x !== null).join(' ')})`
  if (place === null) return { failure: new StrategyError(code, text, cause), reason: text }
  const { folder: _, ...bare } = place
  return { failure: new StrategyError(code, `${placeText(place)} ${text}`, cause), reason: `${placeText(bare)} ${text}` }
}
