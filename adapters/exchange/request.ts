/**
 * Requests as the exchange reads them: query parameters checked like its Go binding does, bodies decoded like its JSON decoder does. Owns the words of
 * both refusals; invariant: a value that got through has the type it says.
 */
import { parseDecimal } from '../../engine/units.ts'
import { badQuery, badRequest, Refusal, refuse } from './refusal.ts'

/**
 * A page of a list, newest first: items have numbers that fall along it. A cursor is the number of the last item that was shown, so the next page goes on there even
 * where that item has left the filter since. One that says nothing starts at the first page, silently (recorded).
 */
export function paged<T>(
  items: readonly T[],
  limit: number,
  cursor: string | null,
  numberOf: (item: T) => number,
): { page: T[]; cursor: string } {
  const said = /^below:(\d{1,15})$/.exec(Buffer.from(cursor ?? '', 'base64url').toString('utf8'))
  const below = said === null ? Infinity : Number(said[1])
  const found = items.findIndex((item) => numberOf(item) < below)
  const from = found < 0 ? items.length : found
  const page = items.slice(from, from + limit)
  const last = page.at(-1)
  const more = from + page.length < items.length
  return { page, cursor: more && last !== undefined ? Buffer.from(`below:${numberOf(last)}`).toString('base64url') : '' }
}

export class Query {
  readonly #operation: string
  readonly #params: URLSearchParams

  constructor(operation: string, params: URLSearchParams) {
    this.#operation = operation
    this.#params = params
  }
  text(name: string): string | null {
    const value = this.#params.get(name)
    return value === null || value === '' ? null : value
  }
  required(name: string): string {
    const value = this.text(name)
    if (value === null) throw this.#failed(name, 'required')
    return value
  }
  list(name: string): string[] {
    return this.#params
      .getAll(name)
      .flatMap((v) => v.split(','))
      .map((v) => v.trim())
      .filter((v) => v !== '')
  }
  flag(name: string, otherwise = false): boolean {
    const value = this.text(name)
    if (value === null) return otherwise
    if (value === 'true' || value === '1') return true
    if (value === 'false' || value === '0') return false
    throw badQuery(`Invalid format for parameter ${name}: strconv.ParseBool: parsing "${value}": invalid syntax`)
  }
  integer(name: string): number | null {
    const value = this.text(name)
    if (value === null) return null
    if (!/^-?\d{1,15}$/.test(value))
      throw badQuery(`Invalid format for parameter ${name}: strconv.ParseInt: parsing "${value}": invalid syntax`)
    return Number(value)
  }
  requiredInteger(name: string): number {
    const value = this.integer(name)
    if (value === null) throw this.#failed(name, 'required')
    return value
  }
  /** A limit outside its range is refused, never cut (recorded). 0 means the default. */
  limit(most: number, standard: number, least = 0): number {
    const value = this.integer('limit')
    if (value === null) return standard
    if (value > most) throw this.#failed('limit', 'lte')
    if (value < least) throw this.#failed('limit', 'gte')
    return value === 0 ? standard : value
  }
  oneOf<T extends string>(name: string, words: readonly T[]): T | null {
    const value = this.text(name)
    if (value === null) return null
    if (!words.includes(value as T)) throw refuse(400, 'bad_request', `invalid ${name} filter`)
    return value as T
  }
  /** Times of the API are whole seconds. */
  seconds(name: string): number | null {
    const value = this.integer(name)
    return value === null ? null : value * 1_000_000
  }
  failed(name: string, tag: string): Refusal {
    return this.#failed(name, tag)
  }
  #failed(name: string, tag: string): Refusal {
    const field = name
      .split('_')
      .map((w) => `${w[0]?.toUpperCase() ?? ''}${w.slice(1)}`)
      .join('')
    return badQuery(
      `Parameter validation failed for ${this.#operation}: Key: '${this.#operation}Params.${field}' Error:Field validation for '${field}' failed on the '${tag}' tag`,
    )
  }
}

type FieldType = 'string' | 'bool' | 'int64' | 'array'
export type Body = Readonly<Record<string, unknown>>

/** Decodes a JSON object whose known fields have these types; unknown fields are ignored, as Go does. */
export function decodeBody(text: string, struct: string, fields: Readonly<Record<string, FieldType>>, optional = false): Body {
  if (optional && text.trim() === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badRequest(text.trim() === '' ? 'EOF' : 'invalid JSON in the request body')
  }
  return checkFields(value, struct, fields)
}
export function checkFields(value: unknown, struct: string, fields: Readonly<Record<string, FieldType>>): Body {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest(`json: cannot unmarshal ${goName(value)} into Go value of type ${struct}`)
  const body = value as Record<string, unknown>
  const out: Record<string, unknown> = {}
  for (const [name, type] of Object.entries(fields)) {
    if (!Object.hasOwn(body, name)) continue
    const v = body[name]
    if (v === null) continue
    const fits =
      type === 'string'
        ? typeof v === 'string'
        : type === 'bool'
          ? typeof v === 'boolean'
          : type === 'array'
            ? Array.isArray(v)
            : Number.isSafeInteger(v)
    if (!fits) throw badRequest(`json: cannot unmarshal ${goName(v)} into Go struct field ${struct}.${name} of type ${type}`)
    out[name] = v
  }
  return out
}
function goName(v: unknown): string {
  if (Array.isArray(v)) return 'array'
  return v === null ? 'null' : typeof v === 'boolean' ? 'bool' : typeof v
}

export function stringOf(body: Body, name: string): string | null {
  const v = body[name]
  return typeof v === 'string' ? v : null
}
export function flagOf(body: Body, name: string): boolean {
  return body[name] === true
}
export function integerOf(body: Body, name: string): number | null {
  const v = body[name]
  return typeof v === 'number' ? v : null
}
/** A fixed-point count as Quantity; null: not given. */
export function countOf(body: Body, name: string): number | null {
  const v = stringOf(body, name)
  if (v === null) return null
  const q = parseDecimal(v, 2)
  if (Number.isNaN(q)) throw refuse(400, 'invalid_parameters', `${name} is not a fixed-point count with at most two decimals`)
  return q
}
/** Fixed-point dollars as Price units; null: not given. */
export function dollarsOf(body: Body, name: string): number | null {
  const v = stringOf(body, name)
  if (v === null) return null
  const p = parseDecimal(v, 4)
  if (Number.isNaN(p)) throw refuse(400, 'invalid_parameters', `${name} is not a fixed-point dollar amount with at most four decimals`)
  return p
}
export function requireField<T>(value: T | null, name: string): T {
  if (value === null) throw refuse(400, 'invalid_parameters', `${name} is required`)
  return value
}
