/** Channels of the WebSocket, by name. Owns the list (A10); `communications` is known and silent: requests for quotes are not played. */
export const CHANNELS = [
  'orderbook_delta',
  'ticker',
  'trade',
  'fill',
  'market_positions',
  'user_orders',
  'order_group_updates',
  'market_lifecycle_v2',
  'multivariate_market_lifecycle',
  'communications',
  'cfbenchmarks_value',
  'cfbenchmarks_value_5hz',
  'pyth_value',
] as const
export type Channel = (typeof CHANNELS)[number]
