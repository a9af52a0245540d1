// The rows of a list that is longer than what is held: pages are read ahead of where the person looks, and let go far behind.
//
// A page begins after the last row of the one before it, and that boundary stays: when a page is read anew, what is new in it makes
// it longer, and no other row changes its page. So what a person looks at does not jump.

import { ask, problemOf, type Device, type Problem } from "../../api/client";

/** Rows of a page. */
const PAGE = 200;
/** Rows that are read ahead of the last one that is shown. */
const AHEAD = 600;
/** Between two readings of what has changed (ms). */
const PACE = 700;
/** Pages that are held; the ones longest not looked at are let go. */
const HELD_MAX = 60;

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
  private next: string | null = null;
  private begun = false;
  private reading = false;
  private abort = new AbortController();
  private looks = 0;
  private wanted: [number, number] = [0, 40];
  private tell: () => void;
  private timer: ReturnType<typeof setTimeout> | undefined;
  standing: Standing = { length: 0, complete: false, first: true, problem: null, version: 0 };

  constructor(
    readonly l: string,
    tell: () => void,
  ) {
    this.tell = tell;
  }

  /** Reads what is wanted first. */
  start() {
    void this.run();
  }

  end() {
    this.abort.abort();
    clearTimeout(this.timer);
  }

  /** A row; `undefined`: it is not held, and comes. */
  row(index: number): Device | undefined {
    const found = this.find(index);
    return found && this.pages[found[0]]?.rows?.[found[1]];
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
  }

  /** After a failure. */
  retry() {
    this.standing = { ...this.standing, problem: null };
    void this.run();
  }

  private find(index: number): [number, number] | undefined {
    let before = 0;
    for (const [number, page] of this.pages.entries()) {
      if (index < before + page.size) return [number, index - before];
      before += page.size;
    }
    return undefined;
  }

  /** One thing at a time, the most urgent one first, until there is nothing to do. */
  private async run() {
    if (this.reading || this.abort.signal.aborted) return;
    this.reading = true;
    try {
      for (let job = this.job(); job !== undefined; job = this.job()) {
        await (job === "next" ? this.append() : this.replace(job));
        if (this.abort.signal.aborted) return;
        this.let_go();
        this.changed(null);
      }
    } catch (error) {
      if (!this.abort.signal.aborted) this.changed(problemOf(error));
    } finally {
      this.reading = false;
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
    const { items, next } = await this.read(this.next, PAGE);
    this.pages.push({ token: this.next, size: items.length, rows: items, old: false, looked: ++this.looks });
    this.next = next ?? null;
    this.begun = true;
  }

  private async replace(number: number) {
    const page = this.pages[number];
    if (!page) return;
    const { items, next } = await this.read(page.token, Math.min(1000, page.size + PAGE / 2));
    const boundary = page.rows?.at(-1)?.id;
    const isLast = number === this.pages.length - 1 && this.next === null;
    const end = boundary === undefined ? page.size : items.findIndex((row) => row.id === boundary) + 1;
    if (isLast && next === undefined) {
      page.rows = items;
    } else if (end > 0 && items.length >= end) {
      page.rows = items.slice(0, end);
    } else {
      // The row it ended with is gone: what comes after is read anew.
      page.rows = items;
      this.pages.length = number + 1;
      this.next = next ?? null;
    }
    page.size = page.rows.length;
    page.old = false;
    page.looked = ++this.looks;
  }

  private async read(token: string | null, limit: number) {
    const query = { l: this.l, limit, ...(token === null ? {} : { page: token }) };
    const { body } = await ask("get", "/v1/devices", { query, signal: this.abort.signal });
    return body as { items: Device[]; next?: string | null };
  }

  private let_go() {
    const held = this.pages.filter((page) => page.rows !== null);
    held.sort((a, b) => a.looked - b.looked);
    for (const page of held.slice(0, Math.max(0, held.length - HELD_MAX))) page.rows = null;
  }

  private length(): number {
    return this.pages.reduce((sum, page) => sum + page.size, 0);
  }

  private changed(problem: Problem | null) {
    const complete = this.begun && this.next === null;
    this.standing = { length: this.length(), complete, first: !this.begun, problem, version: this.standing.version + 1 };
    this.tell();
  }
}
