// Who may import whom. TypeScript's project references say the same for whole folders; this adds the doors to packages.
const door = (name, pkg, from) => ({
  name,
  severity: 'error',
  from: { pathNot: from },
  to: { path: `^node_modules/(@types/)?${pkg}` },
})
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'engine-imports-nothing', severity: 'error', from: { path: '^engine/' }, to: { pathNot: '^engine/' } },
    {
      name: 'strategies-see-the-public-door',
      severity: 'error',
      from: { path: '^strategies/' },
      to: { pathNot: '^(strategies/|engine/index\\.ts$)' },
    },
    { name: 'data-below', severity: 'error', from: { path: '^data/' }, to: { path: '^(adapters|reports|strategies|cli)/' } },
    { name: 'reports-below', severity: 'error', from: { path: '^reports/' }, to: { path: '^(adapters|data|strategies|cli)/' } },
    { name: 'adapters-below', severity: 'error', from: { path: '^adapters/' }, to: { path: '^(reports|strategies|cli)/' } },
    {
      name: 'adapters-apart',
      severity: 'error',
      from: { path: '^adapters/([^/]+)/' },
      to: { path: '^adapters/', pathNot: '^adapters/$1/' },
    },
    // One road to the exchange for what may change something there: the gate, and behind it the transport.
    {
      name: 'transport-behind-the-gate',
      severity: 'error',
      from: { pathNot: '^adapters/kalshi/venue/gate\\.ts$' },
      to: { path: '^adapters/kalshi/venue/transport\\.ts$' },
    },
    {
      name: 'writes-behind-the-door',
      severity: 'error',
      from: { pathNot: '^adapters/kalshi/rest-http\\.ts$' },
      to: { path: '^adapters/kalshi/rest-writes\\.ts$' },
    },
    // A notebook is a command line in prose: its kit alone runs sessions as the commands do.
    { name: 'nobody-imports-cli', severity: 'error', from: { pathNot: '^(cli|notebooks/kit|test)' }, to: { path: '^cli/' } },
    // Whoever cannot reach the transport cannot send an order, whatever else is wrong with it.
    {
      name: 'one-door-to-trading',
      severity: 'error',
      from: { pathNot: '^(cli/live|cli/flatten|cli/halt|cli/operate|adapters/kalshi/(live|venue/)|test/|bench/)' },
      to: { path: '^adapters/kalshi/(live|venue/(transport|gate|venue|trader))\\.ts$', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'paper-cannot-trade',
      severity: 'error',
      from: { path: '^cli/(paper|record|paper-session|record-session|live-session|backtest)\\.ts$' },
      to: { path: '^adapters/kalshi/venue/transport\\.ts$', reachable: true },
    },
    door('duckdb-door', '@duckdb', '^data/parquet'),
    door('arrow-door', 'apache-arrow', '^(data/arrow|test/)'),
    door('statistics-door', 'simple-statistics', '^(reports|test)/'),
    door('plot-door', '(@observablehq/plot|linkedom|uplot)', '^(reports|test)/'),
    door('undici-door', 'undici/', '^adapters/kalshi/rest'),
    door('typebox-door', '@sinclair', '^adapters/kalshi/wire/'),
    door('ws-door', 'ws/', '^(adapters/exchange/(server|connection)|adapters/kalshi/socket|test/)'),
    door('yargs-door', '(yargs|cli-progress)', '^cli/'),
    door('esbuild-door', 'esbuild', '^(cli/(strategy/bundle|notebook|build)|test/support/bundle)'),
    door('typescript-door', 'typescript/', '^cli/(strategy/types|notebook-cells)'),
    door('yaml-door', 'yaml/', '^(cli/config/yaml|test/)'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.mjs', '.js'] },
  },
}
