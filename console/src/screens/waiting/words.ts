// Kinds of questions and words of choices, as people read them. The order is that of the list.

import type { Approval } from "../../api/client";
import { count, exact } from "../../lib/time";
import type { Question } from ".";

export const KINDS: Record<string, { one: string; plural: string }> = {
  approval: { one: "A change that takes a second person", plural: "Changes for a second person" },
  certificate: { one: "A device asks for a certificate", plural: "Asking for a certificate" },
  "same-device": { one: "Are they one device?", plural: "One device, or two?" },
  back: { one: "A retired device is back", plural: "Back after they were retired" },
  "no-owner": { one: "Nobody is answerable", plural: "Without an owner" },
  "not-enrolled": { one: "A site without a box", plural: "Sites that enforce nothing" },
};

const CHOICES: Record<string, string> = {
  approve: "Approve",
  reject: "Reject",
  apart: "Keep apart",
  return: "Take back in",
  "keep-retired": "Keep retired",
};

export function choiceOf(kind: string, word: string, [kept, other]: string[]): string {
  if (kind === "certificate" && word === "approve") return `It is ${kept}`;
  if (word === "merge") return `Merge into ${kept}`;
  if (word === "merge-other-way") return `Merge into ${other}`;
  return CHOICES[word] ?? word;
}

/** What the controller says of a change that takes a second person. */
export interface Command {
  change?: string;
  devices?: number;
  l?: string | null;
  where?: string | null;
  q?: string | null;
  set?: Record<string, string | null>;
  labels?: Record<string, string | null>;
  source?: string;
  file_sha256?: string;
  files?: string[];
  origin?: string;
  content?: string;
  from?: string;
  to?: string;
}

/** `decide the owner of 1,512 devices`. */
function wanted(it: Command): string | null {
  const devices = `${count(it.devices ?? 0)} devices`;
  if (it.change === "devices") return `decide the ${[...Object.keys(it.set ?? {}), ...Object.keys(it.labels ?? {}).map((name) => `label ${name}`)].join(", ")} of ${devices}`;
  if (it.change === "import") return `take in a list that decides about ${devices}`;
  if (it.change === "policy") return "set another policy folder";
  if (it.change === "exception") return `open ${it.to} to ${it.from} for a while`;
  return null;
}

/** What the controller says, with people by their names where they may be told, and times as everywhere here. */
export function plain(text: string, nameOf: (who: string) => string): string {
  return text.replace(/\b(person|token|host)\/[\w.-]*\w/g, (who) => nameOf(who)).replace(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, exact);
}

/** A question in words, with people by their names where they may be told. */
export function said(question: Question, approval: Approval | undefined, nameOf: (who: string) => string): string {
  const change = approval && wanted(approval.command as Command);
  if (change) return `${nameOf(approval.by)} wants to ${change}`;
  const text = plain(question.what, nameOf);
  // An id stays as it is.
  return question.devices.some((id) => text.startsWith(id)) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}
