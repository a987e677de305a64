/**
 * What a notebook shows: any value as a piece of a page. Owns which form a value takes; hides the markup of tables. Invariants: text from
 * a value is escaped; a table that is cut says so.
 */
import { html, Markup, raw } from './markup.ts'
import { count, utcMillis } from './words.ts'

/** A chart: static SVG and the sentence under it. */
export class Figure {
  readonly svg: string
  readonly caption: Markup | string
  /** Pixels, where it is to stay smaller than the page; null: as wide as the page. */
  readonly width: number | null
  constructor(svg: string, caption: Markup | string = '', width: number | null = null) {
    this.svg = svg
    this.caption = caption
    this.width = width
  }
}

export type Shown = { readonly type: 'table' | 'figure' | 'html' | 'text' | 'value'; readonly markup: Markup; readonly rows?: number }

const ROWS_MAX = 100

export function shown(value: unknown): Shown {
  if (value instanceof Figure)
    return {
      type: 'figure',
      markup:
        value.width === null
          ? html`<figure><div class="chart" tabindex="0">${raw(value.svg)}</div><figcaption>${value.caption}<span class="swipe"> Swipe the chart sideways.</span></figcaption></figure>`
          : html`<figure${raw(` style="max-width:${value.width}px"`)}><div class="chart small">${raw(value.svg)}</div><figcaption>${value.caption}</figcaption></figure>`,
    }
  if (value instanceof Markup) return { type: 'html', markup: html`<div>${value}</div>` }
  const table = tableOf(value)
  if (table !== null) return { type: 'table', markup: tableMarkup(table), rows: table.rows.length }
  if (typeof value === 'string')
    return { type: 'text', markup: value.includes('\n') ? html`<pre class="said">${value}</pre>` : html`<p class="said">${value}</p>` }
  return {
    type: 'value',
    markup: html`<pre class="said">${typeof value === 'object' && value !== null ? json(value) : cellText(value)}</pre>`,
  }
}

type Rows = { readonly names: readonly string[]; readonly rows: readonly Readonly<Record<string, unknown>>[] }

/** Arrays of objects, and what looks like an Arrow table (numRows, schema.fields, getChild). */
function tableOf(value: unknown): Rows | null {
  if (Array.isArray(value)) {
    if (
      value.length === 0 ||
      !value.every((row) => typeof row === 'object' && row !== null && !Array.isArray(row) && !(row instanceof Date))
    )
      return null
    const rows = value as Record<string, unknown>[]
    const names = new Set<string>()
    for (const row of rows.slice(0, 1000)) for (const name of Object.keys(row)) names.add(name)
    return { names: [...names], rows }
  }
  if (typeof value !== 'object' || value === null || !('numRows' in value) || !('schema' in value) || !('getChild' in value)) return null
  const arrow = value as {
    numRows: number
    schema: { fields: readonly { name: string }[] }
    getChild(name: string): { get(i: number): unknown } | null
  }
  const names = arrow.schema.fields.map((f) => f.name)
  const columns = names.map((name) => arrow.getChild(name))
  return {
    names,
    rows: Array.from({ length: arrow.numRows }, (_, i) => Object.fromEntries(names.map((name, c) => [name, columns[c]?.get(i)]))),
  }
}

function tableMarkup({ names, rows }: Rows): Markup {
  const numeric = new Set(
    names.filter((name) => {
      const known = rows.map((row) => row[name]).filter((v) => v !== null && v !== undefined)
      return known.length > 0 && known.every((v) => typeof v === 'number' || typeof v === 'bigint')
    }),
  )
  // Sentences wrap, so that a table with one does not run out of the page.
  const long = new Set(names.filter((name) => rows.some((row) => typeof row[name] === 'string' && row[name].length > 60)))
  const cell = (name: string, v: unknown): Markup =>
    numeric.has(name) && v !== null && v !== undefined
      ? html`<td class="n" data-v="${Number(v)}">${cellText(v)}</td>`
      : html`<td${raw(numeric.has(name) ? ' class="n"' : long.has(name) ? ' class="long"' : '')}>${v instanceof Markup ? v : cellText(v)}</td>`
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table"><table><thead><tr>${names.map((name) => html`<th scope="col"${raw(numeric.has(name) ? ' class="n"' : '')} data-sort>${name}</th>`)}</tr></thead><tbody>
${rows.slice(0, ROWS_MAX).map((row) => html`<tr>${names.map((name) => cell(name, row[name]))}</tr>\n`)}</tbody></table></div>${rows.length > ROWS_MAX && html`<p class="soft small">The first ${ROWS_MAX} of ${count(rows.length)} rows.</p>`}`
}

function cellText(v: unknown): string {
  if (v === null || v === undefined) return 'n/a'
  if (typeof v === 'number') {
    if (!Number.isFinite(v)) return 'n/a'
    const text = Number.isInteger(v) ? count(Math.abs(v)) : Math.abs(v).toLocaleString('en-US', { maximumSignificantDigits: 6 })
    return v < 0 ? `−${text}` : text
  }
  if (typeof v === 'bigint') return v.toLocaleString('en-US')
  if (v instanceof Date) return utcMillis(v.getTime() * 1000)
  if (typeof v === 'object') return json(v)
  return typeof v === 'string' ? v : String(v as boolean)
}
function json(v: object): string {
  return JSON.stringify(v, (_, x: unknown) => (typeof x === 'bigint' ? Number(x) : ArrayBuffer.isView(x) ? `${x.constructor.name}` : x), 1)
}
