// The tree of the journal (RFC 9162, section 2.1): from an entry and the hashes beside its way up to the root.

import { join, sha256, type Bytes } from "./bytes";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** The hash of an entry in the tree. */
export function leaf(entry: Bytes): Promise<Bytes> {
  return sha256(join(LEAF, entry));
}

/** The root that these hashes lead to (section 2.1.3.2); `null`: they are of another tree or entry. */
export async function root(hash: Bytes, number: bigint, size: bigint, path: Bytes[]): Promise<Bytes | null> {
  if (number >= size) return null;
  let [at, last] = [number, size - 1n];
  for (const beside of path) {
    if (last === 0n) return null;
    if ((at & 1n) === 1n || at === last) {
      hash = await sha256(join(NODE, beside, hash));
      while ((at & 1n) === 0n && at !== 0n) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      hash = await sha256(join(NODE, hash, beside));
    }
    at >>= 1n;
    last >>= 1n;
  }
  return last === 0n ? hash : null;
}
