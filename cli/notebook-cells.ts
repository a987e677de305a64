/**
 * Notebooks as text: `.nb.ts` files cut into cells, colored, and made into a module that tells what each cell showed. The one door to the
 * TypeScript compiler. Invariant: the module has the lines of the notebook, so that an error says the notebook's line.
 */
import ts from 'typescript'
import { escape, raw, type Markup } from '../reports/markup.ts'

export type Cell = {
  readonly kind: 'markdown' | 'code'
  /** First line of its text, from 1. */
  readonly line: number
  readonly text: string
}
export type Notebook = {
  readonly cells: readonly Cell[]
  /** Names given to `parameter('…')`. */
  readonly parameters: readonly string[]
  /** The module to run; null when the notebook cannot be read. */
  readonly module: string | null
  readonly problem: { readonly line: number; readonly message: string } | null
}

/** What the module calls: `begin(cell)` and `value(cell, value)`. */
export const SESSION = 'tapeline.notebook'
const MARK = /^\/\/ ?%%(.*)$/

export function readNotebook(text: string, name: string): Notebook {
  const lines = text.split(/\r?\n/)
  const cells = cutCells(lines)
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.ES2023, true, ts.ScriptKind.TS)
  const [wrong] = (source as unknown as { parseDiagnostics: readonly ts.DiagnosticWithLocation[] }).parseDiagnostics
  const problem =
    wrong === undefined
      ? null
      : {
          line: source.getLineAndCharacterOfPosition(wrong.start).line + 1,
          message: ts.flattenDiagnosticMessageText(wrong.messageText, ' '),
        }
  return { cells, parameters: parametersOf(source), module: problem === null ? instrument(text, source, cells) : null, problem }
}

function cutCells(lines: readonly string[]): Cell[] {
  const cells: Cell[] = []
  let kind: Cell['kind'] = 'code'
  let from = 0
  const close = (to: number): void => {
    let [a, b] = [from, to]
    while (a < b && (lines[a] as string).trim() === '') a++
    while (b > a && (lines[b - 1] as string).trim() === '') b--
    if (a === b) return
    const body = lines.slice(a, b)
    cells.push({ kind, line: a + 1, text: (kind === 'code' ? body : body.map((l) => l.replace(/^\/\/ ?/, ''))).join('\n') })
  }
  lines.forEach((line, i) => {
    const mark = MARK.exec(line)
    if (mark !== null) {
      close(i)
      kind = /\[markdown\]/i.test(mark[1] as string) ? 'markdown' : 'code'
      from = i + 1
    } else if (kind === 'markdown' && line.trim() !== '' && !line.startsWith('//')) {
      // Prose is comments: the first line of code ends it.
      close(i)
      kind = 'code'
      from = i
    }
  })
  close(lines.length)
  return cells
}

function parametersOf(source: ts.SourceFile): string[] {
  const names: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText(source) === 'parameter') {
      const [first] = node.arguments
      if (first !== undefined && ts.isStringLiteralLike(first)) names.push(first.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return names
}

/** Tells the session where each cell begins and what its last expression is; adds no line. */
function instrument(text: string, source: ts.SourceFile, cells: readonly Cell[]): string {
  const inserts: { at: number; text: string }[] = []
  const cellAt = (line: number): number => {
    for (let k = cells.length - 1; k >= 0; k--) if ((cells[k] as Cell).line <= line) return k
    return 0
  }
  const byCell = new Map<number, ts.Statement[]>()
  for (const statement of source.statements) {
    const k = cellAt(source.getLineAndCharacterOfPosition(statement.getStart(source)).line + 1)
    byCell.set(k, [...(byCell.get(k) ?? []), statement])
  }
  for (const [k, statements] of byCell) {
    const first = statements.find((s) => !ts.isImportDeclaration(s))
    if (first !== undefined) inserts.push({ at: first.getStart(source), text: `;__notebook.begin(${k});` })
    const last = statements[statements.length - 1] as ts.Statement
    if (ts.isExpressionStatement(last)) {
      const { expression } = last
      inserts.push({ at: expression.getStart(source), text: `await __notebook.value(${k}, (` })
      inserts.push({ at: expression.getEnd(), text: '))' })
    }
  }
  let out = ''
  let from = 0
  for (const insert of inserts) {
    out += text.slice(from, insert.at) + insert.text
    from = insert.at
  }
  return `const __notebook = globalThis[Symbol.for('${SESSION}')]; ${out}${text.slice(from)}`
}

/** Source with the colors of its words. */
export function highlight(code: string): Markup {
  const scanner = ts.createScanner(ts.ScriptTarget.ES2023, false, ts.LanguageVariant.Standard, code)
  let out = ''
  // Open templates, each with the braces that stand open inside it.
  const templates: number[] = []
  for (let token = scanner.scan(); token !== ts.SyntaxKind.EndOfFileToken; token = scanner.scan()) {
    // A brace that ends `${…}` goes on with the text of its template.
    const open = templates.length - 1
    if (token === ts.SyntaxKind.CloseBraceToken && open >= 0) {
      if (templates[open] === 0) {
        token = scanner.reScanTemplateToken(false)
        if (token === ts.SyntaxKind.TemplateTail) templates.pop()
      } else templates[open] = (templates[open] as number) - 1
    } else if (token === ts.SyntaxKind.OpenBraceToken && open >= 0) templates[open] = (templates[open] as number) + 1
    else if (token === ts.SyntaxKind.TemplateHead) templates.push(0)
    const kind = classOf(token)
    const text = escape(scanner.getTokenText())
    out += kind === '' ? text : `<span class="${kind}">${text}</span>`
  }
  return raw(out)
}
function classOf(token: ts.SyntaxKind): string {
  if (token >= ts.SyntaxKind.FirstKeyword && token <= ts.SyntaxKind.LastKeyword) return 't-w'
  if (token === ts.SyntaxKind.StringLiteral || token === ts.SyntaxKind.RegularExpressionLiteral) return 't-s'
  if (token >= ts.SyntaxKind.FirstTemplateToken && token <= ts.SyntaxKind.LastTemplateToken) return 't-s'
  if (token === ts.SyntaxKind.NumericLiteral || token === ts.SyntaxKind.BigIntLiteral) return 't-n'
  if (token === ts.SyntaxKind.SingleLineCommentTrivia || token === ts.SyntaxKind.MultiLineCommentTrivia) return 't-c'
  return ''
}
