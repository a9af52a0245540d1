// Events of the journal in words. An event that is not known here is named as the journal names it: nothing is left out.

export interface Told {
  /** What happened, in a line. */
  what: string;
  /** Values: field, value, how sure in percent. */
  said: { field: string; value: string | null; sure?: number }[];
}

type Event = Record<string, unknown>;

const record = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});
const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

export function told(event: Event): Told {
  const facts = record(event.facts);
  const claims = Array.isArray(facts.said) ? facts.said.map(record) : [];
  const said = claims.map((claim) => ({ field: text(claim.field), value: text(claim.value), sure: Number(claim.confidence) }));
  switch (event.event) {
    case "found":
      return { what: `Found at ${text(event.site)} by ${text(event.source)}`, said };
    case "told":
      return { what: `${text(event.source)} says something new`, said };
    case "moved":
      return { what: `Moved from ${text(event.from)} to ${text(event.to)}`, said: [] };
    case "seen":
      return { what: "Seen", said: [] };
    case "confused":
      return { what: "Shares an identifier with another device: a person has to look", said: [] };
    case "edited": {
      const edit = record(event.edit);
      const set = Object.entries(record(edit.set));
      const labels = Object.entries(record(edit.labels)).map(([name, value]) => [`label.${name}`, value] as const);
      const all = [...set, ...labels].map(([field, value]) => ({ field, value: value === null ? null : text(value) }));
      const posture = record(edit.set).posture;
      const what = posture === "quarantined" ? "Quarantined" : posture === null ? "Released: posture is not decided any more" : "Decided";
      return { what, said: all };
    }
    case "stale":
      return { what: "No sign of life for long", said: [] };
    case "retired":
      return { what: event.timed_out === true ? "Retired by time" : "Retired", said: [] };
    case "resurfaced":
      return { what: "Seen again after it was retired", said: [] };
    case "returned":
      return { what: "Returned: not retired any more", said: [] };
    case "merged":
      return { what: "Two records became one", said: [] };
    case "assured":
      return { what: `Stands at ${text(event.level)}; why no higher: ${text(event.limit)}`, said: [] };
    default:
      return { what: text(event.event ?? "changed"), said: [] };
  }
}
