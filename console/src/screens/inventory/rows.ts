// The rows of a list that is longer than what is held: pages are read ahead of where the person looks, and let go far behind.
//
// A page begins after the last row of the one before it, and that place stays: when a page is read anew, what is new in it makes
// it longer, and no other row changes its page. So what a person looks at does not jump. How many there are in all is asked for by itself:
// counting can take longer than the first rows do, and nobody waits for it.

import { ask, problemOf, type Device, type Problem } from "../../api/client";
import type { Query } from "./query";

/** Rows of a page; larger ones once somebody goes far. */
const PAGE = 200;
const PAGE_FAR = 500;
const FAR = 4_000;
/** Rows that are read ahead of the last one that is shown. */
const AHEAD = 600;
/** Between two readings of what has changed, and between two counts (ms). */
const PACE = 700;
const PACE_COUNT = 5_000;
/** Pages that are held; the ones longest not looked at are let go. */
const HELD_MAX = 60;
/** Rows that are drawn as coming where the list goes on. */
const COMING = 40;

interface Page {
  /** Token that it is read with; `null`: the first one. */
  token: string | null;
  /** How many rows; known also when they are not held. */
  size: number;
  rows: Device[] | null;
  /** It has changed since it was read. */
  old: boolean;
  looked: number;
}

export interface Standing {
  /** Rows that are known of. */
  length: number;
  /** How many there are; `null`: not counted yet. */
  total: number | null;
  /** There are no further ones. */
  complete: boolean;
  /** Nothing was answered yet. */
  first: boolean;
  problem: Problem | null;
  /** Grows with every change. */
  version: number;
}

export class Rows {
  private pages: Page[] = [];
  /** Number of the first row of each page, and of the one after the last. */
  private starts: number[] = [0];
  private next: string | null = null;
  private begun = false;
  private reading = false;
  private abort = new AbortController();
  private looks = 0;
  private wanted: [number, number] = [0, 40];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private counter: ReturnType<typeof setTimeout> | undefined;
  private counted = 0;
  standing: Standing = { length: 0, total: null, complete: false, first: true, problem: null, version: 0 };

  constructor(
    readonly query: Pick<Query, "l" | "where" | "q" | "sort">,
    private readonly tell: () => void,
  ) {}

  /** Reads what is wanted first. */
  start() {
    void this.run();
    void this.count();
  }

  end() {
    this.abort.abort();
    clearTimeout(this.timer);
    clearTimeout(this.counter);
  }

  /** A row; `undefined`: it is not held, and comes. */
  row(index: number): Device | undefined {
    const found = this.find(index);
    return found && this.pages[found[0]]?.rows?.[found[1]];
  }

  /** Rows to draw: those that are known of, and the next ones as coming. */
  get drawn(): number {
    const { length, total, complete } = this.standing;
    if (complete) return length;
    return length + (total === null ? COMING : Math.max(1, Math.min(COMING, total - length)));
  }

  /** These rows are shown. */
  want(first: number, last: number) {
    this.wanted = [first, last];
    void this.run();
  }

  /** What is held may be old: it is read anew, what is shown first. */
  refresh() {
    for (const page of this.pages) page.old = true;
    // However much changes: what is shown is read anew once in this time.
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.run();
    }, PACE);
    this.counter ??= setTimeout(() => {
      this.counter = undefined;
      void this.count();
    }, Math.max(PACE, this.counted + PACE_COUNT - Date.now()));
  }

  /** After a failure. */
  retry() {
    this.standing = { ...this.standing, problem: null };
    this.start();
  }

  private find(index: number): [number, number] | undefined {
    if (index < 0 || index >= this.length()) return undefined;
    let [low, high] = [0, this.pages.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.starts[middle] ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return [low, index - (this.starts[low] ?? 0)];
  }

  /** One thing at a time, the most urgent one first, until there is nothing to do. */
  private async run() {
    if (this.reading || this.abort.signal.aborted) return;
    this.reading = true;
    try {
      for (let job = this.job(); job !== undefined; job = this.job()) {
        await (job === "next" ? this.append() : this.replace(job));
        if (this.abort.signal.aborted) return;
        this.letGo();
        this.changed(null);
      }
    } catch (error) {
      if (!this.abort.signal.aborted) this.changed(problemOf(error));
    } finally {
      this.reading = false;
    }
  }

  /** A count that fails is no trouble of its own: the rows tell of it. */
  private async count() {
    this.counted = Date.now();
    try {
      const { body } = await ask("get", "/v1/devices", { query: { ...this.query, limit: 1, count: true }, signal: this.abort.signal });
      this.standing = { ...this.standing, total: (body as { total?: number | null }).total ?? null };
      if (this.begun) this.changed(this.standing.problem);
    } catch {
      // It is counted again with the next change.
    }
  }

  /** A page to be read, or the next one. */
  private job(): number | "next" | undefined {
    if (!this.begun) return "next";
    const [first, last] = this.wanted;
    const from = this.find(Math.max(0, first))?.[0] ?? this.pages.length - 1;
    const to = this.find(last)?.[0] ?? this.pages.length - 1;
    for (let number = from; number <= to; number++) {
      const page = this.pages[number];
      if (!page) continue;
      page.looked = ++this.looks;
      if (page.rows === null) return number;
    }
    for (let number = from; number <= to; number++) if (this.pages[number]?.old) return number;
    if (this.next !== null && last + AHEAD > this.length()) return "next";
    // One page on either side: scrolling back shows rows at once.
    for (const number of [to + 1, from - 1]) if (this.pages[number]?.rows === null) return number;
    return undefined;
  }

  private async append() {
    const { items, next } = await this.read(this.next, this.length() < FAR ? PAGE : PAGE_FAR);
    this.pages.push({ token: this.next, size: items.length, rows: items, old: false, looked: ++this.looks });
    this.next = next ?? null;
    this.begun = true;
    this.measure();
  }

  private async replace(number: number) {
    const page = this.pages[number];
    if (!page) return;
    const { items, next } = await this.read(page.token, Math.min(1000, page.size + PAGE / 2));
    const isLast = number === this.pages.length - 1 && this.next === null;
    const end = this.boundary(page, this.pages[number + 1], items);
    if (isLast && next === undefined) {
      page.rows = items;
    } else if (end > 0) {
      page.rows = items.slice(0, end);
    } else {
      // Where it ended is no more to be found: what comes after is read anew.
      page.rows = items;
      this.pages.length = number + 1;
      this.next = next ?? null;
    }
    page.size = page.rows.length;
    page.old = false;
    page.looked = ++this.looks;
    this.measure();
  }

  /** How many of these rows belong to a page: up to the row that it ended with, or, where that one has moved, up to the next page's. */
  private boundary(page: Page, following: Page | undefined, items: Device[]): number {
    const last = page.rows?.at(-1)?.id;
    if (last === undefined) return items.length >= page.size ? page.size : 0;
    const at = items.findIndex((row) => row.id === last);
    if (at >= 0) return at + 1;
    const theirs = new Set(following?.rows?.map((row) => row.id));
    return Math.max(0, items.findIndex((row) => theirs.has(row.id)));
  }

  private async read(token: string | null, limit: number) {
    const query = { ...this.query, limit, ...(token === null ? {} : { page: token }) };
    const { body } = await ask("get", "/v1/devices", { query, signal: this.abort.signal });
    return body as { items: Device[]; next?: string | null };
  }

  private letGo() {
    const held = this.pages.filter((page) => page.rows !== null);
    held.sort((a, b) => a.looked - b.looked);
    for (const page of held.slice(0, Math.max(0, held.length - HELD_MAX))) page.rows = null;
  }

  private measure() {
    this.starts = [0];
    let sum = 0;
    for (const page of this.pages) this.starts.push((sum += page.size));
  }

  private length(): number {
    return this.starts.at(-1) ?? 0;
  }

  private changed(problem: Problem | null) {
    const complete = this.begun && this.next === null;
    const length = this.length();
    // A count may be older than the rows are.
    const total = complete ? length : this.standing.total === null ? null : Math.max(this.standing.total, length + 1);
    this.standing = { length, total, complete, first: !this.begun, problem, version: this.standing.version + 1 };
    this.tell();
  }
}
