/**
 * Accounts with keys in a folder: made at the start, or found there from before. Owns the files (`<account>.pem`, mode 0600, and `accounts.json`); invariant: a private
 * key is written once, readable by its owner alone, and never printed.
 */
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Account } from './account.ts'
import { makeKeyPair, publicKeyOf, type KeyType } from './auth.ts'
import type { Exchange } from './exchange.ts'
import type { Tier } from './limits.ts'

export type AccountFile = {
  readonly name: string
  readonly user: string
  readonly keyId: string
  readonly keyType: KeyType
  readonly keyFile: string
}

export type AccountsOptions = {
  readonly folder: string
  readonly names: readonly string[]
  readonly keyType: KeyType
  /** Money, on each of these shards. */
  readonly cash: number
  readonly shards: readonly number[]
  readonly tier: Tier
}

export async function openAccounts(exchange: Exchange, options: AccountsOptions): Promise<AccountFile[]> {
  const { folder, names, keyType, cash, shards, tier } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const files: AccountFile[] = []
  for (const name of names) {
    const account = exchange.openAccount(
      name,
      shards.map((shard) => ({ shard, amount: cash })),
      tier,
    )
    const keyFile = join(folder, `${name}.pem`)
    const keyId = exchange.ids.of(`key:${name}`)
    const pem = await keptOrMade(keyFile, keyType)
    const publicKey = publicKeyOf(pem)
    exchange.addKey(account, { id: keyId, name, publicKey, scopes: ['read', 'write'], subaccount: null })
    files.push({ name, user: account.user, keyId, keyType: publicKey.asymmetricKeyType === 'ed25519' ? 'ed25519' : 'rsa', keyFile })
  }
  await writeFile(join(folder, 'accounts.json'), `${JSON.stringify(files, null, 1)}\n`, { mode: 0o600 })
  return files
}

async function keptOrMade(path: string, type: KeyType): Promise<string> {
  try {
    const { mode } = await stat(path)
    if ((mode & 0o077) !== 0) throw new Error(`${path} can be read by others: chmod 600 it, or remove it and a new key is made`)
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const { privatePem } = makeKeyPair(type)
  await writeFile(path, privatePem, { mode: 0o600, flag: 'wx' })
  return privatePem
}

/** A key for an account without a file: tests and programs that embed the exchange. */
export function giveKey(exchange: Exchange, account: Account, type: KeyType = 'rsa'): { keyId: string; privatePem: string } {
  const { publicKey, privatePem } = makeKeyPair(type)
  const keyId = exchange.ids.next('key')
  exchange.addKey(account, { id: keyId, name: account.name, publicKey, scopes: ['read', 'write'], subaccount: null })
  return { keyId, privatePem }
}
