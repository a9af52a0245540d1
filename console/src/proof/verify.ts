// Judges in this browser that an entry is in the journal. Nothing that the controller says about it is believed: the entry is hashed,
// the hashes are followed to the root, and the root is looked for in the head that the log's key has signed.

import { fromBase64, same } from "./bytes";
import { read, type Entry } from "./entry";
import { leaf, root } from "./merkle";
import { head, key, signed } from "./note";

export interface Step {
  what: string;
  /** `null`: this browser cannot tell. */
  holds: boolean | null;
}

export interface Judged {
  entry: Entry | null;
  size: bigint;
  steps: Step[];
  /** `null`: nothing speaks against it, and not all could be looked at. */
  holds: boolean | null;
}

/** What the controller says: the entry and hashes in base64, and the signed head. */
export interface Proof {
  entry: string;
  path: string[];
  checkpoint: string;
}

export async function verify(number: number, proof: Proof, verifierKey: string): Promise<Judged> {
  const steps: Step[] = [];
  const step = (what: string, holds: boolean | null) => {
    steps.push({ what, holds });
  };
  let entry: Entry | null = null;
  let size = 0n;
  try {
    const bytes = fromBase64(proof.entry);
    entry = read(bytes);
    step(`The entry is read from its ${bytes.length.toLocaleString("en")} bytes`, true);
    const signedHead = head(proof.checkpoint);
    const hash = await leaf(bytes);
    if (signedHead) {
      size = signedHead.size;
      const computed = await root(hash, BigInt(number), size, proof.path.map(fromBase64));
      step(`SHA-256 over it and ${proof.path.length} hashes beside its way up gives the root of ${size.toLocaleString("en")} entries`, computed !== null && same(computed, signedHead.root));
      const known = await key(verifierKey);
      step(`The log's key has signed that root${known ? ` (${known.name})` : ""}`, known ? await signed(signedHead, known) : false);
    } else {
      step("The signed head is read", false);
    }
  } catch (error) {
    step(`It is read: ${error instanceof Error ? error.message : String(error)}`, false);
  }
  const all = steps.map(({ holds }) => holds);
  return { entry, size, steps, holds: all.includes(false) ? false : all.includes(null) ? null : true };
}
