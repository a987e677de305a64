/**
 * A file of settings as text. Owns YAML (and so JSON), places, and the wording of what is wrong; hides both parsers. Invariants: all mistakes of a file are found at once, each with
 * line and column; no message repeats a value of the file, for it could be a key that was put where its path belongs.
 */
import { readFileSync, statSync } from 'node:fs'
import { isMap, isScalar, LineCounter, parseDocument, visit, type Document, type Node, type YAMLMap } from 'yaml'
import { z } from 'zod'
import { suggest } from '../exit.ts'
import { looksLikeKey, shown } from './secret.ts'

export type Place = { readonly line: number; readonly column: number }
type Way = readonly PropertyKey[]
type Issue = z.core.$ZodIssue

const BYTES_MAX = 1024 * 1024
export const KEY_ADVICE =
  'looks like a private key: keep the key in a file of its own (chmod 600), name the file in kalshi.keyFile, and make a new key if others could have read this one'
/** What the parser found, in our words: its own may quote the text. */
const SYNTAX: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'this name stands twice',
  TAB_AS_INDENT: 'a tab indents here: use spaces',
  BAD_INDENT: 'this is indented unlike what stands above it',
  MISSING_CHAR: 'a quote or a bracket has no end',
  MULTIPLE_DOCS: 'a second document starts here: keep to one',
  BLOCK_AS_IMPLICIT_KEY: 'this is indented unlike what stands above it, or a text with ": " needs quotes',
  MULTILINE_IMPLICIT_KEY: 'a ":" is missing here, or the indentation is wrong',
  TAG_RESOLVE_FAILED: 'tags (!…) are not read: write the plain value',
}

export class ConfigText {
  readonly name: string
  /** What it says; `{}` when nothing. */
  readonly value: unknown
  readonly mistakes: readonly string[]
  readonly empty: boolean
  readonly #document: Document
  readonly #lines: LineCounter

  private constructor(name: string, text: string) {
    this.name = name
    this.#lines = new LineCounter()
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, logLevel: 'error', stringKeys: true })
    this.empty = this.#document.contents === null
    const mistakes: string[] = []
    const at = (offset: number): string => this.#where(this.#place(offset))
    if (looksLikeKey(text)) {
      const line = text.split('\n').findIndex((l) => looksLikeKey(l))
      this.mistakes = [`${name}${line < 0 ? '' : `:${line + 1}:1`}: this ${KEY_ADVICE}`]
      this.value = {}
      return
    }
    for (const { code, pos } of [...this.#document.errors, ...this.#document.warnings])
      mistakes.push(`${at(pos[0])}: ${SYNTAX[code] ?? 'this is not YAML: check quotes, colons and indentation'}`)
    visit(this.#document, {
      Alias: (_, alias) => {
        mistakes.push(`${at(alias.range?.[0] ?? 0)}: aliases (*name) are not read: write the value again`)
      },
    })
    // One slip of the pen gives several errors at one place.
    this.mistakes = mistakes.filter((m, i) => mistakes.findIndex((o) => o.split(': ')[0] === m.split(': ')[0]) === i)
    this.value = this.mistakes.length > 0 || this.empty ? {} : this.#document.toJS()
  }

  /** Throws an Error whose message says what is wrong with the file itself. */
  static read(path: string): ConfigText {
    let text: string
    try {
      const stat = statSync(path)
      if (!stat.isFile()) throw new Error('it is no file')
      if (stat.size > BYTES_MAX) throw new Error('it is larger than a file of settings can be')
      text = readFileSync(path, 'utf8')
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : ''
      throw new Error(
        `${path}: ${code === 'ENOENT' ? 'the file does not exist' : code === '' ? (error as Error).message : `it cannot be read (${code})`}`,
      )
    }
    return new ConfigText(path, text.replace(/^\uFEFF/, ''))
  }

  /** Where a value stands; of one that is not there, where its section does. */
  placeOf(way: Way): Place {
    for (let length = way.length; length > 0; length--) {
      const node = this.#document.getIn(way.slice(0, length), true) as Node | undefined
      if (node?.range) return this.#place(node.range[0])
    }
    return { line: 1, column: 1 }
  }

  /** All that `type` has against the file, each mistake with its place. */
  check(type: z.ZodType): string[] {
    if (this.mistakes.length > 0) return [...this.mistakes]
    const parsed = type.safeParse(this.value)
    if (parsed.success) return []
    // One value has one mistake: the first that was found.
    const paths = new Set<string>()
    const issues = parsed.error.issues.filter((issue) => {
      const path = `${issue.path.map(String).join('.')} ${issue.code === 'unrecognized_keys'}`
      return !paths.has(path) && paths.add(path)
    })
    return issues.flatMap((issue) => this.#say(issue, type)).sort(byPlace)
  }

  #say(issue: Issue, type: z.ZodType): string[] {
    const name = issue.path.map(String).join('.')
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => {
        const known = knownAt(type, issue.path)
        // Half a word is nearer than its letters tell.
        const near = suggest(key, known) ?? known.find((k) => key.length > 3 && k.toLowerCase().startsWith(key.toLowerCase())) ?? null
        const path = [...issue.path.map(String), shown(key)].join('.')
        const advice =
          near !== null ? `did you mean ${near}?` : known.length === 0 ? 'nothing can be set here yet' : `known here: ${known.join(', ')}`
        return `${this.#where(this.#placeOfName(issue.path, key))} ${path}: unknown; ${advice}`
      })
    const message = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? 'this name is not allowed') : wording(issue)
    const place =
      issue.code === 'invalid_key' ? this.#placeOfName(issue.path.slice(0, -1), String(issue.path.at(-1))) : this.placeOf(issue.path)
    return [`${this.#where(place)}${name === '' ? '' : ` ${issue.code === 'invalid_key' ? shown(name) : name}`}: ${message}`]
  }

  #placeOfName(way: Way, name: string): Place {
    const map = (way.length === 0 ? this.#document.contents : this.#document.getIn(way, true)) as YAMLMap | null
    if (map !== null && isMap(map))
      for (const { key } of map.items) if (isScalar(key) && key.value === name && key.range) return this.#place(key.range[0])
    return this.placeOf(way)
  }
  #place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset)
    return { line, column: col }
  }
  #where({ line, column }: Place): string {
    return `${this.name}:${line}:${column}`
  }
}

/** What a schema expects, in a few words. */
export function wording(issue: Issue): string {
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) return 'it is missing'
  return issue.message.replace(/^(Invalid (input|option)|Too (small|big)): /, '')
}

function byPlace(a: string, b: string): number {
  const of = (text: string): [number, number] => {
    const [, line, column] = /:(\d+):(\d+)/.exec(text) ?? []
    return [Number(line ?? 0), Number(column ?? 0)]
  }
  const [x, y] = [of(a), of(b)]
  return x[0] - y[0] || x[1] - y[1]
}

/** Names that a schema knows at a place. */
function knownAt(type: z.ZodType, way: Way): string[] {
  let here: unknown = type
  for (const step of [...way, null]) {
    while (here instanceof z.ZodOptional || here instanceof z.ZodDefault || here instanceof z.ZodPrefault) here = here.unwrap()
    if (step === null) break
    here =
      here instanceof z.ZodObject
        ? here.shape[String(step)]
        : here instanceof z.ZodRecord
          ? here.valueType
          : here instanceof z.ZodArray
            ? here.element
            : null
  }
  return here instanceof z.ZodObject ? Object.keys(here.shape) : []
}
