// Changes as they happen (`/v1/events`). The browser's own EventSource cannot say who asks, so the stream is read by hand. While it
// does not stand, screens say so; when it stands again, or something was missed, everybody reads anew.

import { refusal } from "./client";
import { contact } from "./contact";
import { session } from "./session";
import { Store } from "../lib/store";

export interface Change {
  entry: number;
  at: string;
  who: string;
  events: { area: string; event: Record<string, unknown> }[];
}

/** `null`: something may have been missed. */
type Listener = (change: Change | null) => void;

export interface Live {
  state: "off" | "connecting" | "live" | "lost";
}

/** Silence after which the line is believed dead: two signs of life of the controller and a bit (ms). */
const SILENCE = 40_000;
const WAIT_MAX = 15_000;

class Stream extends Store<Live> {
  private listeners = new Set<Listener>();
  private abort: AbortController | null = null;
  private token: string | null = null;

  /** Tells of changes until the returned function is called. */
  hear(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Follows the session: the stream is that of who is signed in. */
  follow() {
    const look = () => {
      const { token, mustChange } = session.get();
      const wanted = mustChange ? null : token;
      if (wanted === this.token) return;
      this.token = wanted;
      this.abort?.abort();
      this.abort = null;
      if (wanted) {
        this.abort = new AbortController();
        void this.run(wanted, this.abort.signal);
      } else {
        this.set({ state: "off" });
      }
    };
    session.subscribe(look);
    look();
  }

  private tell(change: Change | null) {
    for (const listener of this.listeners) listener(change);
  }

  private async run(token: string, signal: AbortSignal) {
    let wait = 500;
    let first = true;
    this.set({ state: "connecting" });
    while (!signal.aborted) {
      const begun = Date.now();
      try {
        await this.read(token, signal, () => {
          this.set({ state: "live" });
          if (!first) this.tell(null);
          first = false;
        });
      } catch {
        if (signal.aborted) return;
        if (session.get().token !== token) return;
      }
      if (signal.aborted) return;
      this.set({ state: "lost" });
      if (Date.now() - begun > WAIT_MAX) wait = 500;
      await new Promise((done) => setTimeout(done, wait * (0.75 + Math.random() / 2)));
      wait = Math.min(wait * 2, WAIT_MAX);
    }
  }

  private async read(token: string, signal: AbortSignal, open: () => void) {
    const inner = new AbortController();
    const stop = () => inner.abort();
    signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, SILENCE);
    try {
      let response: Response;
      try {
        response = await fetch("/v1/events", {
          headers: { authorization: `Bearer ${token}`, accept: "text/event-stream" },
          credentials: "omit",
          cache: "no-store",
          signal: inner.signal,
        });
      } catch (error) {
        if (!signal.aborted) contact.lost();
        throw error;
      }
      if (!response.ok || !response.body) throw await refusal(response, token);
      contact.heard();
      open();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        contact.heard();
        clearTimeout(timer);
        timer = setTimeout(stop, SILENCE);
        rest += value;
        const blocks = rest.split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) this.block(block);
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }

  private block(block: string) {
    let name = "message";
    const data: string[] = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    }
    if (name === "missed") this.tell(null);
    if (name === "change") {
      try {
        this.tell(JSON.parse(data.join("\n")) as Change);
      } catch {
        this.tell(null);
      }
    }
  }
}

export const live = new Stream({ state: "off" });
