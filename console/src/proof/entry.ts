// An entry as it was written: an array in deterministic CBOR (`journal::entry`). Read here from the very bytes that were proved, so that
// what is shown is what is in the journal, whatever the controller's own answer says.

import type { Bytes } from "./bytes";

export interface Entry {
  /** Nanoseconds since 1970. */
  at: bigint;
  who: string;
  command: Typed;
  why: string;
  evidence: number;
  events: Typed[];
}

export interface Typed {
  name: string;
  version: bigint;
  payload: Bytes;
}

/** Reads an entry of version 1; throws what is wrong. */
export function read(bytes: Bytes): Entry {
  const reader = new Reader(bytes);
  const all = reader.item();
  if (!reader.done()) throw new Error("there are bytes after the entry");
  const [version, at, who, command, why, evidence, events] = array(all, 7);
  if (version !== 1n) throw new Error(`its version is ${String(version)}; 1 is known`);
  const [kind, id] = array(who, 2);
  return {
    at: whole(at),
    who: `${text(kind)}/${text(id)}`,
    command: typed(command),
    why: text(why),
    evidence: array(evidence).length,
    events: array(events).map(typed),
  };
}

type Item = bigint | string | Bytes | Item[];

const array = (item: Item | undefined, length?: number): Item[] => {
  if (!Array.isArray(item) || (length !== undefined && item.length !== length)) throw new Error("an array of another length was expected");
  return item;
};
const text = (item: Item | undefined): string => {
  if (typeof item !== "string") throw new Error("a text was expected");
  return item;
};
const whole = (item: Item | undefined): bigint => {
  if (typeof item !== "bigint") throw new Error("a number was expected");
  return item;
};
const typed = (item: Item | undefined): Typed => {
  const [name, version, payload] = array(item, 3);
  if (!(payload instanceof Uint8Array)) throw new Error("bytes were expected");
  return { name: text(name), version: whole(version), payload: payload as Bytes };
};

class Reader {
  private at = 0;
  private depth = 0;

  constructor(private bytes: Bytes) {}

  done(): boolean {
    return this.at === this.bytes.length;
  }

  /** Integers, byte strings, texts, arrays; nothing else is in an entry. */
  item(): Item {
    const first = this.take(1)[0] ?? 0;
    const length = this.length(first & 31);
    switch (first >> 5) {
      case 0:
        return length;
      case 1:
        return -1n - length;
      case 2:
        return this.take(length);
      case 3:
        return new TextDecoder("utf-8", { fatal: true }).decode(this.take(length));
      case 4: {
        if (++this.depth > 8 || length > BigInt(this.bytes.length)) throw new Error("it is nested too deep, or too long");
        const items = Array.from({ length: Number(length) }, () => this.item());
        this.depth--;
        return items;
      }
      default:
        throw new Error(`byte ${this.at - 1} begins nothing that an entry has`);
    }
  }

  private length(low: number): bigint {
    if (low < 24) return BigInt(low);
    if (low > 27) throw new Error("a length that is not definite");
    return this.take(2 ** (low - 24)).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }

  private take(length: number | bigint): Bytes {
    const end = this.at + Number(length);
    if (end > this.bytes.length) throw new Error("it ends too early");
    const taken = this.bytes.slice(this.at, end);
    this.at = end;
    return taken;
  }
}
