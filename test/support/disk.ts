/** A disk of a few megabytes that a test may fill. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const mounted: string[] = []

/** Mounts one; null: this machine does not allow it. */
export function smallDisk(at: string, megabytes: number): string | null {
  mkdirSync(at, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', at], { stdio: 'ignore' })
  } catch {
    return null
  }
  mounted.push(at)
  return at
}
export function unmountAll(): void {
  for (const at of mounted.splice(0)) execFileSync('umount', ['-l', at])
}
/** Why such a disk cannot be had here, for the name of a test; '' when it can. */
export function noDiskBecause(): string {
  const at = mkdtempSync(join(tmpdir(), 'tapeline-'))
  try {
    if (smallDisk(at, 1) === null) return ' (skipped: this machine does not allow a test to mount a small disk)'
    unmountAll()
    return ''
  } finally {
    rmSync(at, { recursive: true, force: true })
  }
}
/** Fills the disk, but for so many bytes. */
export function fill(path: string, left: number): void {
  const fd = openSync(path, 'w')
  const piece = Buffer.alloc(4096, 1)
  let written = 0
  try {
    for (;;) written += writeSync(fd, piece)
  } catch {
    // That is what was wanted.
  }
  closeSync(fd)
  truncateSync(path, Math.max(0, written - left))
}
