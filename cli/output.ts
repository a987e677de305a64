/** What a command prints. Owns the JSON envelope, tables and progress; results go to stdout, everything else to stderr. */
import { EXIT, failureOf } from './exit.ts'

export type Outcome<T> = {
  readonly data: T
  readonly warnings?: readonly string[]
  readonly text?: string
  readonly exit?: number
  readonly error?: { readonly code: string; readonly message: string }
  /** Where there are several: for the envelope instead of `error`. */
  readonly errors?: readonly { readonly code: string; readonly message: string }[]
}

/** Runs a command's body and prints its outcome once: an envelope with `--json`, text without. Sets the exit code. */
export async function present<T>(command: string, json: boolean, body: () => Promise<Outcome<T>>): Promise<void> {
  try {
    const { data, warnings = [], text, exit = EXIT.ok, error, errors = error === undefined ? [] : [error] } = await body()
    if (json) {
      process.stdout.write(
        `${JSON.stringify({ schema: `tapeline.${command.replaceAll(' ', '-')}/1`, ok: exit === EXIT.ok, command, data, warnings, errors })}\n`,
      )
    } else {
      if (text !== undefined) process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
      for (const w of warnings) process.stderr.write(`warning: ${w}\n`)
      if (error !== undefined) process.stderr.write(`error: ${error.message}\n`)
    }
    process.exitCode = exit
  } catch (caught) {
    const failure = failureOf(caught)
    if (json) {
      process.stdout.write(
        `${JSON.stringify({ schema: `tapeline.${command.replaceAll(' ', '-')}/1`, ok: false, command, data: null, warnings: [], errors: (failure.all ?? [failure.message]).map((message) => ({ code: failure.code, message })) })}\n`,
      )
    } else process.stderr.write(`error: ${failure.message}\n`)
    if (failure.exit === EXIT.bug && caught instanceof Error && process.env['TAPELINE_DEBUG'] !== undefined)
      process.stderr.write(`${caught.stack ?? ''}\n`)
    process.exitCode = failure.exit
  }
}

/** Rows of cells as aligned text; numbers to the right. */
export function tableText(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((h, c) => Math.max(h.length, ...rows.map((r) => (r[c] ?? '').length)))
  const numeric = header.map((_, c) => rows.length > 0 && rows.every((r) => /^[-+$−]?[\d.,]*%?$|^$|^n\/a$/.test((r[c] ?? '').trim())))
  const line = (cells: readonly string[]): string =>
    cells
      .map((x, c) => (numeric[c] === true ? x.padStart(widths[c] ?? 0) : x.padEnd(widths[c] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(header), line(widths.map((w) => '─'.repeat(w))), ...rows.map(line)].join('\n')
}

export type Progress = { update(done: number, total: number, note: string): void; end(): void }

/** A bar with rate and time left on a terminal's stderr; elsewhere silent. */
export async function progress(label: string, quiet: boolean): Promise<Progress> {
  if (quiet || !process.stderr.isTTY) return { update() {}, end() {} }
  const { SingleBar, Presets } = await import('cli-progress')
  const bar = new SingleBar(
    {
      format: `${label} {bar} {percentage}% · {note} · {eta_formatted} left`,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
    },
    Presets.shades_classic,
  )
  let started = false
  return {
    update(done, total, note) {
      if (!started) {
        bar.start(total, 0, { note })
        started = true
      }
      bar.setTotal(total)
      bar.update(Math.min(done, total), { note })
    },
    end() {
      if (started) bar.stop()
    },
  }
}

export function count(n: number): string {
  return n.toLocaleString('en-US')
}
