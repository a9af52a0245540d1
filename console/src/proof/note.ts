// The signed head of the journal: a C2SP checkpoint in a C2SP signed note, and the key that it is believed with.

import { fromBase64, join, same, sha256, type Bytes } from "./bytes";

const utf8 = new TextEncoder();
/** Signature type of logs: Ed25519 over the text. */
const ED25519 = 0x01;

export interface Head {
  origin: string;
  size: bigint;
  root: Bytes;
  /** What is signed. */
  text: string;
  /** `name`, and key id with signature. */
  signatures: { name: string; signature: Bytes }[];
}

export interface Key {
  name: string;
  id: Bytes;
  key: Bytes;
}

/** Reads a checkpoint; `null`: it is none. */
export function head(note: string): Head | null {
  const end = note.indexOf("\n\n");
  if (end < 0) return null;
  const text = note.slice(0, end + 1);
  const [origin, size, root] = text.split("\n");
  if (!origin || !size || !root || !/^(0|[1-9]\d*)$/.test(size)) return null;
  const signatures = [];
  for (const line of note.slice(end + 2).split("\n")) {
    const found = line.match(/^— (\S+) (\S+)$/);
    if (found?.[1] && found[2]) signatures.push({ name: found[1], signature: fromBase64(found[2]) });
  }
  return { origin, size: BigInt(size), root: fromBase64(root), text, signatures };
}

/** Reads `NAME+ID+BASE64` and judges that the id is the key's; `null`: it is no key that is known here. */
export async function key(text: string): Promise<Key | null> {
  const found = text.trim().match(/^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/);
  if (!found?.[1] || !found[2] || !found[3]) return null;
  const bytes = fromBase64(found[3]);
  if (bytes[0] !== ED25519 || bytes.length !== 33) return null;
  const id = (await sha256(join(utf8.encode(`${found[1]}\n`), bytes))).slice(0, 4);
  const hex = [...id].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex === found[2] ? { name: found[1], id, key: bytes.slice(1) } : null;
}

/** Whether a key signed the head; `null`: this browser cannot tell. */
export async function signed(head: Head, { name, id, key }: Key): Promise<boolean | null> {
  const line = head.signatures.find((one) => one.name === name && same(one.signature.slice(0, 4), id));
  if (!line) return false;
  try {
    const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
    return await crypto.subtle.verify({ name: "Ed25519" }, imported, line.signature.slice(4), utf8.encode(head.text));
  } catch {
    return null;
  }
}
