/**
 * Wishes read back from the journal: what each became. Owns the pairing of a signal with the refusals and commands that answer it; hides the
 * slots. Invariants: every signal that is not a pull is one wish, and a wish has one fate; a command belongs to one wish at most.
 */
import { JournalKind } from '../engine/journal.ts'
import type { SessionRecord } from '../engine/session.ts'

/** `sent`: a command came of it. `refused`: risk said no until newer words replaced it or the session ended. `replaced`: neither; newer words came first, or its order already stood as wished. */
export type Fate = 'sent' | 'refused' | 'replaced'

export type WishStory = {
  /** Row of the signal in the journal. */
  readonly row: number
  readonly market: number
  readonly owner: number
  readonly side: number
  /** `quote`, `take` or `basket`. */
  readonly kind: string
  readonly why: number
  readonly price: number
  /** Rows of the journal, in order. */
  readonly refusals: number[]
  readonly commands: number[]
  /** Risk's last word while nothing was sent (a refusal repeated at the same price is written once, so it may stem from the wish before). */
  refusal: string | null
  fate: Fate
}

export type Wishes = {
  readonly all: readonly WishStory[]
  /** The wish that a command came of, by the command's row. */
  readonly byCommand: ReadonlyMap<number, WishStory>
  /** Rows of pulls. */
  readonly pulls: readonly number[]
}

type Slot = { wish: WishStory | null; refused: { reason: string; price: number } | null }

export function wishesOf({ journal: j, strings }: SessionRecord): Wishes {
  const all: WishStory[] = []
  const byCommand = new Map<number, WishStory>()
  const pulls: number[] = []
  const slots = new Map<string, Slot>()
  const word = (id: number): string => (id < 0 ? '' : (strings[id] ?? ''))
  const slotAt = (i: number, kind: string): Slot => {
    const key = `${j.owner[i]} ${j.market[i]} ${j.side[i]} ${kind}`
    let slot = slots.get(key)
    if (slot === undefined) {
      slot = { wish: null, refused: null }
      slots.set(key, slot)
    }
    return slot
  }
  for (let i = 0; i < j.length; i++) {
    const kind = j.kind[i]
    const what = word(j.what[i] as number)
    if (kind === JournalKind.SIGNAL) {
      if (what === 'pull') {
        pulls.push(i)
        continue
      }
      const slot = slotAt(i, what)
      slot.wish = {
        row: i,
        market: j.market[i] as number,
        owner: j.owner[i] as number,
        side: j.side[i] as number,
        kind: what,
        why: j.why[i] as number,
        price: j.price[i] as number,
        refusals: [],
        commands: [],
        refusal: slot.refused !== null && slot.refused.price === j.price[i] ? slot.refused.reason : null,
        fate: 'replaced',
      }
      all.push(slot.wish)
    } else if (kind === JournalKind.REFUSAL) {
      // The row does not say whether the wish was to rest or to trade: it repeats price, size and reason of one of them.
      const candidates = ['take', 'quote', 'basket'].map((k) => slotAt(i, k)).filter((s) => s.wish !== null)
      const fits = (s: Slot): boolean => {
        const row = s.wish?.row as number
        return j.price[row] === j.price[i] && j.quantity[row] === j.quantity[i]
      }
      const sameWords = (s: Slot): boolean => s.wish?.why === j.why[i]
      const slot =
        latest(candidates.filter((s) => fits(s) && sameWords(s))) ??
        latest(candidates.filter(fits)) ??
        latest(candidates.filter(sameWords)) ??
        latest(candidates)
      if (slot === null || slot.wish === null) continue
      slot.wish.refusals.push(i)
      slot.wish.refusal = what
      slot.refused = { reason: what, price: j.price[i] as number }
    } else if (kind === JournalKind.COMMAND && what !== 'cancel') {
      const now = what === 'submit-ioc' || what === 'submit-fok'
      const slot = now ? latest(['take', 'basket'].map((k) => slotAt(i, k)).filter((s) => s.wish !== null)) : slotAt(i, 'quote')
      if (slot === null || slot.wish === null) continue
      slot.wish.commands.push(i)
      slot.refused = null
      byCommand.set(i, slot.wish)
    }
  }
  for (const wish of all) {
    if (wish.commands.length > 0) wish.fate = 'sent'
    else if (wish.refusal !== null) wish.fate = 'refused'
  }
  return { all, byCommand, pulls }
}

function latest(slots: readonly Slot[]): Slot | null {
  let best: Slot | null = null
  for (const s of slots) if (best === null || (s.wish?.row ?? -1) > (best.wish?.row ?? -1)) best = s
  return best
}
