/** The look of a report: one style sheet and one small script, both inside the page. Owns colors, layout, print; hides nothing. Invariant: no address of anything outside. */
export const STYLE = `
:root{color-scheme:light dark;--page:#fff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#59636e;--faint:#c9d0d8;--c1:#0b63b0;--c2:#8a3fa0;--good:#00735a;--bad:#b84500;--warn:#fff4d6;--warnink:#5c4400}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--panel:#1d2127;--ink:#e7eaee;--soft:#a3adb8;--faint:#3c444d;--c1:#6cb2ff;--c2:#d9a0ee;--good:#4fd1a1;--bad:#ff9a5c;--warn:#3a2f10;--warnink:#ffe2a0}}
*{box-sizing:border-box}
body{margin:0;overflow-wrap:anywhere;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1000px;margin:0 auto;padding:20px 20px 60px}
h1{font-size:24px;line-height:1.25;margin:8px 0 4px}h2{font-size:18px;margin:36px 0 8px;border-bottom:1px solid var(--faint);padding-bottom:4px}
p{margin:6px 0}.soft{color:var(--soft)}.small{font-size:13px}
.practice{background:var(--warn);color:var(--warnink);padding:10px 20px;font-weight:600;text-align:center}
.notes{background:var(--warn);color:var(--warnink);border-radius:8px;padding:10px 16px;margin:14px 0}.notes ul{margin:4px 0;padding-left:20px}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:2px 24px;margin:10px 0;font-size:14px}.facts div{display:flex;gap:8px}.facts b{font-weight:500;color:var(--soft);flex:0 0 96px}.facts .wide{grid-column:1/-1}.facts span{overflow-wrap:anywhere;min-width:0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:10px;margin:14px 0}
.card{background:var(--panel);border-radius:8px;padding:10px 12px;min-width:0}.card .k{font-size:13px;color:var(--soft)}.card .v{font-size:22px;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}.card .d{font-size:12px;color:var(--soft);overflow-wrap:anywhere}
.nb{white-space:nowrap}.up{color:var(--good)}.down{color:var(--bad)}
figure{margin:10px 0}figure svg{width:100%;height:auto;max-width:100%;display:block}figcaption{font-size:13px;color:var(--soft)}
figure svg.dash{display:inline-block;width:26px;height:4px;vertical-align:middle;margin:0 4px 0 10px}
.key{display:inline-block;width:14px;height:0;border-top:3px solid;vertical-align:middle;margin:0 4px 0 10px}
.scroll{overflow-x:auto;max-height:520px;overflow-y:auto;border:1px solid var(--faint);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}th,td{padding:4px 10px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--faint)}th{position:sticky;top:0;background:var(--panel);font-weight:600}td.n,th.n{text-align:right}tr:last-child td{border-bottom:0}

.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:0 24px}.two h3{margin:14px 0 6px}h3{font-size:15px}caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}.scroll{position:relative}.scroll:focus-visible,summary:focus-visible,th button:focus-visible{outline:2px solid var(--c1);outline-offset:1px}th button{all:unset;cursor:pointer}th[aria-sort=ascending] button::after{content:" ↑"}th[aria-sort=descending] button::after{content:" ↓"}.swipe{display:none}
.scroll.funnel{max-height:none}.funnel td.wrap{white-space:normal}.funnel td.text{min-width:220px}.funnel tr.open td{border-bottom:0;padding-bottom:0}.bar{display:inline-block;width:72px;height:8px;border-radius:4px;background:var(--faint);vertical-align:middle;overflow:hidden;margin-right:4px}.bar i{display:block;height:100%;background:var(--c1)}
.beside td{white-space:normal;min-width:92px;vertical-align:top}td.text{white-space:normal;min-width:200px}td.wrap{white-space:normal}
details>summary{cursor:pointer;padding:6px 0}code,pre{font:13px/1.4 ui-monospace,SFMono-Regular,Menlo,monospace}pre{background:var(--panel);padding:10px 12px;border-radius:8px;white-space:pre-wrap;overflow-wrap:anywhere}
a{color:var(--c1)}
dl{display:grid;grid-template-columns:minmax(120px,220px) 1fr;gap:4px 16px;font-size:13px}dt{font-weight:500}dd{margin:0;min-width:0}
@media (max-width:560px){main{padding:12px 12px 40px}dl{grid-template-columns:1fr}dd{margin-bottom:8px}.card .v{font-size:19px}.chart{overflow-x:auto}.chart svg{min-width:620px}.swipe{display:inline}.cards{grid-template-columns:1fr 1fr}.funnel .wide{display:none}.bar{width:48px}.card .v{overflow-wrap:anywhere}}
@media print{:root{color-scheme:light;--page:#fff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#59636e;--faint:#c9d0d8;--c1:#0b63b0;--c2:#8a3fa0;--good:#00735a;--bad:#b84500;--warn:#fff4d6;--warnink:#5c4400}main{max-width:none;padding:0}.scroll{max-height:none;overflow:visible;border:0}table{font-size:8pt}th,td{white-space:normal;padding:2px 5px}th{position:static}body{font-size:10pt}h2{break-after:avoid}figure,.card,tr{break-inside:avoid}.chart{overflow:visible}.chart svg{min-width:0}.noprint,.swipe{display:none}.card,.notes,.practice,pre{border:1px solid var(--faint)}}
`

/** Sorts a table by the column whose head is pressed, and opens what is folded before it prints. Nothing depends on it. */
export const SCRIPT = `
for(const th of document.querySelectorAll('th[data-sort]')){
const k=document.createElement('button');k.type='button';k.append(...th.childNodes);th.append(k)
k.addEventListener('click',()=>{
const t=th.closest('table'),b=t.tBodies[0],c=[...th.parentNode.children].indexOf(th),d=th.getAttribute('aria-sort')==='ascending'?-1:1
for(const o of th.parentNode.children)o.removeAttribute('aria-sort')
th.setAttribute('aria-sort',d>0?'ascending':'descending')
const v=r=>{const x=r.children[c];return x.dataset.v===undefined?x.textContent:+x.dataset.v}
b.append(...[...b.rows].sort((p,q)=>{const x=v(p),y=v(q);return (x<y?-1:x>y?1:0)*d}))})}
addEventListener('beforeprint',()=>{for(const d of document.querySelectorAll('details'))d.open=true})
`
