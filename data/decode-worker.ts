/** The decoding worker: runs `decode` beside the engine and hands its buffers over, at most `ring` at a time. */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../engine/assert.ts'
import { decode, type Buffers, type DecodeRequest } from './decode.ts'

const { request, ring } = workerData as { readonly request: DecodeRequest; readonly ring: number }
const port = parentPort
assert(port !== null, 'the decoding worker is started as a worker')

const free: Buffers[] = []
let made = 0
let wake: (() => void) | null = null
let stopped = false
port.on('message', (buffers: Buffers | null) => {
  if (buffers === null) stopped = true
  else free.push(buffers)
  wake?.()
  wake = null
})

/** The reader wants no more. */
class Stopped extends Error {}

/** A buffer that came back, null while new ones may be made; else waits. */
async function reuse(): Promise<Buffers | null> {
  if (stopped) throw new Stopped()
  if (free.length === 0 && made < ring) {
    made++
    return null
  }
  while (free.length === 0 && !stopped) await new Promise<void>((resolve) => (wake = resolve))
  if (stopped) throw new Stopped()
  return free.pop() as Buffers
}

async function main(): Promise<void> {
  assert(port !== null, 'the decoding worker is started as a worker')
  try {
    for await (const columns of decode(request, reuse)) {
      const { length: _length, details: _details, ...buffers } = columns
      port.postMessage({ columns }, Object.values(buffers))
    }
    port.postMessage({ columns: null })
  } catch (error) {
    // `decode` closed its database on the way here.
    if (stopped) return
    port.postMessage({ columns: null, error: { message: error instanceof Error ? error.message : String(error) } })
  }
}
void main().finally(() => port?.close())
