/** A secret in every form in which it could slip out. Owns the forms; hides how they are looked for. */

export function encodingsOf(secret: string): {
  readonly raw: string
  readonly base64: string
  readonly base64url: string
  readonly hex: string
  readonly url: string
  readonly json: string
  readonly body: string
} {
  const bytes = Buffer.from(secret)
  return {
    raw: secret,
    base64: bytes.toString('base64'),
    base64url: bytes.toString('base64url'),
    hex: bytes.toString('hex'),
    url: encodeURIComponent(secret),
    json: JSON.stringify(secret),
    body: secret.replace(/-----[^-]+-----|\s/g, ''),
  }
}

/** The first piece of the secret that a text repeats in any form; null: none. Frames of PEM are no secret. */
export function repeats(text: string, secret: string): string | null {
  const body = secret.replace(/-----[^-]+-----|\s/g, '')
  const der = Buffer.from(body, 'base64')
  const forms = [
    ...Object.values(encodingsOf(secret)),
    ...Object.values(encodingsOf(body)),
    der.toString('hex'),
    der.toString('latin1'),
    [...der].join(','),
    body.split('').reverse().join(''),
  ]
  // What all keys of a kind begin with is no secret either.
  const known = /BEGIN|END|PRIVATE|KEY-|LS0t|2d2d2d/
  const PIECE = 14
  for (const form of forms) {
    const start = form.length > 600 ? 120 : 0
    for (let i = start; i + PIECE <= form.length; i += 1) {
      const piece = form.slice(i, i + PIECE)
      if (!known.test(piece) && text.includes(piece)) return piece
    }
  }
  return null
}
