import { describe, expect, it } from 'vitest'
import { nextState, ORDER_LIFE, type OrderEvent, type OrderState } from '../../engine/order.ts'

/** As a trader reads it: state, then what each event leads to. `·`: cannot happen, the session stops. */
const LIFE = `
state      accepted  rejected  fill      fill-last canceled  cancel-rejected no-answer absent-proved amend-sent cancel-sent
sent       working   rejected  working   filled    canceled  ·               unknown   ·             ·          ·
working    working   ·         working   filled    canceled  ·               unknown   ·             amending   canceling
amending   working   working   amending  filled    canceled  ·               unknown   ·             ·          ·
canceling  canceling rejected  canceling filled    canceled  working         unknown   ·             ·          ·
unknown    working   rejected  unknown   filled    canceled  unknown         unknown   absent        ·          ·
absent     adopt     ·         adopt     adopt     =         =               ·         ·             ·          ·
rejected   adopt     ·         adopt     adopt     ·         =               ·         ·             ·          ·
canceled   ·         =         book      book      =         =               ·         ·             ·          ·
filled     =         =         ·         ·         =         =               ·         ·             ·          ·
`

describe("an order's life", () => {
  const [head, ...rows] = LIFE.trim()
    .split('\n')
    .map((l) => l.split(/ +/))
  it('is this table, and nothing else', () => {
    expect(rows.map((r) => r[0])).toEqual(Object.keys(ORDER_LIFE))
    for (const [state, ...steps] of rows) {
      steps.forEach((step, i) => {
        const event = head?.[i + 1] as OrderEvent
        if (step === '·') expect(() => nextState(state as OrderState, event), `${state} ${event}`).toThrow(/cannot see/)
        else expect(nextState(state as OrderState, event), `${state} ${event}`).toBe(step)
      })
    }
  })
})
