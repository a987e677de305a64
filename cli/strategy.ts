/** `tapeline strategy …`: strategies of one's own: a first one, what there is, whether a file is one, and its tests. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Argv, CommandModule } from 'yargs'
import type { Parameter } from '../engine/strategy.ts'
import { EXIT, UsageError } from './exit.ts'
import { present, tableText } from './output.ts'

type Json = { json: boolean }
const withJson = (y: Argv): Argv =>
  y.option('json', { type: 'boolean', default: false, describe: 'One JSON envelope on stdout and nothing else' })

const create: CommandModule<object, Json & { name: string }> = {
  command: 'new <name>',
  describe: 'Write <name>.ts, a small strategy that runs, and <name>.test.ts, which proves what it does',
  builder: (y) => withJson(y.positional('name', { type: 'string', demandOption: true, describe: 'Such as buy-dips' })) as never,
  handler: ({ name: given, json }) =>
    present('strategy new', json, async () => {
      const name = given.replace(/\.ts$/, '')
      if (!/^[A-Za-z][A-Za-z0-9-]{0,39}$/.test(name) || RESERVED.has(name))
        throw new UsageError(
          `strategy new ${given}: a name is up to 40 letters, digits and -, such as buy-dips, and no word of the language`,
        )
      const files = [`${name}.ts`, `${name}.test.ts`] as const
      for (const file of files) if (existsSync(file)) throw new UsageError(`${file} is there already: choose another name, or move it away`)
      const { strategyText, testText } = await import('./strategy/templates.ts')
      await writeFile(files[0], strategyText(name), { flag: 'wx' })
      await writeFile(files[1], testText(name), { flag: 'wx' })
      return {
        data: { files },
        text: `wrote ${files.join(' and ')}

Next
  npx tapeline strategy check ./${files[0]}
  npx tapeline strategy test ./${files[1]}
  npx tapeline backtest --tape <tape> --strategy ./${files[0]}
`,
      }
    }),
}
const RESERVED = new Set(
  'break case catch class const continue debugger default delete do else enum export extends false finally for function if implements import in interface let new null package private protected public return static super switch this throw true try typeof var void while with yield await async test assert scenario market'.split(
    ' ',
  ),
)

type Listed = {
  readonly name: string
  readonly file: string | null
  readonly description: string | null
  readonly parameters: Readonly<Record<string, Parameter>>
}

const list: CommandModule<object, Json & { file?: string[] }> = {
  command: 'list [file..]',
  describe: 'The built-in strategies, and those of files: what they do and their parameters',
  builder: (y) => withJson(y.positional('file', { type: 'string', array: true, describe: 'Files of strategies' })) as never,
  handler: ({ file = [], json }) =>
    present('strategy list', json, async () => {
      const { strategies } = await import('../strategies/index.ts')
      const { describeBuiltIn } = await import('./strategy/installation.ts')
      const { openStrategy, construct } = await import('./strategy/load.ts')
      const { asStrategy } = await import('./strategy/shape.ts')
      const all: Listed[] = Object.entries(strategies).map(([name, factory]) => ({
        name,
        file: null,
        description: describeBuiltIn(name),
        parameters: factory().parameters,
      }))
      for (const path of file) {
        const opened = await openStrategy(path)
        const { name, parameters } = asStrategy(construct(opened), path)
        all.push({ name, file: path, description: opened.description, parameters })
      }
      return {
        data: all,
        text: all
          .map(
            (s) =>
              `${s.name}${s.file === null ? '' : `  ${s.file}`}\n  ${s.description ?? '(no doc comment)'}\n  ${parametersText(s.parameters)}\n`,
          )
          .join('\n'),
      }
    }),
}

function parametersText(parameters: Readonly<Record<string, Parameter>>): string {
  const all = Object.entries(parameters).map(([k, v]) => `${k}=${v}`)
  return all.length === 0 ? 'no parameters' : all.join(' ')
}

const check: CommandModule<object, Json & { file: string }> = {
  command: 'check <file>',
  describe: 'Bundle, type-check and construct a strategy, without a tape',
  builder: (y) => withJson(y.positional('file', { type: 'string', demandOption: true, describe: 'File of a strategy' })) as never,
  handler: ({ file, json }) =>
    present('strategy check', json, async () => {
      const { openStrategy, construct } = await import('./strategy/load.ts')
      const { asStrategy, HANDLERS } = await import('./strategy/shape.ts')
      const opened = await openStrategy(file)
      const strategy = asStrategy(construct(opened), file)
      const handlers = HANDLERS.filter((h) => strategy[h] !== undefined)
      const rows = Object.entries(strategy.parameters).map(([k, v]) => [`--param ${k}=${v}`, typeof v])
      return {
        data: {
          file,
          name: strategy.name,
          description: opened.description,
          parameters: strategy.parameters,
          handlers,
          sha256: opened.source.sha256,
        },
        text: `ok: ${file} is the strategy ${strategy.name} (${handlers.join(', ')})\n${rows.length === 0 ? 'no parameters' : tableText(['parameter', 'type'], rows)}\n`,
      }
    }),
}

const test: CommandModule<object, { file: string[] }> = {
  command: 'test <file..>',
  describe: 'Run tests of strategies with node --test; its exit code',
  builder: (y) => y.positional('file', { type: 'string', array: true, demandOption: true, describe: 'Test files' }) as never,
  handler: ({ file }) =>
    present('strategy test', false, async () => {
      const { fileOf } = await import('./strategy/load.ts')
      const { bundleTest } = await import('./strategy/bundle.ts')
      const { checkTypes } = await import('./strategy/types.ts')
      const { refusal } = await import('./strategy/finding.ts')
      const folder = await mkdtemp(join(tmpdir(), 'tapeline-test-'))
      try {
        const bundles: string[] = []
        for (const given of file) {
          const entry = await fileOf(given)
          if (!/(import|from)\s*\(?\s*['"](node:)?test['"]/.test(readFileSync(entry, 'utf8')))
            throw new UsageError(`strategy test ${given}: it holds no test (nothing is imported from 'node:test'); give the .test.ts file`)
          const { code } = await bundleTest(entry, given)
          const { findings } = checkTypes(entry, given, true)
          if (findings.length > 0) throw refusal(given, findings)
          const path = join(folder, `${bundles.length}-${basename(entry).replace(/\.[cm]?[jt]s$/, '')}.mjs`)
          await writeFile(path, code)
          bundles.push(path)
        }
        const exit = await new Promise<number>((done, failed) => {
          const child = spawn(process.execPath, ['--enable-source-maps', '--test-reporter=spec', '--test', ...bundles], {
            stdio: 'inherit',
            env: childEnvironment(),
          })
          child.on('error', failed)
          child.on('close', (code) => done(code ?? EXIT.interrupted))
        })
        return { data: null, exit }
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    }),
}

/** A test run inside a test run would report to the outer one instead of printing. */
function childEnvironment(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...rest } = process.env
  return rest
}

export const strategyCommand: CommandModule = {
  command: 'strategy',
  describe: 'Strategies of your own: a first one, a list, a check, their tests',
  builder: (y) =>
    y.command(create).command(list).command(check).command(test).demandCommand(1, 'Give one of: new, list, check, test').strict(),
  handler: () => {},
}
