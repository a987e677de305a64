/**
 * What a strategy file says, before it runs. Owns the only use of the TypeScript compiler: the types of the file and of what it imports, what it returns, and uses of what differs
 * from run to run, each at its line. Hides the compiler's wording where that is obscure. Invariant: nothing here runs a line of the file.
 */
import { dirname, join, sep } from 'node:path'
import ts from 'typescript'
import { hashOf } from './cache.ts'
import { shown } from './bundle.ts'
import type { Finding, Place } from './finding.ts'
import { BANS, DATE_LOCAL, GLOBALS, sentence, USES, type Ban } from './guards.ts'
import { DIST, DOORS } from './installation.ts'
import { HANDLERS } from './shape.ts'

export type Checked = { readonly findings: readonly Finding[]; readonly inputs: readonly (readonly [string, string])[] }

/** What a strategy file finds around it besides the language itself. */
const AROUND = `interface Console { ${['log', 'info', 'debug', 'warn', 'error', 'table', 'dir', 'trace'].map((n) => `${n}(...values: unknown[]): void`).join('; ')}; assert(value: unknown, ...values: unknown[]): void }
declare var console: Console
`
const AROUND_TEST = `${AROUND}
declare module 'node:test' { export const test: any, it: any, describe: any, before: any, after: any, beforeEach: any, afterEach: any; export default test }
declare module 'node:assert' { const assert: any; export default assert }
declare module 'node:assert/strict' { const assert: any; export default assert }
`

/** Checks a file and everything local that it imports. `test`: a test file, which may use node's own modules and is not held to determinism; what it imports is. */
export function checkTypes(entry: string, given: string, test = false): Checked {
  const around = join(dirname(entry), '__tapeline.d.ts')
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts'],
    types: [],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    moduleDetection: ts.ModuleDetectionKind.Force,
    allowImportingTsExtensions: true,
    allowJs: true,
    checkJs: false,
    resolveJsonModule: true,
    esModuleInterop: true,
    paths: Object.fromEntries(Object.entries(DOORS).map(([name, { types }]) => [name, [types]])),
  }
  const host = ts.createCompilerHost(options, true)
  const real = { ...host }
  const text = test ? AROUND_TEST : AROUND
  host.getSourceFile = (name, version, ...more) =>
    name === around ? ts.createSourceFile(name, text, version) : real.getSourceFile(name, version, ...more)
  host.fileExists = (name) => name === around || real.fileExists(name)
  const program = ts.createProgram([entry, around, DOORS['tapeline']?.types ?? ''], options, host)
  const files = program.getSourceFiles().filter((f) => !program.isSourceFileDefaultLibrary(f) && f.fileName !== around)
  const own = files.filter(
    (f) => !f.isDeclarationFile && !f.fileName.includes('/node_modules/') && !native(f.fileName).startsWith(DIST + sep),
  )
  const place = (file: ts.SourceFile, position: number): Place => {
    const { line, character } = file.getLineAndCharacterOfPosition(position)
    return { file: shown(native(file.fileName), entry, given), line: line + 1, column: character + 1 }
  }
  const checker = program.getTypeChecker()
  const found: { file: ts.SourceFile; start: number; code: string; text: string }[] = []
  const add = (node: ts.Node, code: string, sentenceText: string): void => {
    found.push({ file: node.getSourceFile(), start: node.getStart(), code, text: sentenceText })
  }
  for (const file of own) if (!(test && native(file.fileName) === entry)) walk(file, checker, program, add)
  if (!test) checkFactory(program.getSourceFile(entry), checker, program, add)
  for (const file of own) {
    for (const d of [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]) {
      const start = d.start ?? 0
      // Where a use was refused already, the compiler's "cannot find name" adds nothing.
      if (
        found.some(
          (f) => f.file === file && f.start <= start && start < f.start + 40 && file.text.slice(f.start, start).search(/[\n;]/) < 0,
        )
      )
        continue
      found.push({ file, start, code: 'STRATEGY_TYPES', text: plain(d) })
    }
  }
  found.sort((a, b) => (a.file === b.file ? a.start - b.start : a.file.fileName < b.file.fileName ? -1 : 1))
  // Each place once.
  const findings = found
    .filter((f, i) => i === 0 || f.file !== found[i - 1]?.file || f.start !== found[i - 1]?.start)
    .map(({ file, start, code, text: t }) => ({ at: place(file, start), code, text: t }))
  const inputs = files
    .map((f) => native(f.fileName))
    .filter((path) => !path.startsWith(DIST + sep))
    .map((path) => [path, hashOf(path) ?? ''] as const)
  return { findings, inputs }
}

function native(path: string): string {
  return sep === '/' ? path : path.replaceAll('/', sep)
}

type Add = (node: ts.Node, code: string, text: string) => void

/** Uses of what differs from run to run, and handlers that answer later. */
function walk(file: ts.SourceFile, checker: ts.TypeChecker, program: ts.Program, add: Add): void {
  const ban = (node: ts.Node, name: string, b: Ban): void => add(node, b.code, sentence(name, b))
  const isGlobal = (node: ts.Identifier): boolean => {
    const symbol = ts.isShorthandPropertyAssignment(node.parent)
      ? checker.getShorthandAssignmentValueSymbol(node.parent)
      : checker.getSymbolAtLocation(node)
    const declared = symbol?.declarations ?? []
    return declared.every((d) => {
      const from = d.getSourceFile()
      return program.isSourceFileDefaultLibrary(from) || from.fileName.includes('/@types/node/')
    })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return
    if (ts.isIdentifier(node) && isReference(node)) reference(node)
    else if (ts.isMetaProperty(node) && node.keywordToken === ts.SyntaxKind.ImportKeyword) ban(node, 'import.meta', USES.machine)
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) ban(node, 'import()', USES.loading)
    else if (ts.isPropertyAccessExpression(node)) member(node)
    if (ts.isMethodDeclaration(node) || ts.isPropertyAssignment(node) || ts.isPropertyDeclaration(node)) handler(node)
    ts.forEachChild(node, visit)
  }
  const reference = (node: ts.Identifier): void => {
    const name = node.text
    const b = Object.hasOwn(BANS, name) ? BANS[name] : undefined
    if (b !== undefined) {
      if (name === 'Function' && !(ts.isCallExpression(node.parent) || ts.isNewExpression(node.parent))) return
      if (isGlobal(node)) ban(node, name, b)
    } else if (name === 'require' && ts.isCallExpression(node.parent) && isGlobal(node)) {
      const [what] = node.parent.arguments
      if (what === undefined || !ts.isStringLiteral(what)) ban(node, 'require', USES.loading)
    } else if ((GLOBALS as readonly string[]).includes(name) && isGlobal(node)) {
      const { parent } = node
      const key = ts.isPropertyAccessExpression(parent) && parent.expression === node ? parent.name.text : null
      const behind = key !== null && Object.hasOwn(BANS, key) ? BANS[key] : undefined
      if (behind !== undefined) ban(node, `${name}.${key}`, behind)
      else if (ts.isBinaryExpression(parent.parent) && parent.parent.left === parent) ban(node, `an assignment to ${name}`, USES.around)
    } else if (name === 'Date' && isGlobal(node)) {
      const { parent } = node
      if (ts.isCallExpression(parent) && parent.expression === node) ban(parent, 'Date()', USES.clock)
      if (ts.isNewExpression(parent) && parent.expression === node) {
        const count = parent.arguments?.length ?? 0
        if (count === 0) ban(parent, 'new Date()', USES.clock)
        else if (count > 1) ban(parent, 'new Date(year, month, …)', USES.local)
      }
    }
  }
  const member = (node: ts.PropertyAccessExpression): void => {
    const name = node.name.text
    const on = node.expression
    if (ts.isIdentifier(on) && isGlobal(on)) {
      if (on.text === 'Math' && name === 'random') ban(node, 'Math.random', USES.chance)
      if (on.text === 'Date' && name === 'now') ban(node, 'Date.now', USES.clock)
    }
    if (name === 'localeCompare' || /^toLocale(Upper|Lower)Case$/.test(name)) ban(node.name, name, USES.locale)
    else if (DATE_LOCAL.includes(name) && checker.getTypeAtLocation(on).symbol?.name === 'Date') ban(node.name, `${name}()`, USES.local)
    else if (name === 'toLocaleString') ban(node.name, name, USES.locale)
  }
  const handler = (node: ts.MethodDeclaration | ts.PropertyAssignment | ts.PropertyDeclaration): void => {
    if (!ts.isIdentifier(node.name) || !(HANDLERS as readonly string[]).includes(node.name.text)) return
    const body = ts.isMethodDeclaration(node) ? node : node.initializer
    if (body === undefined) return
    const how = laterness(body, checker)
    if (how !== null)
      add(node, 'STRATEGY_ASYNC', `${node.name.text} ${how}: a handler decides before it returns; desk.wake comes back later`)
  }
  ts.forEachChild(file, visit)
}

/** How a handler fails to answer at once, null when it does. */
function laterness(body: ts.Node, checker: ts.TypeChecker): string | null {
  const isFunction = ts.isMethodDeclaration(body) || ts.isFunctionExpression(body) || ts.isArrowFunction(body)
  if (isFunction && body.modifiers?.some((m) => m.kind === ts.SyntaxKind.AsyncKeyword) === true) return 'is async'
  if (isFunction && body.asteriskToken !== undefined) return 'is a generator (its body would never run)'
  const [signature] = checker.getTypeAtLocation(body).getCallSignatures()
  return signature !== undefined && signature.getReturnType().getProperty('then') !== undefined ? 'returns a promise' : null
}

/** An identifier that stands for a value, not for a name of a property, a declaration or a type. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node
  if (ts.isShorthandPropertyAssignment(parent)) return parent.name === node
  if (ts.isBindingElement(parent)) return parent.initializer === node
  if (ts.isTypeOfExpression(parent)) return false
  if (ts.isImportSpecifier(parent) || ts.isImportClause(parent) || ts.isNamespaceImport(parent) || ts.isExportSpecifier(parent))
    return false
  if (ts.isQualifiedName(parent) || ts.isTypeReferenceNode(parent) || ts.isMetaProperty(parent) || ts.isLabeledStatement(parent))
    return false
  return !('name' in parent && parent.name === node)
}

/** What the factory returns is held to `Strategy`, also where the author did not write the type down. */
function checkFactory(file: ts.SourceFile | undefined, checker: ts.TypeChecker, program: ts.Program, add: Add): void {
  const module = file === undefined ? undefined : checker.getSymbolAtLocation(file)
  const doors = program.getSourceFile(DOORS['tapeline']?.types ?? '')
  const door = doors === undefined ? undefined : checker.getSymbolAtLocation(doors)
  if (file === undefined || module === undefined || door === undefined || /\.[cm]?js$/.test(file.fileName)) return
  const named = checker.getExportsOfModule(door).find((s) => s.name === 'Strategy')
  if (named === undefined) return
  const wanted = checker.getDeclaredTypeOfSymbol(named.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(named) : named)
  const typeOf = (symbol: ts.Symbol): ts.Type => checker.getTypeOfSymbolAtLocation(symbol, file)
  const exported = checker.getExportsOfModule(module)
  const callable = exported.filter(
    (s) => (s.flags & ts.SymbolFlags.Value || s.flags & ts.SymbolFlags.Alias) && typeOf(s).getCallSignatures().length > 0,
  )
  const factory = exported.find((s) => s.name === 'default') ?? (callable.length === 1 ? callable[0] : undefined)
  const [signature] = factory === undefined ? [] : typeOf(factory).getCallSignatures()
  if (factory === undefined || signature === undefined) return
  const node = factory.declarations?.[0] ?? file
  const at = (ts.getNameOfDeclaration(node as ts.Declaration) ?? node) as ts.Node
  const returned = signature.getReturnType()
  if (returned.flags & ts.TypeFlags.Any) return
  if (returned.getProperty('then') !== undefined) return add(at, 'STRATEGY_ASYNC', 'is async: the factory of a strategy returns it at once')
  if (checker.isTypeAssignableTo(returned, wanted)) return
  for (const field of wanted.getProperties()) {
    const has = returned.getProperty(field.name)
    const optional = (field.flags & ts.SymbolFlags.Optional) !== 0
    if (has === undefined && optional) continue
    if (has === undefined) return add(at, 'STRATEGY_SHAPE', `returns no Strategy: it has no \`${field.name}\``)
    const type = typeOf(has)
    const should = typeOf(field)
    if (!checker.isTypeAssignableTo(type, should))
      return add(
        has.declarations?.find((d) => d.getSourceFile() === file) ?? at,
        'STRATEGY_SHAPE',
        `returns no Strategy: \`${field.name}\` is ${checker.typeToString(type)} and should be ${checker.typeToString(should)}`,
      )
  }
  add(at, 'STRATEGY_SHAPE', `returns ${checker.typeToString(returned)}, which is no Strategy`)
}

/** The compiler's finding in the author's words. */
function plain(d: ts.Diagnostic): string {
  let chain: string | ts.DiagnosticMessageChain | undefined = d.messageText
  // The end of a chain is the reason; what leads to it repeats types.
  while (typeof chain === 'object' && chain.next?.[0] !== undefined) chain = chain.next[0]
  const text = (typeof chain === 'object' ? chain.messageText : chain).replace(/\s+/g, ' ').replace(/\.$/, '')
  const quoted = [...text.matchAll(/'([^']*)'/g)].map((m) => m[1] ?? '')
  const [a = '', b = '', c = ''] = quoted
  const code = typeof d.messageText === 'object' && typeof chain === 'object' ? chain.code : d.code
  switch (code) {
    case 2540:
      return `cannot set '${a}': markets, books and fills are read only; keep numbers of your own in variables of the factory`
    case 2741:
      return `'${a}' is missing: ${c === '' ? b : c} needs it`
    case 2739:
    case 2740:
      return `${text.replace(/^Type .* is missing the following properties from type/, 'properties are missing from')}`
    case 2353:
      return `there is no '${a}' in ${b}`
    case 2561:
      return `there is no '${a}' in ${b}; did you mean '${c}'?`
    case 2339:
      return `there is no '${a}' on ${b}`
    case 2551:
      return `there is no '${a}' on ${b}; did you mean '${c}'?`
    case 2304:
    case 2580:
    case 2584:
    case 2581:
      return `there is no '${a}' here: declare or import it`
    case 2552:
      return `there is no '${a}' here; did you mean '${b}'?`
    case 7006:
    case 7031:
      return `'${a}' needs a type (write \`: Strategy\` behind the factory's brackets, and handlers need none)`
    case 2531:
    case 2532:
    case 2533:
    case 18047:
    case 18048:
      return `${a === '' ? 'this' : `'${a}'`} may be null or undefined: ask first`
    case 7016:
      return `${a} has no types: import it from a .js file, or install its types`
    case 2322:
      return `${a} is no ${b}`
    case 2345:
      return `an argument of type ${a} is no ${b}`
    default:
      return text
  }
}
