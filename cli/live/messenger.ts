/**
 * How an alert travels: to a program on its stdin, or to a web address. Owns both, their checks and their time limits; hides them. Invariants: no shell; https, or this machine; no redirect is followed; it
 * never throws, and is over in time.
 */
import { spawn } from 'node:child_process'
import { request as requestPlain } from 'node:http'
import { request as requestSecure } from 'node:https'
import { UsageError } from '../exit.ts'
import type { Alert } from './alerts.ts'

export type Channel = {
  readonly name: 'command' | 'webhook' /** Null: delivered; else why not. */
  send(alert: Alert): Promise<string | null>
}

const COMMAND_MS = 10_000
const WEBHOOK_MS = 5_000

/** A JSON list of program and arguments, or a program alone. */
export function commandOf(text: string): readonly string[] {
  if (!text.startsWith('[')) return [text]
  try {
    const list = JSON.parse(text) as unknown
    if (Array.isArray(list) && list.length > 0 && list.every((x) => typeof x === 'string' && x !== '')) return list as string[]
  } catch {}
  throw new UsageError(`--alert-command ${text}: write the program, or a JSON list with its arguments, as in '["notify-send","Tapeline"]'`)
}
export function webhookOf(text: string): URL {
  let url: URL | null = null
  try {
    url = new URL(text)
  } catch {}
  const loopback = url !== null && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)
  if (url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && loopback)) && url.username === '' && url.password === '')
    return url
  // It is not repeated: addresses of this kind are secrets.
  throw new UsageError('--alert-webhook: write an https address without a password in it, or http on this machine')
}

export function commandChannel(argv: readonly string[]): Channel {
  const [program = '', ...rest] = argv
  return {
    name: 'command',
    send: (alert) =>
      new Promise((resolve) => {
        const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TAPELINE|KALSHI)_/i.test(name)))
        const child = spawn(program, rest, { stdio: ['pipe', 'ignore', 'ignore'], shell: false, env })
        const timer = setTimeout(() => {
          child.kill('SIGKILL')
          resolve(`it did not end within ${COMMAND_MS / 1000} s`)
        }, COMMAND_MS)
        const done = (why: string | null): void => {
          clearTimeout(timer)
          resolve(why)
        }
        child.on('error', (error: NodeJS.ErrnoException) => done(`it could not be started (${error.code ?? 'unknown'})`))
        child.on('exit', (code, signal) => done(code === 0 ? null : `it ended with ${signal ?? String(code)}`))
        child.stdin.on('error', () => {})
        child.stdin.end(`${JSON.stringify(alert)}\n`)
      }),
  }
}
export function webhookChannel(url: URL): Channel {
  return {
    name: 'webhook',
    send: (alert) =>
      new Promise((resolve) => {
        const body = Buffer.from(JSON.stringify(alert))
        const request = (url.protocol === 'https:' ? requestSecure : requestPlain)(
          url,
          { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': body.length }, agent: false },
          (answer) => {
            const { statusCode = 0 } = answer
            answer.destroy()
            done(statusCode >= 200 && statusCode < 300 ? null : `it answered ${statusCode}`)
          },
        )
        const timer = setTimeout(() => {
          request.destroy()
          done(`no answer within ${WEBHOOK_MS / 1000} s`)
        }, WEBHOOK_MS)
        const done = (why: string | null): void => {
          clearTimeout(timer)
          resolve(why)
        }
        request.on('error', (error: NodeJS.ErrnoException) => done(`it could not be reached (${error.code ?? 'unknown'})`))
        request.end(body)
      }),
  }
}
