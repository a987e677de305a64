/** Safe markup. Owns escaping: text from outside enters a page through `html` only. Invariant: a plain string in a template is text, never markup. */

/** Markup that may stand in a page as it is. */
export class Markup {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}
type Value = Markup | string | number | null | undefined | false | readonly Value[]

export function html(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  let out = strings[0] ?? ''
  values.forEach((value, i) => {
    out += render(value) + (strings[i + 1] ?? '')
  })
  return new Markup(out)
}
/** Markup made by us (an SVG of the chart library), taken as it is. */
export function raw(text: string): Markup {
  return new Markup(text)
}
function render(value: Value): string {
  if (value === null || value === undefined || value === false) return ''
  if (value instanceof Markup) return value.text
  if (Array.isArray(value)) return value.map((v: Value) => render(v)).join('')
  return escape(typeof value === 'string' ? value : `${value as number}`)
}
export function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;')
}
