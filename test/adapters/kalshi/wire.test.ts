import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ENDPOINTS, errorOf, type Endpoint } from '../../../adapters/kalshi/wire/answers.ts'
import { command, PAYLOADS, readFrame } from '../../../adapters/kalshi/wire/stream.ts'

const shared = fileURLToPath(new URL('../../../../shared/kalshi', import.meta.url))
const there = existsSync(join(shared, 'recorded'))
const why = there ? '' : ' (skipped: no recorded answers on this machine)'

describe('frames', () => {
  it('FEED-14 FEED-15: whatever comes is a message, an unknown type or malformed, and nothing throws', () => {
    const kinds = new Set<string>()
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc
            .record({
              type: fc.constantFrom(...Object.keys(PAYLOADS), 'ok', 'unsubscribed', 'new'),
              sid: fc.oneof(fc.nat(), fc.anything()),
              seq: fc.oneof(fc.nat(), fc.anything()),
              msg: fc.anything(),
            })
            .map(safeText),
        ),
        (text) => {
          const frame = readFrame(text)
          kinds.add(frame.kind)
          return frame.kind === 'message' || frame.kind === 'unknown' || (frame.kind === 'malformed' && frame.reason.length > 0)
        },
      ),
      { numRuns: 3_000 },
    )
    expect(kinds.size).toBe(3)
    expect(readFrame('{"type":"x","__proto__":{"polluted":1}}')).toMatchObject({ kind: 'unknown' })
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    expect(readFrame(`${'['.repeat(100_000)}`)).toMatchObject({ kind: 'malformed' })
  })

  it('are read for what they say, an empty side is empty, and an unknown side is unreadable', () => {
    const snapshot = { type: 'orderbook_snapshot', sid: 1, seq: 1, msg: { market_ticker: 'T', yes_dollars_fp: [['0.4700', '3.00']] } }
    expect(readFrame(JSON.stringify(snapshot))).toMatchObject({
      kind: 'message',
      message: { type: 'orderbook_snapshot', sid: 1, seq: 1, id: null },
    })
    const delta = { market_ticker: 'T', price_dollars: '0.4700', delta_fp: '-3.00', side: 'maybe' }
    expect(readFrame(JSON.stringify({ type: 'orderbook_delta', sid: 1, seq: 2, msg: delta }))).toMatchObject({
      kind: 'malformed',
      reason: expect.stringMatching(/^orderbook_delta side: /),
    })
    expect(readFrame('{"id":3,"type":"ok","msg":[{"channel":"ticker","sid":2}]}')).toMatchObject({
      message: { subscriptions: [{ sid: 2 }] },
    })
    expect(readFrame('{"type":"ticker","sid":"1","msg":{}}')).toMatchObject({ kind: 'malformed' })
  })

  it('FEED-08: commands always say in which prices the NO side is wanted', () => {
    expect(JSON.parse(command.subscribe(1, ['orderbook_delta'], { tickers: ['A'] }))).toEqual({
      id: 1,
      cmd: 'subscribe',
      params: { channels: ['orderbook_delta'], market_tickers: ['A'], use_yes_price: true },
    })
    expect(JSON.parse(command.update(2, 7, 'get_snapshot', ['A']))).toEqual({
      id: 2,
      cmd: 'update_subscription',
      params: { sids: [7], action: 'get_snapshot', market_tickers: ['A'] },
    })
  })

  it('of errors are read in all four shapes', () => {
    expect(errorOf('{"error":{"code":"not_found","message":"not found"}}')).toEqual({ code: 'not_found', details: 'not found' })
    expect(errorOf('{"code":"bad_request","message":"m","details":"d"}')).toEqual({ code: 'bad_request', details: 'd' })
    expect(errorOf('{"msg":"limit"}')).toEqual({ code: 'parameters', details: 'limit' })
    expect(errorOf('{"error":"too many requests"}')).toEqual({ code: 'too many requests', details: '' })
    expect(errorOf('<html>')).toBeNull()
    expect(errorOf('{"msg":"\\u001b[31mred"}')?.details).toBe(' [31mred')
  })
})

describe('the published interface', () => {
  it.skipIf(!there)(`answers that were recorded pass the checks${why}`, () => {
    const files = readdirSync(join(shared, 'recorded'))
    const failed: string[] = []
    let checked = 0
    const legacy: string[] = []
    for (const file of files.filter((f) => f.endsWith('.json') && !f.endsWith('.meta.json'))) {
      const metaFile = join(shared, 'recorded', file.replace('.json', '.meta.json'))
      const meta = existsSync(metaFile)
        ? (JSON.parse(readFileSync(metaFile, 'utf8')) as { method: string; path: string; status: number })
        : { method: 'GET', path: '/trade-api/v2/markets', status: 200 }
      if (meta.method !== 'GET') continue
      const body = readFileSync(join(shared, 'recorded', file), 'utf8')
      if (meta.status >= 400) {
        checked++
        if (errorOf(body) === null) failed.push(`${file}: its error says nothing`)
        continue
      }
      const endpoint = endpointOf(meta.path)
      if (endpoint === null) {
        legacy.push(meta.path)
        continue
      }
      checked++
      const { check } = ENDPOINTS[endpoint]
      const value: unknown = JSON.parse(body)
      if (!check.is(value)) failed.push(`${file} (${endpoint}): ${check.why(value)}`)
    }
    expect(failed).toEqual([])
    expect(legacy).toEqual([])
    expect(checked).toBeGreaterThan(25)
    let frames = 0
    for (const file of files.filter((f) => f.startsWith('ws__') && f.endsWith('.jsonl')))
      for (const line of readFileSync(join(shared, 'recorded', file), 'utf8')
        .split('\n')
        .filter((l) => l !== '')) {
        frames++
        expect([line, readFrame(line).kind]).toEqual([line, 'message'])
      }
    expect(frames).toBeGreaterThan(10)
  })

  it.skipIf(!there)(`has the fields of the checks, and they have all of its fields${why}`, () => {
    const asyncapi = specOf('asyncapi-2026-10-01-reconstructed.yaml')
    const openapi = specOf('openapi-3.34.0-reconstructed.yaml')
    const differences: string[] = []
    const compare = (name: string, ours: readonly string[], theirs: readonly string[]): void => {
      for (const f of ours) if (!theirs.includes(f)) differences.push(`${name}: ${f} is ours alone`)
      for (const f of theirs) if (!ours.includes(f)) differences.push(`${name}: ${f} is missing`)
    }
    const streams: Record<string, readonly string[]> = {
      orderbook_snapshot: ['orderbookSnapshotPayload'],
      orderbook_delta: ['orderbookDeltaPayload'],
      ticker: ['tickerPayload'],
      trade: ['tradePayload'],
      fill: ['fillPayload'],
      market_lifecycle_v2: ['marketLifecycleV2Payload', 'marketMetadataUpdatedPayload'],
      multivariate_market_lifecycle: ['multivariateMarketLifecyclePayload'],
      event_lifecycle: ['eventLifecyclePayload'],
      event_fee_update: ['eventFeeUpdatePayload'],
      market_position: ['marketPositionPayload'],
      order_group_updates: ['orderGroupUpdatesPayload'],
      user_order: ['userOrderPayload'],
      cfbenchmarks_value: ['cfbenchmarksValuePayload'],
      cfbenchmarks_value_5hz: ['cfbenchmarksValue5HzPayload'],
      pyth_value: ['pythValuePayload'],
      cfbenchmarks_value_indexlist: ['cfbenchmarksIndexListPayload'],
      pyth_value_underlying_list: ['pythUnderlyingListPayload'],
      subscribed: ['subscribedResponsePayload'],
      error: ['errorResponsePayload'],
    }
    for (const [type, names] of Object.entries(streams))
      compare(type, fieldsOf(PAYLOADS[type as keyof typeof PAYLOADS]), [...new Set(names.flatMap((n) => asyncapi(n, 'msg')))])
    const rest: readonly [Endpoint, string, string][] = [
      ['market', 'market', 'Market'],
      ['event', 'event', 'EventData'],
      ['series', 'series', 'Series'],
      ['seriesFeeChanges', 'series_fee_change_arr', 'SeriesFeeChange'],
      ['eventFeeChanges', 'event_fee_changes', 'EventFeeChange'],
      ['orderbook', 'orderbook_fp', 'OrderbookCountFp'],
      ['trades', 'trades', 'Trade'],
      ['candles', 'candlesticks', 'MarketCandlestick'],
      ['historicalCandles', 'candlesticks', 'MarketCandlestickHistorical'],
      ['orders', 'orders', 'Order'],
      ['fills', 'fills', 'Fill'],
      ['positions', 'market_positions', 'MarketPosition'],
      ['positions', 'event_positions', 'EventPosition'],
      ['settlements', 'settlements', 'Settlement'],
      ['queuePositions', 'queue_positions', 'OrderQueuePosition'],
      ['historicalOrders', 'orders', 'Order'],
      ['historicalFills', 'fills', 'Fill'],
      ['apiKeys', 'api_keys', 'ApiKey'],
      ['netting', 'netting_configs', 'SubaccountNettingConfig'],
      ['exchangeSchedule', 'schedule', 'Schedule'],
    ]
    for (const [endpoint, field, name] of rest) compare(name, fieldsOf(ENDPOINTS[endpoint].check.schema, field), openapi(name))
    const whole: readonly [Endpoint, string][] = [
      ['exchangeStatus', 'ExchangeStatus'],
      ['accountLimits', 'GetAccountApiLimitsResponse'],
      ['endpointCosts', 'GetAccountEndpointCostsResponse'],
      ['balance', 'GetBalanceResponse'],
      ['historicalCutoff', 'GetHistoricalCutoffResponse'],
      ['userDataTimestamp', 'GetUserDataTimestampResponse'],
    ]
    for (const [endpoint, name] of whole) compare(name, fieldsOf(ENDPOINTS[endpoint].check.schema), openapi(name))
    expect(differences).toEqual([])
    const paths = readFileSync(join(shared, 'openapi-3.34.0-reconstructed.yaml'), 'utf8')
    for (const { path } of Object.values(ENDPOINTS)) expect([path, paths.includes(`\n  ${path}:\n`)]).toEqual([path, true])
  })
})

function safeText(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null'
  } catch {
    return '{}'
  }
}
function endpointOf(path: string): Endpoint | null {
  const bare = path.replace('/trade-api/v2', '').replace(/\?.*$/, '')
  const found = (Object.entries(ENDPOINTS) as [Endpoint, { path: string }][])
    .filter(([, e]) => new RegExp(`^${e.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(bare))
    .sort((a, b) => a[1].path.split('{').length - b[1].path.split('{').length)[0]
  return found?.[0] ?? null
}
type Schema = { properties?: Record<string, Schema>; items?: Schema; anyOf?: Schema[] }
function fieldsOf(schema: unknown, field?: string): string[] {
  const s = schema as Schema
  const inner = field === undefined ? s : s.properties?.[field]
  return Object.keys((inner?.items ?? inner)?.properties ?? {})
}
/** Names of the properties of a schema in a published document: read by indentation, which is all that it takes. */
function specOf(file: string): (schema: string, inside?: string) => string[] {
  const lines = readFileSync(join(shared, file), 'utf8').split('\n')
  const indent = (line: string): number => line.length - line.trimStart().length
  const block = (from: number): [number, number] => {
    let to = from + 1
    while (to < lines.length && (lines[to] === '' || indent(lines[to] as string) > indent(lines[from] as string))) to++
    return [from + 1, to]
  }
  const find = (key: string, [from, to]: [number, number], depth?: number): number => {
    for (let i = from; i < to; i++)
      if ((lines[i] as string).trim() === `${key}:` && (depth === undefined || indent(lines[i] as string) === depth)) return i
    return -1
  }
  const propertiesOf = (range: [number, number]): string[] => {
    const first = find('properties', range, indent(lines[range[0]] as string))
    const at = first >= 0 ? first : find('properties', range)
    if (at < 0) return []
    const [from, to] = block(at)
    const depth = indent(lines[from] as string)
    return lines.slice(from, to).flatMap((l) =>
      indent(l) === depth && /^\s*['"]?[\w]+['"]?:/.test(l)
        ? [
            l
              .trim()
              .replace(/['"]?:.*$/, '')
              .replace(/^['"]/, ''),
          ]
        : [],
    )
  }
  const schemas = lines.findIndex((l) => l === '  schemas:')
  return (name, inside) => {
    const at = find(name, block(schemas), 4)
    if (at < 0) throw new Error(`${file} has no ${name}`)
    if (inside === undefined) return propertiesOf(block(at))
    const properties = find('properties', block(at), 6)
    const msg = find(inside, block(properties), 8)
    return propertiesOf(block(msg))
  }
}
