import { expect, it } from 'vitest'
import { ruleOf } from '../../cli/live-connection.ts'
import { sameTerms } from '../../cli/live/resumed.ts'
import { LIMITS_DEFAULT } from '../../engine/risk.ts'

const markets = { series: ['KXA'], markets: [], closeWithin: 900, closeAfter: null, spreadMax: 400, volumeMin: null, marketsMax: 7 }
const brakes = { orderGroupContracts: 100, absenceMargin: 60, closeMargin: 30 }
const header = { limits: LIMITS_DEFAULT, cash: 500 }
const plan = { subaccount: 1, rule: markets, brakes }
const binding = { limits: LIMITS_DEFAULT, cash: 500, subaccount: 1, markets, ...brakes }
const differences = (of: Parameters<typeof sameTerms>[1], wanted: Parameters<typeof sameTerms>[2]): string => {
  try {
    sameTerms('sessions/a', of, wanted)
    return ''
  } catch (error) {
    const { code, exit, message } = error as { code: string; exit: number; message: string }
    expect([code, exit]).toEqual(['DIFFERS', 5])
    return message
  }
}

it('a session goes on under the terms that are armed, or not at all; every difference is named', () => {
  expect(differences({ header, plan }, binding)).toBe('')
  const all = differences(
    { header, plan },
    {
      limits: { ...LIMITS_DEFAULT, orderMax: LIMITS_DEFAULT.orderMax / 2, sessionLossMax: 1 },
      cash: 100,
      subaccount: 2,
      orderGroupContracts: 5,
      absenceMargin: 61,
      closeMargin: 31,
      markets: { ...markets, series: ['KXB'], closeWithin: 1, spreadMax: null, marketsMax: 8 },
    },
  )
  for (const name of [
    'limits.orderContracts is',
    'limits.sessionLossDollars is',
    'live.cashDollars is 0.0005 in the session and 0.0001',
    'subaccount',
    'live.orderGroupContracts',
  ])
    expect(all).toContain(name)
  for (const name of ['absenceMargin', 'closeMargin', 'series', 'closeWithin', 'spreadMax', 'marketsMax']) expect(all).toContain(name)
})
it('of a session that kept less, what it kept is compared', () => {
  const old = { header, plan: { subaccount: 1 } }
  expect(differences(old, { ...binding, closeMargin: 31, markets: { ...markets, marketsMax: 8 } })).toBe('')
  expect(differences(old, { ...binding, cash: 499 })).toMatch(/cashDollars is 0\.0005 in the session and 0\.000499/)
})
it('the feed gets the whole rule that is armed', () => {
  expect(ruleOf({ series: ['KXA'], markets: null, rule: markets })).toEqual({
    series: ['KXA'],
    closeWithin: 900,
    spreadMax: 400,
    marketsMax: 7,
  })
  expect(ruleOf({ series: null, markets: ['M'] })).toEqual({ tickers: ['M'] })
})
