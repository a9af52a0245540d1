// A plan: what another policy folder would change of today's estate, as the controller works it out. It is of this tab, and says as of when it
// is and of which folder; who sets it sets it in the place of that one.

import { ask, problemOf, type Problem } from "../../api/client";
import { session } from "../../api/session";
import { Store } from "../../lib/store";

export type Files = Record<string, string>;

interface Place {
  rule: string;
  file: string;
  line: number;
}

/** `policy::plan::PairGroup`. */
export interface Group {
  type: string;
  zone: string;
  mode: "shadow" | "enforce";
  devices: number;
  examples: string[];
  service: string;
  transport: string;
  port: number;
  cause: ({ kind: "granted" | "forbidden" | "no-longer" } & Place) | { kind: "device-gone" | "service-gone" };
}

interface Pairs {
  pairs: number;
  groups: Group[];
  more_groups: number;
}

interface ModeShare {
  mode: string;
  share: number;
}

interface ReachSummary {
  direct_pairs: number;
  transitive_pairs: number;
  direct_max: number;
  transitive_max: number;
}

/** `policy::plan::Comparison`. */
export interface Comparison {
  refused: { file: string; line: number; what: string; why: string; help: string }[];
  opened: Pairs;
  closed: Pairs;
  modes: { zone: string; before: ModeShare | null; after: ModeShare | null; devices: number }[];
  exceptions: { id: string; state: string; from: string; to: string; owner: string; expires: string; line: number }[];
  reach: { before: ReachSummary | null; after: ReachSummary };
}

export interface Plan {
  /** What the folder is called. */
  name: string;
  files: Files;
  /** Content of the one that it was compared with; `null`: there was none. */
  parent: string | null;
  /** When it was asked for (ms). */
  at: number;
  busy: boolean;
  comparison: Comparison | null;
  problem: Problem | null;
}

export const plan = new Store<Plan | null>(null);
// Whoever signs in next begins without it.
let whose = session.get().operator;
session.subscribe(() => {
  const { operator } = session.get();
  if (operator !== whose) plan.set(null);
  whose = operator;
});

/** Asks what a folder would change; the answer of an earlier question is not waited for. */
export async function compare(name: string, files: Files) {
  const begun: Plan = { name, files, parent: null, at: Date.now(), busy: true, comparison: null, problem: null };
  plan.set(begun);
  const told = (some: Partial<Plan>) => {
    if (plan.get() === begun) plan.set({ ...begun, ...some, busy: false, at: Date.now() });
  };
  try {
    const parent = await inForce();
    const { body } = await ask("post", "/v1/policy/plan", { body: { files } });
    told({ parent, comparison: body as unknown as Comparison });
  } catch (error) {
    told({ problem: problemOf(error) });
  }
}

async function inForce(): Promise<string | null> {
  try {
    return (await ask("get", "/v1/policy", {})).body.content;
  } catch (error) {
    if (problemOf(error).code === "policy.none") return null;
    throw error;
  }
}

/** What a plan does to one zone and one service. */
export interface Overlay {
  opens: number;
  closes: number;
  groups: { opens: boolean; group: Group }[];
}

export function overlayKey(zone: string, service: string): string {
  return `${zone}\n${service}`;
}

export function overlayOf({ opened, closed }: Comparison): Map<string, Overlay> {
  const all = new Map<string, Overlay>();
  const add = (group: Group, opens: boolean) => {
    const key = overlayKey(group.zone, group.service);
    const it = all.get(key) ?? { opens: 0, closes: 0, groups: [] };
    if (opens) it.opens += group.devices;
    else it.closes += group.devices;
    it.groups.push({ opens, group });
    all.set(key, it);
  };
  for (const group of opened.groups) add(group, true);
  for (const group of closed.groups) add(group, false);
  return all;
}

export function causeOf({ cause }: Group): string {
  switch (cause.kind) {
    case "device-gone":
      return "the devices are gone";
    case "service-gone":
      return "the service is gone or has moved";
    case "granted":
      return `granted by ${placeOf(cause)}`;
    case "forbidden":
      return `forbidden by ${placeOf(cause)}`;
    case "no-longer":
      return `no longer granted by ${placeOf(cause)}`;
  }
}

/** What is in no folder has no line. */
function placeOf({ rule, file, line }: Place): string {
  return line > 0 ? `${rule} (${file}:${line})` : rule;
}

/** Files that a folder is read from: the same that `ringfence apply -f` takes. */
const READ = /\.(toml|cedar|cedarschema|json)$/;
const FILES_MAX = 10_000;
const BYTES_MAX = 60_000_000;

/** The policy folder among files that were picked, or why there is none. */
export async function folderOf(picked: File[]): Promise<{ name: string; files: Files } | string> {
  const paths = picked.map((file) => ({ file, path: (file.webkitRelativePath || file.name).split("/") }));
  const root = paths.find(({ path }) => path.at(-1) === "estate.toml" && path.length <= 2);
  if (!root) return "It has no estate.toml, so it is no policy folder. Pick the folder that has it.";
  const depth = root.path.length - 1;
  const files: Files = {};
  const taken = paths.filter(({ path }) => READ.test(path.at(-1) ?? "") && !path.some((part) => part.startsWith(".")));
  if (taken.length > FILES_MAX || taken.reduce((sum, { file }) => sum + file.size, 0) > BYTES_MAX) return "It is too large for a policy folder: keep captures, documents and other estates beside it, not in it.";
  for (const { file, path } of taken) files[path.slice(depth).join("/")] = await file.text();
  return { name: depth > 0 ? (root.path[0] ?? "folder") : "files that you picked", files };
}
