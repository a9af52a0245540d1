// What a second person is asked for: the change as the controller will carry it out, and no other.

import type { Approval } from "../../api/client";
import { useNames } from "../../lib/people";
import { Link } from "../../lib/route";
import { count, exact } from "../../lib/time";
import { inventoryAt } from "../inventory/query";
import type { Command } from "./words";

const CHANGES: Record<string, string> = { devices: "Decides about many devices", import: "Takes in a list", policy: "Sets another policy folder", exception: "Opens a path for a while" };
/** What is said in a line of its own, or tells nothing to a person. */
const SAID = ["change", "devices", "l", "where", "q", "set", "labels", "source", "file_sha256", "files", "origin", "content", "why", "ids_sha256", "decisions_sha256", "parent"];

export function Asked({ approval }: { approval: Approval }) {
  const nameOf = useNames();
  const it = approval.command as Command;
  const values = [...Object.entries(it.set ?? {}), ...Object.entries(it.labels ?? {}).map(([name, value]) => [`label.${name}`, value] as const)];
  // A change of a kind that is not known here is shown as the controller says it: nobody approves half of one.
  const others = Object.entries(approval.command).filter(([name, value]) => !SAID.includes(name) && value !== null);
  const line = (name: string, value: React.ReactNode) =>
    value ? (
      <>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </>
    ) : null;
  const selected = it.l || it.where || it.q;
  return (
    <section className="card" aria-labelledby="change">
      <h2 id="change">{CHANGES[it.change ?? ""] ?? it.change ?? "A change"}</h2>
      <dl className="facts inside">
        {line("Asked by", nameOf(approval.by))}
        {line("Reason", <q>{approval.why}</q>)}
        {line("Devices", it.devices !== undefined && count(it.devices))}
        {line(
          "Selected by",
          selected ? (
            <Link to={inventoryAt({ l: it.l ?? "", where: it.where ?? "", q: it.q ?? "" })}>
              <code>{[it.l, it.where, it.q && `the words ${it.q}`].filter(Boolean).join(" and ")}</code>
            </Link>
          ) : it.change === "devices" ? (
            "the ids of devices, one by one"
          ) : null,
        )}
        {values.map(([name, value]) => (
          <div className="contents" key={name}>
            <dt>{name}</dt>
            <dd>{value === null ? "no decision of ours any more" : <strong>{value}</strong>}</dd>
          </div>
        ))}
        {line("Source", it.source)}
        {line("File", it.file_sha256 && <code>SHA-256 {it.file_sha256}</code>)}
        {line("Origin", it.origin)}
        {line("Files that differ", it.files && it.files.map((file) => <div key={file} className="mono">{file}</div>))}
        {line("Folder", it.content && <code>SHA-256 {it.content}</code>)}
        {others.map(([name, value]) => (
          <div className="contents" key={name}>
            <dt>{name}</dt>
            <dd>{typeof value === "string" ? value : JSON.stringify(value)}</dd>
          </div>
        ))}
        {line("Approve until", exact(approval.expires_at))}
        {line("Sites", approval.sites ? approval.sites.join(", ") : "all")}
      </dl>
    </section>
  );
}
