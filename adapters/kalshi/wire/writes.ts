/**
 * Answers to writes (OpenAPI 3.34.0, V2): create, amend, decrease, cancel, batches, order groups. Owns every field name of them; hides nothing. Invariant: counts are decimal text; what an answer must say
 * to be believed is required.
 */
import { Check, decimal, integer, listOf, object, string } from './fields.ts'

const averages = { average_fill_price: decimal, average_fee_paid: decimal }
const flatError = object({}, { code: string, message: string, details: string })

export const WRITES = {
  create: new Check(
    object({ order_id: string, fill_count: decimal, remaining_count: decimal, ts_ms: integer }, { client_order_id: string, ...averages }),
  ),
  amend: new Check(
    object({ order_id: string, ts_ms: integer }, { client_order_id: string, remaining_count: decimal, fill_count: decimal, ...averages }),
  ),
  decrease: new Check(object({ order_id: string, remaining_count: decimal, ts_ms: integer }, { client_order_id: string })),
  cancel: new Check(object({ order_id: string, reduced_by: decimal, ts_ms: integer }, { client_order_id: string })),
  cancelBatch: new Check(
    object({
      orders: listOf(object({ order_id: string }, { client_order_id: string, reduced_by: decimal, ts_ms: integer, error: flatError })),
    }),
  ),
  groupCreate: new Check(object({ order_group_id: string }, { subaccount: integer, exchange_index: integer })),
} as const
