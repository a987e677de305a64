/**
 * Fields of the wire: how Kalshi writes a price, a count, a time, a choice. Owns the vocabulary of the schemas; hides TypeBox from everything but this file.
 * Invariant: a field that decides money or state is checked for the values that are known, so that a new one makes its object unreadable instead of wrong.
 */
import { Type, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler'

declare const value: unique symbol
/** A schema, and the type of what passes it. */
export type Shape<T> = TSchema & { readonly [value]: T }
export type Value<S> = S extends Shape<infer T> ? T : never
type Shapes = Readonly<Record<string, Shape<unknown>>>
type Fields<R extends Shapes, O extends Shapes> = { readonly [K in keyof R]: Value<R[K]> } & {
  readonly [K in keyof O]?: Value<O[K]> | null
}

function shape<T>(schema: TSchema): Shape<T> {
  return schema as Shape<T>
}

/** A price, a count or an amount as decimal text. Older frames have JSON numbers now and then: their shortest text is meant. */
export const decimal = shape<string | number>(Type.Union([Type.String(), Type.Number()]))
export const string = shape<string>(Type.String())
export const number = shape<number>(Type.Number())
export const integer = shape<number>(Type.Integer())
export const boolean = shape<boolean>(Type.Boolean())
export const side = oneOf('yes', 'no')
export const bookSide = oneOf('bid', 'ask')
/** Levels of one side: [price, count]. */
export const levels = shape<readonly (readonly (string | number)[])[]>(Type.Array(Type.Array(decimal, { minItems: 2 })))
/** Bands of a price grid. */
export const priceRanges = listOf(object({ start: decimal, end: decimal, step: decimal }))

export function oneOf<const T extends string>(...values: readonly T[]): Shape<T> {
  return shape<T>(Type.Union(values.map((v) => Type.Literal(v))))
}
export function listOf<T>(item: Shape<T>): Shape<readonly T[]> {
  return shape<readonly T[]>(Type.Array(item))
}
/** Required fields, and fields that may be absent or null. Others are ignored. */
export function object<R extends Shapes, O extends Shapes = Readonly<Record<never, never>>>(
  required: R,
  optional?: O,
): Shape<Fields<R, O>> {
  const maybe = Object.entries(optional ?? {}).map(([key, schema]) => [key, Type.Optional(Type.Union([schema, Type.Null()]))])
  return shape<Fields<R, O>>(Type.Object({ ...required, ...(Object.fromEntries(maybe) as Record<string, TSchema>) }))
}
/** Fields that nothing here reads: present or not, of any form. */
export function unread<const K extends string>(...keys: readonly K[]): { readonly [P in K]: Shape<unknown> } {
  return Object.fromEntries(keys.map((k) => [k, shape<unknown>(Type.Unknown())])) as { [P in K]: Shape<unknown> }
}

/** A check that is compiled when it is first needed: a command that reads one answer does not pay for all. */
export class Check<T> {
  readonly schema: Shape<T>
  #compiled: TypeCheck<TSchema> | null = null

  constructor(schema: Shape<T>) {
    this.schema = schema
  }
  is(candidate: unknown): candidate is T {
    this.#compiled ??= TypeCompiler.Compile(this.schema)
    return this.#compiled.Check(candidate)
  }
  /** Where it is wrong first, and how. The value itself is not repeated. */
  why(candidate: unknown): string {
    this.#compiled ??= TypeCompiler.Compile(this.schema)
    const first = this.#compiled.Errors(candidate).First()
    return first === undefined
      ? 'is whole'
      : `${first.path === '' ? 'the whole' : first.path.slice(1).replaceAll('/', '.')}: ${first.message}`
  }
}
