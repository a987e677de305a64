/** Bodies of HTTP requests. Owns their largest size. */
import type { IncomingMessage } from 'node:http'

const BODY_MAX = 8 * 1024 * 1024

/** The whole body, or null when it is too long or the client left. */
export async function readBody(request: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = []
  let size = 0
  try {
    for await (const part of request) {
      size += (part as Buffer).length
      if (size > BODY_MAX) return null
      parts.push(part as Buffer)
    }
  } catch {
    return null
  }
  return Buffer.concat(parts).toString('utf8')
}
