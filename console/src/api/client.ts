// The API, as `docs/openapi.json` describes it: `schema.d.ts` is made from that file at each build, so that a console that does not
// fit its controller does not compile. The console has no privilege: this is all that it can do.

import type { components, paths } from "./schema";
import { session } from "./session";
import { contact } from "./contact";

export type Schemas = components["schemas"];
export type Device = Schemas["Device"];
export type WholeDevice = Schemas["WholeDevice"];
export type Believed = Schemas["Believed"];
export type Problem = Schemas["Problem"];
export type Approval = Schemas["Approval"];
export type Team = Schemas["Team"];

/** The controller said no, and why. */
export class Refused extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** The controller did not answer. */
export class Unreachable extends Error {
  constructor() {
    super("The controller does not answer.");
  }
}

type Method = "get" | "post" | "put" | "patch" | "delete";
type Operation<P extends keyof paths, M extends Method> = paths[P] extends { [m in M]: infer O } ? NonNullable<O> : never;
type With<M extends Method> = { [P in keyof paths]: [Operation<P, M>] extends [never] ? never : P }[keyof paths];
// Where there is a document among the forms of an answer, that one is asked for.
type Content<R> = R extends { content: { "application/json": infer C } } ? C : R extends { content: infer C } ? C[keyof C] : undefined;
type Success = 200 | 201 | 202 | 204;
type Answer<O> = O extends { responses: infer R }
  ? { [S in keyof R & Success]: { status: S; body: Content<R[S]>; etag: string | null } }[keyof R & Success]
  : never;
type BodyOf<O> = O extends { requestBody: { content: { "application/json": infer B } } }
  ? { body: B }
  : O extends { requestBody: { content: { "text/csv": string } } }
    ? { body: string }
    : { body?: undefined };
type QueryOf<O> = O extends { parameters: { query?: infer Q } } ? { query?: Q } : { query?: undefined };
type PathOf<O> = O extends { parameters: { path: infer P } } ? { path: P } : { path?: undefined };
type Asked<O> = BodyOf<O> & QueryOf<O> & PathOf<O> & { headers?: Record<string, string>; signal?: AbortSignal | undefined };

/** Asks the controller; throws [`Refused`], [`Unreachable`], or an `AbortError`. */
export async function ask<M extends Method, P extends With<M>>(method: M, path: P, asked: Asked<Operation<P, M>>): Promise<Answer<Operation<P, M>>> {
  const { body, query, path: parts, headers, signal } = asked as {
    body?: unknown;
    query?: Record<string, unknown>;
    path?: Record<string, string>;
    headers?: Record<string, string>;
    signal?: AbortSignal;
  };
  const at = path.replace(/\{\*?(\w+)\}/g, (_, name: string) => encodeURIComponent(parts?.[name] ?? ""));
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") words.set(name, String(value));
  }
  return (await send(method, words.size > 0 ? `${at}?${words}` : at, { body, headers, signal })) as Answer<Operation<P, M>>;
}

interface Sent {
  body?: unknown;
  headers?: Record<string, string> | undefined;
  signal?: AbortSignal | undefined;
}

/** The same for a request that the controller itself has told of. */
export async function send(method: string, to: string, { body, headers, signal }: Sent): Promise<{ status: number; body: unknown; etag: string | null }> {
  const sent = new Headers(headers);
  const token = session.get().token;
  if (token) sent.set("authorization", `Bearer ${token}`);
  const text = typeof body === "string";
  if (body !== undefined && !sent.has("content-type")) sent.set("content-type", text ? "text/csv" : "application/json");
  // A request that is sent again because its answer was lost is done once.
  if (method.toLowerCase() === "post" && !sent.has("idempotency-key")) sent.set("idempotency-key", crypto.randomUUID());
  const init: RequestInit = { method: method.toUpperCase(), headers: sent, credentials: "omit", cache: "no-store", redirect: "error" };
  if (body !== undefined) init.body = text ? body : JSON.stringify(body);
  if (signal) init.signal = signal;
  let response: Response;
  try {
    response = await fetch(to, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    contact.lost();
    throw new Unreachable();
  }
  contact.heard();
  if (!response.ok) throw await refusal(response, token);
  const kind = response.headers.get("content-type") ?? "";
  const told = response.status === 204 ? undefined : kind.includes("json") ? await response.json() : await response.text();
  return { status: response.status, body: told, etag: response.headers.get("etag") };
}

/** What a refusal says; one that ends the session ends it. */
export async function refusal(response: Response, token: string | null): Promise<Refused> {
  let problem: Problem;
  try {
    problem = (await response.json()) as Problem;
  } catch {
    const title = "the controller's answer is not understood";
    problem = { type: "", code: "console.answer", title, status: response.status, detail: `It answered ${response.status}.` };
  }
  if (response.status === 401 && token) session.ended(token);
  if (problem.code === "auth.must-change") session.mustChange();
  return new Refused(problem);
}

/** What to tell a person of an error. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  const about = { type: "", status: 0, title: "the controller does not answer", detail: "Nothing was changed that you were not told of." };
  if (error instanceof Unreachable) return { ...about, code: "console.unreachable", help: "It is asked again as soon as it is back." };
  return { ...about, code: "console.fault", title: "a fault of the console", detail: String(error) };
}
