/** A process that waits for a file and then takes an arm: says its id, or why not. */
import { existsSync } from 'node:fs'
import { takeArm, type Wanted } from '../../cli/live/arms.ts'

const [sessions = '', go = '', wanted = ''] = process.argv.slice(2)
const until = Date.now() + 30_000
while (!existsSync(go) && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 1))
try {
  process.stdout.write(`${takeArm(sessions, JSON.parse(wanted) as Wanted).arm.id}\n`)
} catch (error) {
  process.stdout.write(`${(error as { code?: string }).code}\n`)
}
