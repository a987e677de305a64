/**
 * The thread that looks where a call hangs. Owns one look: shortly before the main thread's call is broken off, it pauses it for a moment through the inspector and reads the
 * frames. Hides the inspector. Invariant: a call that ends in time is never paused.
 */
import { Session } from 'node:inspector'
import { workerData, type MessagePort } from 'node:worker_threads'

const { turns, port, milliseconds } = workerData as { turns: Int32Array; port: MessagePort; milliseconds: number }
let turn = 0
let since = performance.now()
let looked = 0
setInterval(
  () => {
    // Odd while a call is running.
    const now = Atomics.load(turns, 0)
    if (now !== turn) {
      turn = now
      since = performance.now()
    } else if (now % 2 === 1 && looked !== now && performance.now() - since > milliseconds * 0.7) {
      looked = now
      look()
    }
  },
  Math.min(500, milliseconds / 10),
)

function look(): void {
  const session = new Session()
  session.connectToMainThread()
  const scripts = new Map<string, string>()
  session.on('Debugger.scriptParsed', ({ params }) => scripts.set(params.scriptId, params.url))
  session.on('Debugger.paused', ({ params }) => {
    port.postMessage(
      params.callFrames.map(({ location }) => ({
        script: scripts.get(location.scriptId) ?? '',
        line: location.lineNumber,
        column: location.columnNumber ?? 0,
      })),
    )
    session.post('Debugger.resume')
    session.post('Debugger.disable')
    session.disconnect()
  })
  session.post('Debugger.enable')
  session.post('Debugger.pause')
}
