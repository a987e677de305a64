/** The one line that a list says of a strategy: the first sentence of the doc comment of its factory. Reads text, runs nothing. */

/** `exported`: `default`, or the name of the function. Null where there is no comment. */
export function describe(source: string, exported: string): string | null {
  const name = exported.replaceAll(/[^\w$]/g, '')
  const head = exported === 'default' ? String.raw`export\s+default\s` : String.raw`export\s+(?:declare\s+)?(?:function|const)\s+${name}\b`
  const comment = new RegExp(String.raw`/\*\*((?:(?!\*/)[\s\S])*)\*/\s*${head}`).exec(source)?.[1]
  if (comment === undefined) return null
  const text = comment
    .split('\n')
    .map((line) => line.replace(/^\s*\*?\s?/, ''))
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim()
  return /^(.+?[.!?])(\s|$)/.exec(text)?.[1] ?? (text === '' ? null : text)
}
