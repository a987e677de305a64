/**
 * Kalshi's published schemas as validators: OpenAPI 3.0 and AsyncAPI turned into plain JSON Schema. Every object is closed, so that a field which the spec does not
 * know is a failure too.
 */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Ajv, type ValidateFunction } from 'ajv'
import { parse } from 'yaml'
import type { Json } from './support.ts'

const shared = fileURLToPath(new URL('../../../../shared/kalshi', import.meta.url))
export const OPENAPI = `${shared}/openapi-3.34.0-reconstructed.yaml`
export const ASYNCAPI = `${shared}/asyncapi-2026-10-01-reconstructed.yaml`
export const RECORDED = `${shared}/recorded`
export const present = existsSync(OPENAPI) && existsSync(ASYNCAPI)

/** `nullable` becomes a union; an object with properties takes no others. `inside`: a part of an allOf cannot be closed by itself. */
function plain(node: unknown, inside = false): unknown {
  if (Array.isArray(node)) return node.map((n) => plain(n))
  if (typeof node !== 'object' || node === null) return node
  const source = node as Json
  const out: Json = {}
  for (const [key, value] of Object.entries(source)) {
    if (
      key === 'nullable' ||
      key === 'example' ||
      key === 'examples' ||
      key === 'description' ||
      key === 'format' ||
      key.startsWith('x-') ||
      key === 'deprecated'
    )
      continue
    if (key === 'properties') out[key] = Object.fromEntries(Object.entries(value as Json).map(([name, v]) => [name, plain(v)]))
    else out[key] = key === 'allOf' ? (value as unknown[]).map((v) => plain(v, true)) : plain(value)
  }
  if (source['properties'] !== undefined && source['additionalProperties'] === undefined && !inside && source['allOf'] === undefined)
    out['additionalProperties'] = false
  return source['nullable'] === true ? { anyOf: [{ type: 'null' }, out] } : out
}

export class Schemas {
  readonly #ajv = new Ajv({ strict: false, allErrors: true, allowUnionTypes: true })
  readonly #openapi: Json
  readonly #compiled = new Map<string, ValidateFunction>()
  /** Answers and frames checked, by name. */
  readonly checked = new Map<string, number>()

  constructor() {
    this.#openapi = parse(readFileSync(OPENAPI, 'utf8')) as Json
    this.#ajv.addSchema({
      $id: 'rest',
      components: plain({ schemas: this.#openapi['components'].schemas, responses: this.#openapi['components'].responses ?? {} }) as Json,
    })
    const asyncapi = parse(readFileSync(ASYNCAPI, 'utf8')) as Json
    this.#ajv.addSchema({ $id: 'ws', components: plain({ schemas: asyncapi['components'].schemas }) as Json })
  }

  /** Paths and methods of the spec. */
  get operations(): { method: string; path: string; id: string }[] {
    return Object.entries(this.#openapi['paths'] as Json).flatMap(([path, ops]) =>
      Object.entries(ops as Json)
        .filter(([m]) => ['get', 'post', 'put', 'delete'].includes(m))
        .map(([m, op]) => ({ method: m.toUpperCase(), path, id: (op as Json)['operationId'] as string })),
    )
  }

  /** Problems of an answer, [] for none. A status that the spec does not list is a problem. */
  answer(method: string, path: string, status: number, body: unknown): string[] {
    const op = this.#openapi['paths'][path]?.[method.toLowerCase()] as Json | undefined
    if (op === undefined) return [`the spec has no ${method} ${path}`]
    let response = op['responses'][String(status)] as Json | undefined
    if (response === undefined) return [`${op['operationId']}: the spec has no status ${status}`]
    if (response['$ref'] !== undefined)
      response = this.#openapi['components'].responses[(response['$ref'] as string).split('/').at(-1) as string] as Json
    this.#count(`${op['operationId']} ${status}`)
    // The spec has one error shape, the wire has four (recorded): the wire wins.
    if (status >= 400) return errorShape(body) ? [] : [`${op['operationId']} ${status}: none of the four error shapes`]
    const schema = response['content']?.['application/json']?.schema as Json | undefined
    if (schema === undefined) return []
    return this.#check(`${op['operationId']} ${status}`, rebase(plain(schema) as Json, 'rest'), body)
  }
  frame(message: Json): string[] {
    const type = message['type'] as string
    let name = `${type.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase())}Payload`
    if (type === 'ok')
      name = Array.isArray(message['msg'])
        ? 'listSubscriptionsResponsePayload'
        : message['msg']?.index_ids
          ? 'subscribedIndicesResponsePayload'
          : 'okResponsePayload'
    if (type === 'subscribed' || type === 'unsubscribed' || type === 'error') name = `${type}ResponsePayload`
    if (type === 'cfbenchmarks_value_indexlist') name = 'cfbenchmarksIndexListPayload'
    if (type === 'cfbenchmarks_value_5hz') name = 'cfbenchmarksValue5HzPayload'
    if (type === 'pyth_value_underlying_list') name = 'pythUnderlyingListPayload'
    this.#count(type)
    return this.#check(name, { $ref: `ws#/components/schemas/${name}` }, message)
  }

  #count(name: string): void {
    this.checked.set(name, (this.checked.get(name) ?? 0) + 1)
  }
  #check(key: string, schema: Json, value: unknown): string[] {
    let validate = this.#compiled.get(key)
    if (validate === undefined) {
      validate = this.#ajv.compile(schema)
      this.#compiled.set(key, validate)
    }
    if (validate(value)) return []
    return (validate.errors ?? []).map((e) => `${key}${e.instancePath}: ${e.message} ${JSON.stringify(e.params)}`)
  }
}

function errorShape(body: unknown): boolean {
  const keys = (v: unknown): string =>
    typeof v === 'object' && v !== null
      ? Object.keys(v)
          .filter((k) => k !== 'details')
          .sort()
          .join()
      : typeof v
  const b = body as Json
  return (
    (keys(b) === 'error' && (keys(b['error']) === 'code,message' || b['error'] === 'too many requests')) ||
    keys(b) === 'code,message' ||
    keys(b) === 'msg'
  )
}

function rebase(node: Json, base: string): Json {
  return JSON.parse(JSON.stringify(node).replaceAll('"#/components/', `"${base}#/components/`)) as Json
}

/** Shape of a value: names and types, numbers apart from strings. */
export function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])]
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value
  return Object.fromEntries(Object.entries(value as Json).map(([k, v]) => [k, shapeOf(v)]))
}
