// What a second person is asked for: the change as the controller will carry it out, and no other.

import type { Approval } from "../../api/client";
import { useNames } from "../../lib/people";
import { Link } from "../../lib/route";
import { count, exact } from "../../lib/time";
import { inventoryAt } from "../inventory/query";
import type { Command } from "./words";

const CHANGES: Record<string, string> = { devices: "Decides about many devices", import: "Takes in a list", policy: "Sets another policy folder" };

export function Asked({ approval }: { approval: Approval }) {
  const nameOf = useNames();
  const it = approval.command as Command;
  const values = [...Object.entries(it.set ?? {}), ...Object.entries(it.labels ?? {}).map(([name, value]) => [`label.${name}`, value] as const)];
  const line = (name: string, value: React.ReactNode) =>
    value ? (
      <>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </>
    ) : null;
  const selected = it.l || it.where;
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
            <Link to={inventoryAt({ l: it.l ?? "", where: it.where ?? "" })}>
              <code>{[it.l, it.where].filter(Boolean).join(" and ")}</code>
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
        {line("Until", exact(approval.expires_at))}
        {line("Sites", approval.sites ? approval.sites.join(", ") : "all")}
      </dl>
    </section>
  );
}
