/**
 * How the exchange says no (api.md §4.12): four shapes of error bodies. Owns the shapes; invariant: a refused request changed nothing.
 *
 * | shape | when                                   | body                                            |
 * |-------|----------------------------------------|-------------------------------------------------|
 * | A     | authentication, business rules         | `{"error":{"code","message","details"?}}`       |
 * | B     | JSON of the wrong type, items of a batch | `{"code","message","details"}`                |
 * | C     | query parameters                       | `{"msg"}`                                       |
 * | D     | 429                                    | `{"error":"too many requests"}`                 |
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: number
  readonly body: unknown
  readonly code: string
  readonly details: string | undefined

  constructor(status: number, code: string, body: unknown, details?: string) {
    super(code)
    this.status = status
    this.code = code
    this.body = body
    this.details = details
  }
  /** Shape B, as an item of a batch carries it. */
  get flat(): { code: string; message: string; details: string } {
    return { code: this.code, message: words(this.code), details: this.details ?? '' }
  }
}

function words(code: string): string {
  return code === 'authentication_error' ? code : code.replaceAll('_', ' ')
}
/** Shape A. */
export function refuse(status: number, code: string, details?: string): Refusal {
  const error = details === undefined ? { code, message: words(code) } : { code, message: words(code), details }
  return new Refusal(status, code, { error }, details)
}
/** Shape B. */
export function badRequest(details: string): Refusal {
  return new Refusal(400, 'bad_request', { code: 'bad_request', message: 'bad request', details }, details)
}
/** Shape C. */
export function badQuery(message: string): Refusal {
  return new Refusal(400, 'bad_query', { msg: message }, message)
}
/** Shape D. */
export function tooMany(): Refusal {
  return new Refusal(429, 'too_many_requests', { error: 'too many requests' })
}
