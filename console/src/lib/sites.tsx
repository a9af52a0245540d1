// How far what a site is meant to enforce is in force: intended, applied, verified. A site that is not connected goes on enforcing what it has.

import { ask, type Schemas } from "../api/client";
import type { Change } from "../api/live";
import { Mark, type Tone } from "../ui/mark";
import { useLoaded } from "./load";

export type Site = Schemas["Site"];

const PACE = 3_000;

function concerns(change: Change): boolean {
  return change.events.some(({ area }) => area === "site");
}

export function useSites() {
  return useLoaded("sites", async (signal) => (await ask("get", "/v1/sites", { query: { limit: 1000 }, signal })).body.items as Site[], concerns, PACE);
}

/** One of them: devices are counted for that one alone. */
function useSite(id: string) {
  return useLoaded(id, async (signal) => (await ask("get", "/v1/sites/{id}", { path: { id }, signal })).body as Site, concerns, PACE);
}

/** `estate::sites::Bundle`, `estate::sites::Ack`. */
interface Bundle {
  generation: number;
}
interface Ack {
  generation: number;
  progress: "refused" | "applied" | "verified";
  why: string;
}

export interface Standing {
  tone: Tone;
  word: string;
  /** What it means, and what to do. */
  why: string;
  intended: number | null;
}

export function standingOf(site: Site): Standing {
  const intended = (site.intended as Bundle | null | undefined)?.generation ?? null;
  const ack = site.ack as Ack | null | undefined;
  if (site.state === "revoked") return { tone: "bad", word: "revoked", why: "Its box was revoked; what it enforces holds until its leases end.", intended };
  if (site.state !== "enrolled") return { tone: "note", word: "no box", why: "No box has enrolled, so nothing is enforced there.", intended };
  if (intended === null) return { tone: "none", word: "nothing intended", why: "No policy folder grants or denies anything there yet.", intended };
  if (ack?.progress === "refused" && ack.generation === intended) return { tone: "bad", word: "refused", why: `It refused generation ${intended}: ${ack.why}. What was there before stays.`, intended };
  if ((site.verified ?? -1) >= intended) return { tone: "good", word: "verified", why: `Generation ${intended} was read back from its kernel.`, intended };
  if ((site.applied ?? -1) >= intended) return { tone: "note", word: "applied, not verified", why: `Its kernel took generation ${intended}; it was not read back yet.`, intended };
  return { tone: "note", word: "intended, not applied", why: site.connected ? `Generation ${intended} is on its way.` : `It is not connected; it enforces generation ${site.applied ?? "none"} and gets ${intended} when it is back.`, intended };
}

/** For where a site is named by its id. */
export function SiteStanding({ id }: { id: string }) {
  const { value, problem } = useSite(id);
  if (!value) return <span className="faint">{problem ? "not known" : "…"}</span>;
  return <SiteMark site={value} />;
}

export function SiteMark({ site }: { site: Site }) {
  const { tone, word, why } = standingOf(site);
  return (
    <span title={why}>
      <Mark tone={tone}>{word}</Mark>
    </span>
  );
}
