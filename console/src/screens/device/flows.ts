// Who a device talked to, as its site's sensor saw it: by hour, read page by page, and summed for a picture.

import { useEffect, useState } from "react";
import { ask, problemOf, type Problem, type Schemas } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { bytes } from "../../lib/size";
import { count } from "../../lib/time";

export type Flow = Schemas["Flow"];
export type FlowHour = Schemas["FlowHour"];

const PAGE = 100;
/** A site tells once a minute (ms). */
const EVERY = 60_000;
export const HOUR = 3_600_000;
/** What is kept, at most (hours). */
export const KEPT = 14 * 24;

export interface Flows {
  items: Flow[];
  /** Sums of every hour that is kept; `null`: not read yet. */
  hours: FlowHour[] | null;
  more: boolean;
  problem: Problem | null;
  further: () => Promise<void>;
}

export function useFlows(id: string): Flows {
  const first = useLoaded(id, async (signal) => (await ask("get", "/v1/devices/{id}/flows", { path: { id }, query: { limit: PAGE }, signal })).body);
  const [later, setLater] = useState<{ items: Flow[]; next: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const { again } = first;
  useEffect(() => setLater(null), [id]);
  useEffect(() => {
    const timer = setInterval(again, EVERY);
    return () => clearInterval(timer);
  }, [again]);
  const next = later ? later.next : (first.value?.next ?? null);
  const further = async () => {
    if (!next) return;
    setProblem(null);
    try {
      const { body } = await ask("get", "/v1/devices/{id}/flows", { path: { id }, query: { limit: PAGE, page: next } });
      setLater({ items: [...(later?.items ?? []), ...body.items], next: body.next ?? null });
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  // What was read first is newer where both have it.
  const seen = new Set<string>();
  const items = [...(first.value?.items ?? []), ...(later?.items ?? [])].filter((flow) => {
    const key = [flow.hour, flow.role, flow.peer, flow.address, flow.transport, flow.port].join(" ");
    return !seen.has(key) && seen.add(key);
  });
  return { items, hours: first.value ? (first.value.hours ?? []) : null, more: next !== null, problem: first.problem ?? problem, further };
}

/** One hour of a device, with who it talked to: what was most first. */
export interface Hour {
  hour: string;
  /** Last sign of it (RFC 3339). */
  at: string;
  flows: Flow[];
  sent: number;
  received: number;
}

/** `more`: there are further ones. */
export function byHour(flows: Flow[], more: boolean): Hour[] {
  const hours = new Map<string, Hour>();
  for (const flow of flows) {
    const hour = hours.get(flow.hour) ?? { hour: flow.hour, at: flow.last_seen, flows: [], sent: 0, received: 0 };
    hour.flows.push(flow);
    hour.sent += flow.bytes_out;
    hour.received += flow.bytes_in;
    if (flow.last_seen > hour.at) hour.at = flow.last_seen;
    hours.set(flow.hour, hour);
  }
  const all = [...hours.values()].sort((a, b) => b.hour.localeCompare(a.hour));
  // The last one may go on with the next page; a page has more rows than an hour.
  if (more && all.length > 1) all.pop();
  for (const { flows } of all) flows.sort((a, b) => b.bytes_out + b.bytes_in - a.bytes_out - a.bytes_in);
  return all;
}

/** Beginnings (s since 1970) and sums of the last hours or days, those without traffic too; a day is one of this browser's. */
export interface Sums {
  at: number[];
  sent: number[];
  received: number[];
  packets: number[];
}

export function sums(hours: FlowHour[], by: "hour" | "day", now = Date.now()): Sums {
  const at: number[] = [];
  if (by === "hour") {
    const last = Math.floor(now / HOUR) * HOUR;
    for (let n = 47; n >= 0; n--) at.push(last - n * HOUR);
  } else {
    const day = new Date(now);
    day.setHours(0, 0, 0, 0);
    for (let n = KEPT / 24 - 1; n >= 0; n--) at.push(new Date(day.getFullYear(), day.getMonth(), day.getDate() - n).getTime());
  }
  const none = () => at.map(() => 0);
  const all: Sums = { at: at.map((ms) => ms / 1000), sent: none(), received: none(), packets: none() };
  for (const hour of hours) {
    const begins = new Date(hour.hour).getTime();
    const place = at.findLastIndex((from) => from <= begins);
    if (place < 0) continue;
    all.sent[place] = (all.sent[place] ?? 0) + hour.bytes_out;
    all.received[place] = (all.received[place] ?? 0) + hour.bytes_in;
    all.packets[place] = (all.packets[place] ?? 0) + hour.packets_out + hour.packets_in;
  }
  return all;
}

/** `rtsp, tcp 554`. */
export function service(flow: Flow): string {
  const where = [flow.transport, flow.port].filter((part) => part !== undefined && part !== null && part !== "").join(" ");
  return [flow.protocol, where].filter(Boolean).join(", ");
}

/** `sent 1.2 MB, received 30 kB`. */
export function volume(sent: number, received: number, packets?: number): string {
  const most = `sent ${bytes(sent)}, received ${bytes(received)}`;
  return packets === undefined ? most : `${most}, ${count(packets)} packets`;
}
