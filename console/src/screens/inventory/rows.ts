// The rows of a list that is longer than what is held. It is as long as it is from the beginning: pages that were read, and gaps between
// them whose rows are read when somebody goes there. Around where the person looks pages are read ahead; far from it they are let go.
//
// A page begins after a place, and that place stays: when a page is read anew, what is new in it makes it longer, and no other row changes
// its page. So what a person looks at does not jump. How many rows a gap has follows from the count, which is asked for by itself: counting can
// take longer than the first rows do, and nobody waits for it.

import { ask, problemOf, type Device, type Problem } from "../../api/client";
import type { Query } from "./query";

/** Rows of a page; larger ones once somebody goes on and on. */
const PAGE = 200;
const PAGE_FAR = 500;
const FAR = 800;
/** Rows that are read ahead of the last one that is shown, and behind the first one. */
const AHEAD = 1_200;
const BEHIND = 200;
/** Rows that a page before another one has of it. */
const OVERLAP = 20;
/** Between two readings of what has changed, and between two counts (ms). */
const PACE = 700;
const PACE_COUNT = 5_000;
/** Pages that are held; the ones longest not looked at are let go. */
const HELD_MAX = 60;
/** Rows that are drawn as coming while nobody has counted them. */
const COMING = 40;

interface Page {
  /** What it is read with; `null`: the list begins with it. */
  token: string | null;
  /** What the rows after it are read with; `null`: there are none. */
  next: string | null;
  /** How many rows; known also when they are not held. */
  size: number;
  /** Ids of its first and its last row. */
  ends: [string, string] | null;
  rows: Device[] | null;
  /** It has changed since it was read. */
  old: boolean;
  looked: number;
}

/** Rows that nobody has looked at: about so many. */
interface Gap {
  gap: true;
  size: number;
}

type Part = Page | Gap;

interface Answer {
  items: Device[];
  next: string | null;
  here: string | null;
  total: number | null;
}

export interface Standing {
  /** Rows to draw; those that are not here yet are drawn as coming. */
  length: number;
  /** How many there are; `null`: not counted yet. */
  total: number | null;
  /** Its end was read: there are no further ones. */
  complete: boolean;
  /** Nothing was answered yet. */
  first: boolean;
  problem: Problem | null;
  /** Grows with every change. */
  version: number;
}

/** Something to read: a page anew, or rows of a gap from one of them on. */
type Job = { again: number } | { gap: number; from: number };

const isGap = (part: Part | undefined): part is Gap => part !== undefined && "gap" in part;

export class Rows {
  private parts: Part[] = [{ gap: true, size: COMING }];
  /** Number of the first row of each part, and of the one after the last. */
  private starts: number[] = [0, COMING];
  private begun = false;
  private reading = false;
  private abort = new AbortController();
  private looks = 0;
  private wanted: [number, number] = [0, 40];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private counter: ReturnType<typeof setTimeout> | undefined;
  private counted = 0;
  private total: number | null = null;
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
    const [number, at] = this.find(index);
    const part = this.parts[number];
    return part === undefined || isGap(part) ? undefined : part.rows?.[at];
  }

  /** These rows are shown. */
  want(first: number, last: number) {
    this.wanted = [first, last];
    void this.run();
  }

  /** What is held may be old: it is read anew, what is shown first. */
  refresh() {
    for (const part of this.parts) if (!isGap(part)) part.old = true;
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

  /** The part that a row is in, and its number there; of what is beyond, the last one. */
  private find(index: number): [number, number] {
    let [low, high] = [0, this.parts.length - 1];
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
        await ("again" in job ? this.replace(job.again) : this.fill(job.gap, job.from));
        if (this.abort.signal.aborted) return;
        this.begun = true;
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
      this.total = body.total ?? null;
      if (this.begun) this.changed(this.standing.problem);
    } catch {
      // It is counted again with the next change.
    }
  }

  private job(): Job | undefined {
    const last = this.length() - 1;
    const within = (index: number) => Math.max(0, Math.min(last, index));
    const [first, end] = [within(this.wanted[0]), within(this.wanted[1])];
    const [from, to] = [this.find(first)[0], this.find(end)[0]];
    for (let number = from; number <= to; number++) {
      const part = this.parts[number];
      if (part === undefined) continue;
      if (isGap(part)) return { gap: number, from: Math.max(0, first - (this.starts[number] ?? 0)) };
      part.looked = ++this.looks;
      if (part.rows === null) return { again: number };
    }
    for (let number = from; number <= to; number++) {
      const part = this.parts[number];
      if (part !== undefined && !isGap(part) && part.old) return { again: number };
    }
    // Scrolling on, and back, shows rows at once.
    for (let number = to + 1; number <= this.find(within(end + AHEAD))[0]; number++) {
      const missing = this.missing(number, 0);
      if (missing) return missing;
    }
    // Up to the page that it comes before, and some rows of that one.
    const back = (this.parts[from - 1]?.size ?? 0) - PAGE + PAGE / 4 + OVERLAP;
    return this.find(within(first - BEHIND))[0] < from ? this.missing(from - 1, Math.max(0, back)) : undefined;
  }

  private missing(number: number, from: number): Job | undefined {
    const part = this.parts[number];
    if (isGap(part)) return { gap: number, from };
    return part?.rows === null ? { again: number } : undefined;
  }

  /** Reads rows of a gap: those after the page before it, or, further in, those at a number. */
  private async fill(number: number, from: number): Promise<void> {
    const before = this.parts[number - 1];
    const start = this.starts[number] ?? 0;
    const at = Math.max(0, from - PAGE / 4);
    if (start + at === 0 || (at === 0 && before !== undefined && !isGap(before))) {
      const token = before === undefined || isGap(before) ? null : before.next;
      const { items, next } = await this.read({ page: token, limit: this.runBefore(number) < FAR ? PAGE : PAGE_FAR });
      this.lay(number, this.page(items, token, next), 0, this.parts[number]?.size ?? 0);
      return;
    }
    const answer = await this.read({ offset: start + at, limit: PAGE, count: true });
    this.total = answer.total ?? this.total;
    const gap = this.parts[number]?.size ?? 0;
    // Fewer than were counted: the list ends before, and what was read may be beyond its end.
    if (answer.items.length === 0) {
      for (const part of this.parts) if (!isGap(part)) part.old = true;
      this.parts.splice(number, this.parts.length - number, { gap: true, size: Math.max(1, at) });
      return;
    }
    // Fewer than were thought lie between.
    const last = before !== undefined && !isGap(before) ? before.ends?.[1] : undefined;
    const known = answer.items.findIndex((row) => row.id === last);
    if (known < 0 || before === undefined || isGap(before)) {
      this.lay(number, this.page(answer.items, answer.here, answer.next), at, gap);
    } else if (known === answer.items.length - 1) {
      await this.fill(number, 0);
    } else {
      this.lay(number, this.page(answer.items.slice(known + 1), before.next, answer.next), 0, gap);
    }
  }

  private page(rows: Device[], token: string | null, next: string | null): Page {
    const [first, last] = [rows[0], rows.at(-1)];
    return { token, next, size: rows.length, ends: first && last ? [first.id, last.id] : null, rows, old: false, looked: ++this.looks };
  }

  /** Puts a page where a part of `room` rows was, `before` of them before it, and brings it together with what follows. */
  private lay(number: number, page: Page, before: number, room: number) {
    let later = number + 1;
    let left = room - before - page.size;
    const take = () => {
      left += this.parts[later]?.size ?? 0;
      later++;
    };
    if (isGap(this.parts[later])) take();
    const following = this.parts[later];
    const meets = following === undefined || isGap(following) ? -1 : this.meets(page, following);
    if (following !== undefined && !isGap(following) && meets >= 0) {
      page = this.page(page.rows?.slice(0, meets) ?? [], page.token, following.token);
      left = 0;
    } else if (page.next === null) {
      later = this.parts.length;
      left = 0;
    } else {
      // Far more rows than were thought to be between, and what follows is not among them: it is no more there.
      while (left < -PAGE / 2 && later < this.parts.length) take();
      left = Math.max(1, left);
      if (isGap(this.parts[later])) take();
    }
    const parts: Part[] = [];
    if (before > 0) parts.push({ gap: true, size: before });
    if (page.size > 0 || this.parts.length === 1) parts.push(page);
    if (left > 0) parts.push({ gap: true, size: left });
    this.parts.splice(number, later - number, ...parts);
    this.join();
  }

  /** Number of the row with which what follows begins; -1: it is not there. */
  private meets(page: Page, following: Page): number {
    const theirs = new Set(following.rows?.map((row) => row.id) ?? following.ends ?? []);
    return page.rows?.findIndex((row) => theirs.has(row.id)) ?? -1;
  }

  /** Two gaps side by side are one. */
  private join() {
    for (let number = this.parts.length - 1; number > 0; number--) {
      const [one, other] = [this.parts[number - 1], this.parts[number]];
      if (!isGap(one) || !isGap(other)) continue;
      one.size += other.size;
      this.parts.splice(number, 1);
    }
  }

  private async replace(number: number) {
    const page = this.parts[number];
    if (page === undefined || isGap(page)) return;
    const { items, next } = await this.read({ page: page.token, limit: Math.min(1000, page.size + PAGE / 2) });
    const last = items.findIndex((row) => row.id === page.ends?.[1]);
    const stays = page.next !== null && last >= 0;
    const read = stays ? this.page(items.slice(0, last + 1), page.token, page.next) : this.page(items, page.token, next);
    if (stays) this.parts[number] = read;
    else this.lay(number, read, 0, page.size);
  }

  private async read({ page, ...which }: { page?: string | null; offset?: number; limit: number; count?: boolean }): Promise<Answer> {
    const { body } = await ask("get", "/v1/devices", { query: { ...this.query, ...which, ...(page ? { page } : {}) }, signal: this.abort.signal });
    return { items: body.items, next: body.next ?? null, here: body.here ?? null, total: body.total ?? null };
  }

  /** Rows without a gap before a part; more than a few pages are not counted. */
  private runBefore(number: number): number {
    let sum = 0;
    for (let at = number - 1; at >= 0 && sum < FAR && !isGap(this.parts[at]); at--) sum += this.parts[at]?.size ?? 0;
    return sum;
  }

  private letGo() {
    const held = this.parts.filter((part): part is Page => !isGap(part) && part.rows !== null);
    held.sort((a, b) => a.looked - b.looked);
    for (const page of held.slice(0, Math.max(0, held.length - HELD_MAX))) page.rows = null;
  }

  private length(): number {
    return this.starts.at(-1) ?? 0;
  }

  /** The last gap has as many rows as are left of what was counted; a count may be older than what was read. */
  private measure() {
    const gap = this.parts.findLast(isGap);
    if (gap !== undefined) {
      const others = this.parts.reduce((sum, part) => sum + part.size, -gap.size);
      gap.size = this.total === null ? COMING : Math.max(1, this.total - others);
    }
    this.starts = [0];
    let sum = 0;
    for (const part of this.parts) this.starts.push((sum += part.size));
  }

  private changed(problem: Problem | null) {
    this.measure();
    const length = this.length();
    const complete = this.begun && !isGap(this.parts.at(-1));
    const whole = this.begun && !this.parts.some(isGap);
    const total = whole ? length : this.total === null ? null : length;
    this.standing = { length: this.begun ? length : 0, total, complete, first: !this.begun, problem, version: this.standing.version + 1 };
    this.tell();
  }
}
