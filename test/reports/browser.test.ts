import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { SimulatedVenue } from '../../adapters/simulated/venue.ts'
import { Run } from '../../data/run.ts'
import { Engine } from '../../engine/engine.ts'
import { buildReport } from '../../reports/index.ts'
import { lean } from '../../strategies/lean.ts'
import { batchesOf, randomTape } from '../support/rows.ts'
import { header } from '../support/session.ts'

const browser = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => existsSync(p))

describe.skipIf(browser === undefined)('a report in a real browser (skipped where no Chromium is installed)', () => {
  it('asks for nothing, fits wide and narrow screens, and stands with scripts off', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'tapeline-page-'))
    const h = header({ strategies: [{ name: 'lean', parameters: { size: 10 } }] })
    const run = new Run()
    const engine = new Engine({ header: h, strategies: [lean()], venue: new SimulatedVenue('queue', h.delays, h.tape.lagMax), sink: run })
    for (const batch of batchesOf(randomTape({ seed: 8, rows: 5000, markets: 3, settle: true }).rows, 1000)) engine.run(batch)
    const page = join(dir, 'report.html')
    writeFileSync(page, buildReport(run.record(h, engine.finish('end of tape', true))).html)
    const app = await chromium.launch({ executablePath: browser as string, args: ['--no-sandbox'] })
    try {
      for (const [width, colorScheme, javaScriptEnabled] of [
        [1280, 'light', true],
        [390, 'dark', true],
        [390, 'light', false],
      ] as const) {
        const context = await app.newContext({ viewport: { width, height: 900 }, colorScheme, javaScriptEnabled })
        const tab = await context.newPage()
        const asked: string[] = []
        tab.on('request', (r) => asked.push(r.url()))
        const errors: string[] = []
        tab.on('pageerror', (e) => errors.push(e.message))
        await tab.goto(pathToFileURL(page).href)
        expect(asked).toHaveLength(1)
        expect(errors).toEqual([])
        expect(await tab.locator('svg').count()).toBeGreaterThan(4)
        if (javaScriptEnabled) expect(await tab.evaluate('document.documentElement.scrollWidth - innerWidth')).toBe(0)
        await context.close()
      }
    } finally {
      await app.close()
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
