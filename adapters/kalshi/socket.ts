/** Sockets over ws: the one door to it on this side. Owns handshake and frames; hides events. Invariant: `closed` comes exactly once, and nothing after it. */
import { WebSocket } from 'ws'
import type { Socket, SocketEvents, Sockets } from './ports.ts'

/** A book of 20,000 levels has half a megabyte. */
const FRAME_MAX = 4 * 1024 * 1024
const HANDSHAKE_TIMEOUT = 10_000

export class WsSockets implements Sockets {
  open(url: string, headers: Readonly<Record<string, string>>, events: SocketEvents): Socket {
    let ended = false
    const end = (code: number | null, reason: string, status: number | null = null): void => {
      if (ended) return
      ended = true
      events.closed({ code, reason: reason.slice(0, 120), status })
    }
    const ws = new WebSocket(url, {
      headers,
      perMessageDeflate: false,
      maxPayload: FRAME_MAX,
      handshakeTimeout: HANDSHAKE_TIMEOUT,
      followRedirects: false,
    })
    ws.on('open', () => {
      if (!ended) events.opened()
    })
    ws.on('message', (data, isBinary) => {
      if (ended) return
      if (isBinary) events.strange('binary frame')
      else events.frame((data as Buffer).toString('utf8'))
    })
    ws.on('ping', () => {
      if (!ended) events.heard()
    })
    ws.on('pong', () => {
      if (!ended) events.heard()
    })
    ws.on('unexpected-response', (request, response) => {
      response.resume()
      request.destroy()
      end(null, `the handshake was answered ${response.statusCode ?? 0}`, response.statusCode ?? null)
    })
    ws.on('error', (error) => {
      const code = 'code' in error ? String(error.code) : ''
      if (code.startsWith('WS_ERR') && ws.readyState === WebSocket.OPEN && !ended) events.strange(code)
      end(null, code === '' ? 'the connection failed' : code)
      ws.terminate()
    })
    ws.on('close', (code, reason) => end(code, reason.toString('utf8').replace(/\p{Cc}/gu, ' ')))
    return {
      send: (text) => {
        if (ws.readyState === WebSocket.OPEN) ws.send(text)
      },
      ping: () => {
        if (ws.readyState === WebSocket.OPEN) ws.ping()
      },
      destroy: () => {
        end(null, 'ended by us')
        ws.terminate()
      },
      get waiting() {
        return ws.bufferedAmount
      },
    }
  }
}
