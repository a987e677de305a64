/**
 * Assertions: the voice of broken invariants. They stay on in production; the text is static and states the positive
 * rule, so that a failing run names what should have held.
 */

/** A broken invariant: a bug of ours or data that passed a check it should not have. Never caught inside the engine. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
  readonly code = 'TAPELINE_INVARIANT'
}

export function assert(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new AssertionError(`Invariant: ${rule}`)
}

/** Exhaustiveness: a new member of a union is a compile error wherever it is not handled. */
export function unreachable(value: never): never {
  throw new AssertionError(`Invariant: every case is handled, but ${String(value)} is not`)
}
