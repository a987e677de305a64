/**
 * `tapeline notebook run|new`: literate TypeScript into one HTML page. Owns running a notebook and what is kept when a cell fails; hides the
 * bundling. Invariants: what ran before an error is on the page; an error names the notebook's own line.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { CommandModule } from 'yargs'
import { DataError } from '../data/errors.ts'
import type { NotebookCell } from '../reports/notebook-page.ts'
import type { Shown } from '../reports/shown.ts'
import { once } from './backtest.ts'
import { EXIT, suggest, UsageError } from './exit.ts'
import type { Notebook } from './notebook-cells.ts'
import { plural } from '../reports/words.ts'
import { present, type Outcome } from './output.ts'
import { VERSION } from './version.ts'

type RunArguments = { file: string; out: string | undefined; param: string[] | undefined; json: boolean }
type RunData = {
  readonly notebook: string
  readonly page: string
  readonly cells: readonly {
    readonly line: number
    readonly ran: boolean
    readonly shown: readonly string[]
    readonly error: string | null
  }[]
  readonly parameters: Readonly<Record<string, string>>
  readonly seconds: number
}

const run: CommandModule<object, RunArguments> = {
  command: 'run <file>',
  describe: 'Run a notebook and write its page',
  builder: (y) =>
    y
      .positional('file', { type: 'string', demandOption: true, describe: 'A .nb.ts file' })
      .option('out', { type: 'string', requiresArg: true, describe: 'Page to write (default: <name>.html in this folder)' })
      .option('param', { type: 'string', array: true, requiresArg: true, describe: 'Parameter of the notebook, k=v (repeat for more)' })
      .option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })
      .check((argv) => once(argv)) as never,
  handler: (argv) => present('notebook run', argv.json, () => runNotebook(argv)),
}

const create: CommandModule<object, { name: string; json: boolean }> = {
  command: 'new <name>',
  describe: 'Write a notebook that runs, to start from',
  builder: (y) =>
    y
      .positional('name', { type: 'string', demandOption: true, describe: 'Its name or path' })
      .option('json', { type: 'boolean', default: false }) as never,
  handler: ({ name, json }) =>
    present('notebook new', json, async () => {
      const path = name.endsWith('.nb.ts') ? name : `${name.replace(/\.ts$/, '')}.nb.ts`
      if (existsSync(path)) throw new UsageError(`${path} is there already: choose another name`)
      await mkdir(dirname(resolve(path)), { recursive: true })
      await writeFile(path, TEMPLATE.replaceAll('TITLE', basename(path, '.nb.ts').replaceAll('-', ' ')), { flag: 'wx' })
      return { data: { notebook: path }, text: `${path}\n\nNext     npx tapeline notebook run ${path}\n` }
    }),
}

export const notebookCommand: CommandModule = {
  command: 'notebook',
  describe: 'Run literate TypeScript notebooks into HTML pages, or start one',
  builder: (y) => y.command(run).command(create).demandCommand(1, 'Give one of: run, new').strict(),
  handler: () => {},
}

// ---------------------------------------------------------------------------------------------------- running

type Failed = { readonly cell: number; readonly line: number; readonly message: string }

async function runNotebook({ file, out, param = [], json }: RunArguments): Promise<Outcome<RunData>> {
  if (!file.endsWith('.nb.ts')) throw new UsageError(`${file}: a notebook's name ends in .nb.ts; \`tapeline notebook new\` writes one`)
  if (!existsSync(file))
    throw new DataError('FILE_MISSING', `${file} does not exist: write one with \`tapeline notebook new ${basename(file, '.nb.ts')}\``)
  const started = performance.now()
  const { readNotebook, highlight } = await import('./notebook-cells.ts')
  const notebook = readNotebook(await readFile(file, 'utf8'), basename(file))
  const parameters = parametersOf(param, notebook, file)
  const shown: Shown[][] = notebook.cells.map(() => [])
  const begun = new Set<number>()
  const state = {
    practice: false,
    cell: Math.max(
      0,
      notebook.cells.findIndex((c) => c.kind === 'code'),
    ),
  }
  let failed: Failed | null = null
  const page = out ?? `${basename(file, '.nb.ts')}.html`

  const { setNotebookSession } = await import('../reports/notebook-session.ts')
  const { shown: form } = await import('../reports/shown.ts')
  const show = (value: unknown): void => void (shown[state.cell] as Shown[]).push(form(value))
  setNotebookSession({
    parameters,
    begin(cell) {
      state.cell = cell
      begun.add(cell)
      if (!json && process.stderr.isTTY) process.stderr.write(`\rcell at line ${notebook.cells[cell]?.line ?? 0} …  `)
    },
    async value(_, value) {
      const settled = await value
      if (settled !== undefined) show(settled)
    },
    show,
    practice: () => void (state.practice = true),
  })
  const write = async (): Promise<void> => {
    const { renderNotebook } = await import('../reports/notebook-page.ts')
    const { firstHeading } = await import('../reports/markdown.ts')
    const prose = notebook.cells.filter((c) => c.kind === 'markdown').map((c) => c.text)
    const cells = notebook.cells.map((c, k): NotebookCell => {
      if (c.kind === 'markdown') return { kind: 'markdown', text: c.text }
      const error = failed !== null && failed.cell === k ? `${basename(file)}:${failed.line}: ${failed.message}` : null
      return { kind: 'code', code: highlight(c.text), line: c.line, shown: shown[k] ?? [], error, ran: ran(k) }
    })
    // Nothing of the machine: a path that leaves this folder is left out.
    const here = relative('.', file)
    const command = [
      'npx tapeline notebook run',
      here.startsWith('..') ? basename(file) : here,
      ...param.map((p) => `--param ${/^[\w.,:=/+-]+$/.test(p) ? p : `'${p}'`}`),
    ]
    await mkdir(dirname(resolve(page)), { recursive: true })
    await writeFile(
      page,
      renderNotebook({
        title: firstHeading(prose.join('\n')) ?? basename(file),
        cells,
        practice: state.practice,
        parameters,
        command: command.join(' '),
        version: VERSION,
      }),
    )
  }
  // A cell of imports and types alone runs with the others.
  const ran = (k: number): boolean => failed === null || begun.has(k) || (begun.size > 0 && k < failed.cell)
  const interrupt = (): void => {
    failed = { cell: state.cell, line: notebook.cells[state.cell]?.line ?? 1, message: 'interrupted by Ctrl-C' }
    void write().finally(() => process.exit(EXIT.interrupted))
  }
  process.on('SIGINT', interrupt)
  const restore = captureConsole(show)
  try {
    if (notebook.module === null) {
      const { line, message } = notebook.problem ?? { line: 1, message: 'it cannot be read' }
      failed = { cell: cellOf(notebook, line), line, message }
    } else await execute(notebook.module, file)
  } catch (error) {
    failed = placeOf(error, file, notebook, state.cell)
  } finally {
    restore()
    process.off('SIGINT', interrupt)
    setNotebookSession(undefined)
    if (!json && process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  }
  await write()
  const seconds = Number(((performance.now() - started) / 1000).toFixed(3))
  const code = notebook.cells.flatMap((c, k) => (c.kind === 'code' ? [{ c, k }] : []))
  const data: RunData = {
    notebook: file,
    page,
    cells: code.map(({ c, k }) => ({
      line: c.line,
      ran: ran(k),
      shown: (shown[k] ?? []).map((s) => s.type),
      error: failed !== null && failed.cell === k ? failed.message : null,
    })),
    parameters,
    seconds,
  }
  const text = `${plural(code.filter(({ k }) => ran(k)).length, 'cell')} run of ${code.length}, ${plural(
    shown.flat().length,
    'thing',
  )} shown, ${seconds.toFixed(1)} s\nPage     ${page}\n`
  if (failed === null) return { data, text }
  const message = `${file}:${failed.line}: ${failed.message}`
  return { data, text, exit: EXIT.strategy, error: { code: 'NOTEBOOK', message } }
}

function parametersOf(given: readonly string[], { parameters }: Notebook, file: string): Record<string, string> {
  const out: Record<string, string> = {}
  for (const text of given) {
    const cut = text.indexOf('=')
    const name = cut < 0 ? text : text.slice(0, cut)
    if (!parameters.includes(name)) {
      const near = suggest(name, parameters)
      throw new UsageError(
        `--param ${text}: ${basename(file)} has no parameter ${name}${near === null ? '' : ` (did you mean ${near}?)`}; it has ${parameters.length === 0 ? 'none' : parameters.join(', ')}`,
      )
    }
    if (cut < 0) throw new UsageError(`--param ${text}: write ${name}=value`)
    out[name] = text.slice(cut + 1)
  }
  return out
}

/** Bundles the module and imports it. Packages are found from the notebook's folder; the kit is the one that this program has. */
async function execute(module: string, file: string): Promise<void> {
  const { build } = await import('esbuild')
  const kit = new URL('./notebook.js', import.meta.url)
  const engine = new URL('./index.js', import.meta.url)
  const source = fileURLToPath(new URL('../notebooks/kit.ts', import.meta.url))
  const folder = await mkdtemp(join(tmpdir(), 'tapeline-notebook-'))
  try {
    const path = join(folder, `${basename(file, '.ts')}.mjs`)
    await build({
      stdin: { contents: module, sourcefile: resolve(file), resolveDir: dirname(resolve(file)), loader: 'ts' },
      outfile: path,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: 'inline',
      logLevel: 'silent',
      plugins: [
        {
          name: 'tapeline',
          setup(b) {
            b.onResolve({ filter: /^tapeline(\/notebook)?$/ }, ({ path: name }) => ({
              path: (name === 'tapeline' ? engine : kit).href,
              external: true,
            }))
            b.onResolve({ filter: /^\.{1,2}\// }, ({ path: name, resolveDir }) =>
              resolve(resolveDir, name) === source ? { path: kit.href, external: true } : null,
            )
            b.onResolve({ filter: /^[^./]/ }, async ({ path: name, resolveDir, kind, pluginData }) => {
              if (name.startsWith('node:') || pluginData === 'asked') return null
              const found = await b.resolve(name, { resolveDir, kind, pluginData: 'asked' })
              if (found.errors.length > 0 || found.external) return found
              return { path: pathToFileURL(found.path).href, external: true }
            })
          },
        },
      ],
    })
    process.setSourceMapsEnabled(true)
    await import(pathToFileURL(path).href)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function cellOf({ cells }: Notebook, line: number): number {
  let at = 0
  cells.forEach((c, k) => {
    if (c.line <= line && c.kind === 'code') at = k
  })
  return at
}

/** The notebook's line of an error: of the bundler, or the first of its stack that is in the notebook; else the cell it came from. */
function placeOf(error: unknown, file: string, notebook: Notebook, cell: number): Failed {
  const wrong = (error as { errors?: readonly { text: string; location: { line: number } | null }[] }).errors?.[0]
  if (wrong !== undefined && typeof wrong.text === 'string') {
    const line = wrong.location?.line ?? notebook.cells[cell]?.line ?? 1
    return { cell: cellOf(notebook, line), line, message: wrong.text }
  }
  const message = error instanceof Error ? (error.name === 'Error' ? error.message : `${error.name}: ${error.message}`) : String(error)
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const line = stack
    .split('\n')
    .map((l) =>
      l.includes(`${basename(file)}:`)
        ? Number(l.slice(l.indexOf(`${basename(file)}:`) + basename(file).length + 1).split(':')[0])
        : Number.NaN,
    )
    .find((n) => n > 0)
  return { cell, line: line ?? notebook.cells[cell]?.line ?? 1, message: message.replaceAll(/\s*\n\s*/g, ' ') }
}

/** What a cell prints is shown: stdout belongs to the result of the command. */
function captureConsole(show: (value: unknown) => void): () => void {
  const names = ['log', 'info', 'warn', 'error', 'debug'] as const
  const kept = names.map((name) => console[name])
  for (const name of names)
    console[name] = (...values: unknown[]) => {
      if (values.length === 1 && typeof values[0] === 'object') show(values[0])
      else show(values.map((v) => (typeof v === 'string' ? v : JSON.stringify(v))).join(' '))
    }
  return () => names.forEach((name, i) => (console[name] = kept[i] as typeof console.log))
}

const TEMPLATE = `// %% [markdown]
// # TITLE
//
// **Hypothesis.** What you expect to see, and why. **Method.** What is counted, on which data.

// %%
import { backtest, parameter, plot, Plot, practiceTape, show } from 'tapeline/notebook'

// Give your own with --param tape=tapes/…
const tape = parameter('tape', '') || (await practiceTape({ seed: 1, markets: 8, days: 1, rate: 15 }))
const run = await backtest({ tape, strategy: 'lean', parameters: { size: parameter('size', 10) } })
run.funnel.verdict

// %% [markdown]
// ## Figures
//
// The last expression of a cell is shown; \`show\` shows more.

// %%
show(run.figures(['net', 'fees', 'winRate', 'fillRate', 'markout']))
plot(
  {
    marginLeft: 60,
    x: { label: null },
    y: { label: 'net P&L, $', grid: true },
    marks: [
      Plot.barY(run.table('markets'), { x: (_, i) => i + 1, y: (m) => Number(m['pnl']) / 1e6, fill: 'var(--c1)' }),
      Plot.ruleY([0], { stroke: 'var(--soft)' }),
    ],
  },
  'Net profit by market, in the order of their tickers.',
)

// %% [markdown]
// ## Limits
//
// What these figures cannot tell.
`
