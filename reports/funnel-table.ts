/** The funnel on the page: one compact table with a bar a step. Owns the markup; hides nothing. Invariant: what does not apply says so instead of showing a zero. */
import type { Funnel, FunnelStep } from './funnel.ts'
import { html, raw, type Markup } from './markup.ts'
import { count, percent } from './words.ts'

export function funnelSection({ steps, gates, verdict }: Funnel): Markup {
  return html`<h2>From rows to fills</h2>
<p>${verdict}</p>
<div class="scroll funnel" tabindex="0" role="region" aria-label="From rows to fills"><table><caption>What was left at each step, and why the rest was lost</caption><thead><tr><th scope="col">Step</th><th scope="col" class="n">Count</th><th scope="col">Left</th></tr></thead><tbody>
${steps.map(row)}</tbody></table></div>
${
  gates.length > 0 &&
  html`<details><summary>Refusals by gate, in the order in which risk asks</summary><div class="scroll funnel" tabindex="0" role="region" aria-label="Refusals by gate"><table><caption>Refusals by gate</caption><thead><tr><th scope="col">Gate</th><th scope="col" class="n">Refusals</th><th scope="col" class="n">Wishes it ended</th><th scope="col">Limit</th><th scope="col">Means</th><th scope="col">What would change it</th></tr></thead><tbody>
${gates.map((g) => html`<tr><td>${g.reason}</td><td class="n">${count(g.times)}</td><td class="n">${count(g.wishes)}</td><td>${g.limit}</td><td class="wrap text">${g.meaning}</td><td class="wrap text">${g.change}</td></tr>\n`)}</tbody></table></div></details>`
}`
}

/** The reason stands below its step over the whole width: on a narrow screen a fourth column would be out of sight. */
function row(s: FunnelStep): Markup {
  if (s.notApplicable !== null)
    return html`<tr><td class="wrap">${s.label}</td><td class="n"></td><td class="soft wrap">${s.notApplicable}</td></tr>\n`
  const left = s.of === null || s.of === 0 ? null : s.count / s.of
  return html`<tr${raw(s.why === null ? '' : ' class="open"')}><td class="wrap">${s.label}</td><td class="n">${count(s.count)}</td><td>${left !== null && html`<span class="bar"><i${raw(` style="width:${(left * 100).toFixed(1)}%"`)}></i></span> ${percent(left)}<span class="wide"> of ${count(s.of ?? 0)}</span>`}</td></tr>
${s.why !== null && html`<tr><td colspan="3" class="soft wrap">${s.why}</td></tr>\n`}`
}
