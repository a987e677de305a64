/** `tapeline help faults`: what the local exchange can be made to do wrong, and its admin door. Owns the words; the rules are adapters/exchange/faults.ts and admin.ts. Invariant: the test takes every example from here and gives it to the exchange. */

export const FAULTS_TEXT = `Faults of the local exchange: tapeline exchange --practice --faults faults.json

  {"seed":7,"rules":[
    {"on":"frame","do":"drop","channel":"orderbook_delta","every":500},
    {"on":"request","do":"lose-response","operation":"CreateOrderV2","probability":0.05},
    {"on":"request","do":"status","status":503,"after":10,"times":3},
    {"on":"connect","do":"reset","times":2},
    {"on":"time","do":"disconnect","at":60000}]}

  seed decides the dice: the same rules, seed and traffic give the same faults. The first rule that fits is taken.
  Every rule but those of "time" may say when: "after" so many that fit, "every" n-th, at most so many "times",
  with a "probability", of one "account" (account-1).

  on "frame"    do drop, delay (ms), duplicate, reorder, corrupt, half-open, close, channel-error, overflow
                which: "channel" (orderbook_delta, trade, ticker, …), "type" of the message
  on "request"  do delay (ms), lose-response (it takes effect, no answer comes), late-effect (ms), status (status, code),
                html, too-many (429), reset, wrong-order (the answer tells of another order), no-order
                which: "operation" by its name in OpenAPI (CreateOrderV2, CancelOrderV2, GetOrders, …), "method";
                "effect": true – of status, html and no-order: the request takes effect all the same
  on "connect"  do status (status), reset
  on "time"     "at" milliseconds of exchange time after the start: do disconnect, half-open, stop-pings, start-pings,
                pause-trading, resume-trading, pause-exchange, resume-exchange (shard), freeze-reads, thaw-reads,
                read-lag (ms), clock-offset (ms)

The admin door: tapeline exchange --practice --admin-port 4513, then JSON over HTTP on 127.0.0.1:

  curl 127.0.0.1:4513/status                                               markets, accounts, audit of the money
  curl 127.0.0.1:4513/clock                                                the plan for --clock, and the time
  curl 127.0.0.1:4513/faults                                               rules, and every fault injected
  curl 127.0.0.1:4513/faults -d '{"on":"frame","do":"corrupt","times":1}'  a rule more, from now on
  curl 127.0.0.1:4513/faults -X DELETE                                     no rules any more
  curl 127.0.0.1:4513/sockets -d '{"do":"disconnect"}'                     also half-open, stop-pings, start-pings
  curl 127.0.0.1:4513/pause -d '{"what":"trading","paused":true}'          also "exchange", "shard"
  curl 127.0.0.1:4513/reads -d '{"lagMs":2000,"frozen":false}'             how far private reads lag
  curl 127.0.0.1:4513/clock -d '{"offsetMs":5000}'                         its face goes wrong, not its time
  curl 127.0.0.1:4513/markets/TICKER -d '{"do":"halt"}'                    also activate, close, dispute, settle,
                                                                           determine ("result"), move-close, regrid
  curl 127.0.0.1:4513/accounts/account-1 -d '{"dollars":100}'              a deposit
  curl 127.0.0.1:4513/indices -d '{"feed":"pyth","id":"BTC","value":"101000.5"}'  a value of an outside index
  curl 127.0.0.1:4513/stop -d '{}'                                         the end

What each behaviour of the exchange rests on, and what is a guess: adapters/exchange/TRUTH.md
`
