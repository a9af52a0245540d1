// What the inventory is asked for. All of it is in the address: a list can be sent to somebody, and Back works.

import type { Schemas } from "../../api/client";

export type View = Schemas["View"];

export interface Query {
  /** A selector. */
  l: string;
  /** A Cedar expression that has to hold too. */
  where: string;
  /** Words to look for. */
  q: string;
  /** `FIELD` or `-FIELD`. */
  sort: string;
  /** Columns in order; none: those of this browser. */
  columns: string[];
  /** Name of the view that it began as. */
  view: string;
}

export const ALL: Query = { l: "", where: "", q: "", sort: "", columns: [], view: "" };

export function queryOf(words: URLSearchParams): Query {
  const word = (name: string) => words.get(name) ?? "";
  return { l: word("l"), where: word("where"), q: word("q"), sort: word("sort"), columns: word("columns").split(",").filter(Boolean), view: word("view") };
}

/** Path of the inventory that shows it. */
export function inventoryAt(some: Partial<Query>): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...some, columns: some.columns?.join(",") ?? "" })) if (value) words.set(name, value);
  return words.size > 0 ? `/devices?${words}` : "/devices";
}

/** What decides which rows there are, and in which order. */
export function keyOf({ l, where, q, sort }: Query): string {
  return JSON.stringify([l, where, q, sort]);
}

/** It chooses some, or means all of them. */
export function narrows({ l, where, q }: Query): boolean {
  return !!(l || where || q);
}

export function opened(view: View): Query {
  return { l: view.l, where: view.where, q: view.q, sort: view.sort, columns: view.columns, view: view.name };
}

/** It shows something else than the view by now. */
export function differs(query: Query, view: View): boolean {
  return JSON.stringify(query) !== JSON.stringify(opened(view));
}
