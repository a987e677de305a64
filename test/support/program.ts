/** The shipped program, run as its user runs it. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const PROGRAM = fileURLToPath(new URL('../../dist/tapeline.js', import.meta.url))

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string; readonly seconds: number }
export type Envelope = {
  readonly ok: boolean
  readonly data: Record<string, unknown> | null
  readonly errors: readonly { readonly code: string; readonly message: string }[]
}

/** Runs the program in a folder. A process that a signal ended has code 128. */
export function runProgram(cwd: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const started = performance.now()
  return new Promise((done) => {
    execFile(
      process.execPath,
      [PROGRAM, ...args],
      { cwd, env: { ...process.env, NO_COLOR: '1', XDG_CACHE_HOME: `${cwd}/cache`, ...env }, maxBuffer: 1e8 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 128
        done({ code, stdout, stderr, seconds: (performance.now() - started) / 1000 })
      },
    )
  })
}

export async function runJson(cwd: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Envelope & Ran> {
  const ran = await runProgram(cwd, [...args, '--json'], env)
  return { ...(JSON.parse(ran.stdout) as Envelope), ...ran }
}
