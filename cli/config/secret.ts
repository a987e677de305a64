/** What looks like key material. Owns the patterns; hides nothing. Invariant: a text that matches is never repeated in any output, so whoever reads texts of a user asks here first. */

const PATTERNS: readonly RegExp[] = [
  // PEM, and what becomes of it when it is quoted, encoded for a URL, as base64 or as hex.
  /-{3,}\s*(BEGIN|END)\b/,
  /PRIVATE(\s|%20|\+)KEY/,
  /LS0tLS1CRUdJT/,
  /2d2d2d2d2d424547494e/i,
  // The body without its frame: DER of RSA and Ed25519 keys as base64 or hex.
  /(^|[^A-Za-z0-9+/])MI[I-J][A-Za-z0-9+/]{24,}/,
  /M[CFG][4ECM]CAQ[AE]w[BA][A-Za-z0-9+/]{10,}/,
  /\b30(82[0-9a-f]{4}|2e|53)020100?[0-9a-f]{16,}/i,
]

export function looksLikeKey(text: string): boolean {
  return PATTERNS.some((pattern) => pattern.test(text))
}

/** A word of the user that may be shown: short, one line, no key. */
export function shown(text: string): string {
  const line = text.replace(/\p{Cc}+/gu, ' ')
  if (looksLikeKey(text) || /[A-Za-z0-9+/=_-]{41,}/.test(line)) return '(not shown)'
  return line.length > 60 ? `${line.slice(0, 60)}…` : line
}
