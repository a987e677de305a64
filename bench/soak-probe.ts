/**
 * What a process says of itself while it soaks: loaded before the program (`--import`), it adds a line of figures to the file $SOAK_PROBE every ten seconds. Owns the figures; hides nothing.
 * Invariant: it keeps no process alive, and worker threads do not report.
 */
import { appendFileSync, readdirSync, readlinkSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const file = process.env['SOAK_PROBE']
const EVERY_MS = 10_000

if (isMainThread && file !== undefined) {
  const loop = monitorEventLoopDelay({ resolution: 10 })
  loop.enable()
  let cpu = process.cpuUsage()
  let at = performance.now()
  setInterval(() => {
    const { rss, heapUsed, external } = process.memoryUsage()
    const used = process.cpuUsage(cpu)
    const now = performance.now()
    const kinds: Record<string, number> = {}
    for (const kind of process.getActiveResourcesInfo()) kinds[kind] = (kinds[kind] ?? 0) + 1
    const fds = openFiles()
    const line = {
      time: Date.now(),
      rss,
      heap: heapUsed,
      external,
      cpu: (used.user + used.system) / 1000 / (now - at),
      fds: fds.length,
      sockets: fds.filter((to) => to.startsWith('socket:')).length,
      handles: Object.values(kinds).reduce((a, b) => a + b, 0),
      timers: kinds['Timeout'] ?? 0,
      loopP50: loop.percentile(50) / 1e6,
      loopP99: loop.percentile(99) / 1e6,
      loopMax: loop.max / 1e6,
    }
    cpu = process.cpuUsage()
    at = now
    loop.reset()
    appendFileSync(file, `${JSON.stringify(line)}\n`)
  }, EVERY_MS).unref()
}

function openFiles(): string[] {
  const to: string[] = []
  try {
    for (const fd of readdirSync('/proc/self/fd')) {
      try {
        to.push(readlinkSync(`/proc/self/fd/${fd}`))
      } catch {}
    }
  } catch {}
  return to
}
