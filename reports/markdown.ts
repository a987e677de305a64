/**
 * Markdown as far as a notebook's prose needs it: headings, paragraphs, lists, tables, quotes, bold, italics, code, links. Owns the reading; hides nothing.
 * Invariant: text is escaped before anything is marked up, and a link goes to a web address, a file beside the page or a place on it, never to a script.
 */
import { escape, raw, type Markup } from './markup.ts'

export function markdown(text: string): Markup {
  const lines = text.split(/\r?\n/)
  const out: string[] = []
  let i = 0
  const at = (k: number): string => lines[k] ?? ''
  const starts = (line: string): boolean =>
    line.trim() === '' || /^(#{1,6} |```|> |\s*([-*]|\d+\.) )/.test(line) || (line.includes('|') && /^\s*\|/.test(line))
  while (i < lines.length) {
    const line = at(i)
    if (line.trim() === '') {
      i++
      continue
    }
    const heading = /^(#{1,6}) (.*)$/.exec(line)
    if (heading !== null) {
      const level = (heading[1] as string).length
      out.push(`<h${level}>${inline((heading[2] as string).trim())}</h${level}>`)
      i++
    } else if (line.startsWith('```')) {
      const code: string[] = []
      for (i++; i < lines.length && !at(i).startsWith('```'); i++) code.push(at(i))
      i++
      out.push(`<pre>${escape(code.join('\n'))}</pre>`)
    } else if (line.startsWith('> ')) {
      const quoted: string[] = []
      for (; at(i).startsWith('>'); i++) quoted.push(at(i).replace(/^> ?/, ''))
      out.push(`<blockquote>${markdown(quoted.join('\n')).text}</blockquote>`)
    } else if (/^\s*\|/.test(line) && /^\s*\|?[\s:|-]+\|?\s*$/.test(at(i + 1)) && at(i + 1).includes('-')) {
      const head = cells(line)
      const right = cells(at(i + 1)).map((c) => c.endsWith('-:'))
      const body: string[][] = []
      for (i += 2; /^\s*\|/.test(at(i)); i++) body.push(cells(at(i)))
      const cell = (tag: string, c: string, k: number): string => `<${tag}${right[k] === true ? ' class="n"' : ''}>${inline(c)}</${tag}>`
      out.push(
        `<div class="scroll" tabindex="0"><table><thead><tr>${head.map((c, k) => cell('th', c, k)).join('')}</tr></thead><tbody>${body
          .map((row) => `<tr>${row.map((c, k) => cell('td', c, k)).join('')}</tr>`)
          .join('')}</tbody></table></div>`,
      )
    } else if (/^\s*([-*]|\d+\.) /.test(line)) {
      const ordered = /^\s*\d+\. /.test(line)
      const items: string[] = []
      for (; i < lines.length; i++) {
        const item = /^\s*(?:[-*]|\d+\.) (.*)$/.exec(at(i))
        if (item !== null) items.push(item[1] as string)
        else if (at(i).trim() !== '' && /^\s/.test(at(i)) && items.length > 0) items[items.length - 1] += ` ${at(i).trim()}`
        else break
      }
      const tag = ordered ? 'ol' : 'ul'
      out.push(`<${tag}>${items.map((t) => `<li>${inline(t)}</li>`).join('')}</${tag}>`)
    } else {
      const words = [line.trim()]
      for (i++; i < lines.length && !starts(at(i)); i++) words.push(at(i).trim())
      out.push(`<p>${inline(words.join(' '))}</p>`)
    }
  }
  return raw(out.join('\n'))
}

/** The text of the first heading; null: there is none. */
export function firstHeading(text: string): string | null {
  return /^#{1,6} (.+)$/m.exec(text)?.[1]?.trim() ?? null
}

function cells(line: string): string[] {
  return line
    .trim()
    .replace(/^\||\|$/g, '')
    .split('|')
    .map((c) => c.trim())
}

function inline(text: string): string {
  // Code first: nothing inside it is marked up.
  return text
    .split(/(`[^`]+`)/)
    .map((part) => {
      if (/^`[^`]+`$/.test(part)) return `<code>${escape(part.slice(1, -1))}</code>`
      return escape(part)
        .replaceAll(/\[([^\]]+)\]\(([^)\s]+)\)/g, (whole: string, label: string, address: string) =>
          /^(https?:\/\/|#|\.{0,2}\/?[\w-][\w./-]*(#|$))/i.test(address) ? `<a href="${address}">${label}</a>` : whole,
        )
        .replaceAll(/\*\*([^*]+)\*\*/g, '<b>$1</b>')
        .replaceAll(/(^|[\s(])[*_]([^*_\s](?:[^*_]*[^*_\s])?)[*_](?=$|[\s.,;:!?)])/g, '$1<i>$2</i>')
    })
    .join('')
}
