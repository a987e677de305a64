/** The weekly maintenance of the exchange: Thursday 03:00 to 05:00 in New York, whatever the season. Owns the calendar; hides time zones. Invariant: a pure function of the time. */
const FORMAT = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/New_York',
  weekday: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const FROM = 3 * 3600
const TO = 5 * 3600

/** Whether it is on; `until`: µs. `ahead`: so long before (µs) it counts already. */
export function maintenanceAt(time: number, ahead = 0): { readonly until: number } | null {
  const now = wallOf(time)
  const soon = wallOf(time + ahead)
  if (now.thursday && now.seconds >= FROM && now.seconds < TO) return { until: time - (time % 1e6) + (TO - now.seconds) * 1e6 }
  if (ahead > 0 && soon.thursday && soon.seconds >= FROM && soon.seconds < TO)
    return { until: time + ahead - ((time + ahead) % 1e6) + (TO - soon.seconds) * 1e6 }
  return null
}
function wallOf(time: number): { readonly thursday: boolean; readonly seconds: number } {
  const parts = new Map(FORMAT.formatToParts(time / 1000).map((p) => [p.type, p.value]))
  const of = (what: 'hour' | 'minute' | 'second'): number => Number(parts.get(what))
  return { thursday: parts.get('weekday') === 'Thu', seconds: of('hour') * 3600 + of('minute') * 60 + of('second') }
}
