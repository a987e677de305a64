/** The exchange and the key: permissions and a signature without sending anything, then reachability, clock, and whether the key is believed. Owns the bounds of the clock; hides the probe. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { KalshiError, probe, Signer, systemWorld, type ProbeResult } from '../../adapters/kalshi/index.ts'
import { exchangeOf, type Settings } from '../config.ts'
import { originText } from '../config/layers.ts'
import { EXIT } from '../exit.ts'
import { fine, problem, skipped, warning, type Finding } from './finding.ts'

/** Signatures were seen to be believed at 5 s and refused at 30 s; the header has whole seconds. */
const CLOCK_LOW = 1_000_000
const CLOCK_MAX = 5_000_000
const TIMEOUT = 3_000_000

/** The key as it lies on the disk. `signer` null: there is none that could be used. */
export function keyFindings({ kalshi: { keyId, keyFile, environment }, values }: Settings): {
  readonly findings: readonly Finding[]
  readonly signer: Signer | null
} {
  if (keyId === null && keyFile === null)
    return {
      findings: [skipped('key file', 'no key is set: recording, paper and live sessions need one (kalshi.keyId and kalshi.keyFile)')],
      signer: null,
    }
  if (keyId === null || keyFile === null) {
    const missing = keyId === null ? 'kalshi.keyId' : 'kalshi.keyFile'
    return {
      findings: [
        problem('key file', `${missing} is missing beside the other half of the key`, `set ${missing} in tapeline.yaml`, EXIT.credentials),
      ],
      signer: null,
    }
  }
  try {
    const signer = Signer.fromFile(keyId, keyFile)
    const tracked = environment === 'local' ? null : workTreeOf(keyFile)
    const file =
      tracked === null
        ? fine('key file', `${keyFile} (for ${environment}): readable by you alone`)
        : warning(
            'key file',
            `${keyFile} lies in the git work tree ${tracked}, which does not ignore it: one commit gives it away`,
            `mv it out of there, or ignore it in .gitignore`,
          )
    const kind = signer.test(Date.now())
    return kind === null
      ? {
          findings: [
            file,
            problem(
              'signature',
              `${keyFile} signs nothing that can be verified: the key is damaged or too short`,
              'make a new key at the exchange',
              EXIT.credentials,
            ),
          ],
          signer: null,
        }
      : { findings: [file, fine('signature', `${kind}: signed and verified here`)], signer }
  } catch (error) {
    if (!(error instanceof KalshiError)) throw error
    const open = /can be read by others/.test(error.message)
    const origin = values.get('kalshi.keyFile')?.origin
    return {
      findings: [
        problem(
          'key file',
          error.message,
          open ? `chmod 600 ${keyFile}` : `kalshi.keyFile says where it is: ${origin === undefined ? '' : originText(origin)}`,
          EXIT.credentials,
        ),
      ],
      signer: null,
    }
  }
}

/** The work tree in which a file could be committed by mistake; null: none. */
function workTreeOf(path: string): string | null {
  const file = resolve(path)
  let folder = dirname(file)
  while (!existsSync(join(folder, '.git'))) {
    if (dirname(folder) === folder) return null
    folder = dirname(folder)
  }
  // 0: it is ignored. Without git it cannot be known, and the warning is right.
  return spawnSync('git', ['-C', folder, 'check-ignore', '-q', file], { stdio: 'ignore', timeout: 3000 }).status === 0 ? null : folder
}

export async function exchangeFindings(
  settings: Settings,
  signer: Signer | null,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Finding[]> {
  const findings: Finding[] = []
  if (settings.kalshi.environment !== 'local' && (env['NODE_EXTRA_CA_CERTS'] ?? '') !== '')
    findings.push(
      warning(
        'certificates',
        'NODE_EXTRA_CA_CERTS adds certificates that could stand between you and the exchange',
        'unset NODE_EXTRA_CA_CERTS',
      ),
    )
  const world = systemWorld({ keep: () => {} })
  let result: ProbeResult
  try {
    result = await probe(exchangeOf(settings), signer, world, { timeout: TIMEOUT, env })
  } catch (error) {
    if (!(error instanceof KalshiError)) throw error
    return [...findings, problem('exchange', error.message, 'unset NODE_TLS_REJECT_UNAUTHORIZED', EXIT.credentials)]
  } finally {
    await world.close()
  }
  const { environment, rest, status, socket, key, clock } = result
  const name = environment.name === 'local' ? `local (${environment.rest})` : environment.name
  const start =
    environment.name === 'local'
      ? 'start it with npx tapeline exchange --practice, and set kalshi.localUrl to the address that it prints'
      : 'check the network, a firewall or proxy, and the status page of the exchange'
  findings.push(
    rest.error === null
      ? fine('REST', `${name} answered in ${milliseconds(rest.took)}`)
      : problem('REST', `${name}: ${rest.error.message}`, start, EXIT.exchange),
  )
  if (status !== null && !(status.exchangeActive && status.tradingActive))
    findings.push(
      warning(
        'trading',
        status.exchangeActive ? 'trading is paused at the exchange' : 'the exchange is closed just now',
        'wait; maintenance is Thursday 03:00-05:00 New York',
      ),
    )
  const late = clockFinding(clock)
  if (late !== null) findings.push(late)
  const wrongClock = late?.state === 'problem'
  // A wrong clock makes every signature wrong: that is said once, where it can be mended.
  const byClock = (error: KalshiError | null): boolean =>
    error !== null && (error.reason === 'header_timestamp_expired' || (wrongClock && error.code === 'AUTH'))
  if (socket.error === null)
    findings.push(fine('WebSocket', `${socket.asksForKey ? 'it is there and asks for a key' : 'opened'} in ${milliseconds(socket.took)}`))
  else if (byClock(socket.error) || (socket.error.code === 'AUTH' && key?.error?.code === 'AUTH'))
    findings.push(
      skipped(
        'WebSocket',
        `it is there and does not believe the ${byClock(socket.error) || byClock(key?.error ?? null) ? 'clock' : 'key'}`,
      ),
    )
  else findings.push(problem('WebSocket', socket.error.message, start, socket.error.code === 'AUTH' ? EXIT.credentials : EXIT.exchange))
  if (key === null)
    findings.push(skipped('key', signer === null ? 'not tried: there is no key that could sign' : 'not tried: the exchange did not answer'))
  else if (key.error === null) findings.push(fine('key', `the exchange believes it (read in ${milliseconds(key.took)})`))
  else if (byClock(key.error)) {
    findings.push(
      wrongClock
        ? skipped('key', 'not judged: signatures are refused while the clock is wrong')
        : problem(
            'key',
            'the exchange says that the time of the signature is too far from its own',
            'set the clock of this machine: timedatectl set-ntp true',
            EXIT.exchange,
          ),
    )
  } else {
    const refused = key.error.code === 'AUTH' || key.error.code === 'FORBIDDEN'
    const fix = refused
      ? `check that kalshi.keyId and kalshi.keyFile belong together and to ${environment.name}; a revoked key needs a new one`
      : start
    findings.push(problem('key', key.error.message, fix, refused ? EXIT.credentials : EXIT.exchange))
  }
  return findings
}

function clockFinding(clock: ProbeResult['clock']): Finding | null {
  if (clock === null) return null
  const { offset, uncertainty } = clock
  const seconds = (us: number): string => `${(us / 1e6).toFixed(1)} s`
  // As far off as it is at least.
  const least = Math.max(0, Math.abs(offset) - uncertainty)
  const text =
    least === 0
      ? `equal to the exchange's within ${seconds(uncertainty + Math.abs(offset))}`
      : `${seconds(Math.abs(offset))} (± ${seconds(uncertainty)}) ${offset > 0 ? 'behind' : 'ahead of'} the exchange's`
  const fix = 'set the clock of this machine: timedatectl set-ntp true (or chronyc makestep)'
  if (least > CLOCK_MAX) return problem('clock', `${text}: the exchange refuses signatures that are so far off`, fix, EXIT.exchange)
  return least > CLOCK_LOW
    ? warning('clock', `${text}: not far from the ${CLOCK_MAX / 1e6} s beyond which nothing is traded`, fix)
    : fine('clock', text)
}
function milliseconds(us: number): string {
  return `${Math.max(1, Math.round(us / 1000))} ms`
}
