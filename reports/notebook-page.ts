/**
 * A notebook as one HTML file in the look of a report. Owns the order of prose, code and what it showed; hides the styles. Invariants: no
 * request to anywhere; the same notebook over the same data gives the same bytes (no clock, no duration).
 */
import { escape, html, type Markup } from './markup.ts'
import { markdown } from './markdown.ts'
import { SCRIPT, STYLE } from './page.ts'
import type { Shown } from './shown.ts'

export type NotebookCell =
  | { readonly kind: 'markdown'; readonly text: string }
  | {
      readonly kind: 'code'
      /** Highlighted source. */
      readonly code: Markup
      readonly line: number
      readonly shown: readonly Shown[]
      readonly error: string | null
      /** False: an error before it ended the run. */
      readonly ran: boolean
    }
export type NotebookPage = {
  readonly title: string
  readonly cells: readonly NotebookCell[]
  readonly practice: boolean
  readonly parameters: Readonly<Record<string, string>>
  readonly command: string
  readonly version: string
}

const NOTEBOOK_STYLE = `
:root{--t-word:#7a3e9d;--t-text:#1f6f43;--t-number:#9a4a00;--t-note:#6a737d}
@media (prefers-color-scheme:dark){:root{--t-word:#d9a0ee;--t-text:#7fd6a3;--t-number:#ffb374;--t-note:#8b96a2}}
main{max-width:920px}
h1,h2,h3,p,ul,ol,blockquote{max-width:760px}
main>p,main>ul,main>ol{line-height:1.6}
h2{border:0;padding:0;margin:34px 0 6px}
ul,ol{padding-left:22px;margin:6px 0}li{margin:3px 0}
blockquote{margin:10px 0;padding:2px 14px;border-left:3px solid var(--faint);color:var(--soft)}
p code,li code,td code{background:var(--panel);padding:1px 4px;border-radius:4px}
pre.code{margin:12px 0 0;padding:10px 14px;border-radius:8px;white-space:pre-wrap;border-left:3px solid var(--faint)}
pre.said{margin:8px 0;background:none;padding:2px 14px;white-space:pre-wrap}p.said{margin:8px 0;padding:2px 14px;border-left:3px solid var(--c1)}
td.long{white-space:normal;min-width:260px}@media (max-width:560px){td.long{min-width:180px}.out th,.out td{padding:4px 6px}pre.code{font-size:12px;padding:8px 10px}}.chart.small svg{min-width:0!important}
.out{margin:6px 0 18px}.out .scroll{margin:8px 0}.out>div{margin:8px 0}
.t-w{color:var(--t-word)}.t-s{color:var(--t-text)}.t-n{color:var(--t-number)}.t-c{color:var(--t-note)}
.error{background:var(--warn);color:var(--warnink);border-radius:8px;padding:8px 14px;margin:8px 0;white-space:pre-wrap}
.skipped{opacity:.55}
`

export function renderNotebook(page: NotebookPage): string {
  const parameters = Object.entries(page.parameters)
  const body = html`${page.practice && html`<div class="practice">Practice data: made by a seeded population of agents, not recorded from an exchange</div>`}
<main>
${page.cells.map(cell)}
<hr style="border:0;border-top:1px solid var(--faint);margin:40px 0 8px">
<p class="soft small">${parameters.length > 0 && html`Parameters: ${parameters.map(([k, v]) => `${k}=${v}`).join(' ')}. `}Tapeline ${page.version}. Run it again:</p>
<pre>${page.command}</pre>
</main>`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
<title>${escape(page.title)}</title><style>${STYLE}${NOTEBOOK_STYLE}</style></head><body>${body.text}<script>${SCRIPT}</script></body></html>
`
}

function cell(c: NotebookCell): Markup {
  if (c.kind === 'markdown') return html`${markdown(c.text)}\n`
  return html`<pre class="code${!c.ran && ' skipped'}">${c.code}</pre>
<div class="out">${c.shown.map((s) => s.markup)}${c.error !== null && html`<div class="error" role="alert">${c.error}</div>`}${!c.ran && c.error === null && html`<p class="soft small">Not run: an error above ended the run.</p>`}</div>\n`
}
