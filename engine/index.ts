/** The public door: what a strategy author imports from 'tapeline'. */
export { rollingByMarket } from './strategy.ts'
export type {
  Basket,
  BookView,
  Desk,
  ExternalView,
  FillView,
  Leg,
  MarketView,
  Parameter,
  Quote,
  Rolling,
  SettlementView,
  Strategy,
  Take,
  TradeView,
} from './strategy.ts'
export { DAY, HOUR, MILLISECOND, MINUTE, PRICE_ONE, SECOND, formatMoney, formatPrice, formatQuantity } from './units.ts'
export type { Duration, Money, Position, Price, Quantity, Side, Timestamp } from './units.ts'
