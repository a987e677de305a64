/**
 * Accounts with keys in a folder: made at the start, or found there from before. Owns the files (`<account>.pem` and `accounts.json`, mode 0600) and the folder where it makes
 * one; a folder that was there keeps its mode. Invariant: a private key is written once, readable by its owner alone, and never printed.
 */
import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../../data/folder.ts'
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

/** `warning`: the folder was there and others can look into it; null when all is well. */
export async function openAccounts(
  exchange: Exchange,
  options: AccountsOptions,
): Promise<{ files: AccountFile[]; warning: string | null }> {
  const { folder, names, keyType, cash, shards, tier } = options
  const warning = makeFolder(folder, 0o700).length === 0 ? await folderOf(folder) : null
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
  const list = join(folder, 'accounts.json')
  await writeFile(list, `${JSON.stringify(files, null, 1)}\n`, { mode: 0o600 })
  // One that was there may have been made by another hand.
  await chmod(list, 0o600)
  return { files, warning }
}

/** A folder that was there is its owner's: looked at, never changed. */
async function folderOf(folder: string): Promise<string | null> {
  const { mode } = await stat(folder)
  const shown = `mode 0${(mode & 0o7777).toString(8)}`
  if ((mode & 0o1002) === 0o002)
    throw new Error(`others can write to this folder (${shown}) and put keys of theirs there: chmod o-w it, or give another`)
  return (mode & 0o007) === 0
    ? null
    : `others can look into ${folder} (${shown}): the keys in it are readable by you alone, their names are not`
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
