/** A process that wants the live lock: says `held` or `busy <why>`, and keeps it until it is ended. */
import { takeLock } from '../../cli/live/lock.ts'

const [environment = '', keyId = '', subaccount = '0', means = 'socket'] = process.argv.slice(2)
try {
  const lock = await takeLock({ environment, keyId, subaccount: Number(subaccount) }, 'sessions/a', means as 'socket' | 'file')
  process.stdout.write(lock.held() ? 'held\n' : 'lost\n')
  setInterval(() => {}, 1000)
} catch (error) {
  process.stdout.write(`busy ${(error as Error).message}\n`)
}
