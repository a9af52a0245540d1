// The columns of the inventory: what each says of a device, and how.

import { columnSizingFeature, createColumnHelper, tableFeatures } from "@tanstack/react-table";
import type { ReactNode } from "react";
import type { Believed, Device } from "../../api/client";
import { Mark, toneOf } from "../../ui/mark";
import { deviceAt, Link } from "../../lib/route";
import { exact } from "../../lib/time";
import { Time } from "../../ui/kit";

export const features = tableFeatures({ columnSizingFeature });

/** What people call a device: their name for it, its own, or its id. */
export function nameOf(device: Device): string {
  return device.name?.value ?? device.hostname?.value ?? device.id;
}

/** How something is known, in a line. */
export function known(believed: Believed): string {
  const how = believed.decided ? `decided by ${believed.source}` : `said by ${believed.source}, ${believed.confidence} % sure`;
  return `${believed.value}\n${how}\n${exact(believed.at)}`;
}

function Value({ of, mark, missing }: { of: Believed | null | undefined; mark?: boolean; missing?: ReactNode }) {
  if (!of) return missing ?? <span className="faint">–</span>;
  const value = mark ? <Mark tone={toneOf(of.value)}>{of.value}</Mark> : of.value;
  // What is little sure is not written as if it were.
  const unsure = !of.decided && of.confidence < 50;
  return (
    <span title={known(of)} className={unsure ? "quiet" : undefined}>
      {value}
      {unsure && <span className="faint"> ?</span>}
    </span>
  );
}

const helper = createColumnHelper<typeof features, Device>();
const value = (id: string, header: string, size: number, of: (device: Device) => Believed | null | undefined, mark = false, missing?: ReactNode) =>
  helper.accessor((device) => of(device)?.value ?? "", {
    id,
    header,
    size,
    cell: ({ row }) => <Value of={of(row.original)} mark={mark} missing={missing} />,
  });
const list = (id: string, header: string, size: number, of: (device: Device) => string[]) =>
  helper.accessor((device) => of(device).join(" "), {
    id,
    header,
    size,
    cell: ({ row }) => {
      const [first, ...more] = of(row.original);
      if (first === undefined) return <span className="faint">–</span>;
      return (
        <span className="mono" title={more.length > 0 ? of(row.original).join("\n") : undefined}>
          {first}
          {more.length > 0 && <span className="tag">+{more.length}</span>}
        </span>
      );
    },
  });

const all = helper.columns([
  helper.accessor(nameOf, {
    id: "name",
    header: "Device",
    size: 200,
    cell: ({ row }) => {
      const { name, hostname, resurfaced, confused_with: others } = row.original;
      const known_as = name ?? hostname;
      return (
        <>
          <Link to={deviceAt(row.original.id)} tabIndex={-1} className={known_as ? "strong" : "mono"}>
            {nameOf(row.original)}
          </Link>
          {resurfaced && <span className="tag">back</span>}
          {others.length > 0 && <span className="tag">several?</span>}
        </>
      );
    },
  }),
  value("type", "Type", 145, (device) => device.type),
  value("owner", "Owner", 115, (device) => device.owner, false, <Mark tone="note">no owner</Mark>),
  helper.accessor("site", { id: "site", header: "Site", size: 60 }),
  value("zone", "Zone", 125, (device) => device.zone, false, <span className="faint">no zone</span>),
  list("address", "Address", 110, (device) => device.addresses),
  value("posture", "Posture", 110, (device) => device.posture, true),
  value("vendor", "Vendor", 110, (device) => device.vendor),
  value("model", "Model", 120, (device) => device.model),
  value("firmware", "Firmware", 110, (device) => device.firmware),
  value("support", "Support", 105, (device) => device.support, true),
  value("exposure", "Exposure", 135, (device) => device.exposure, true),
  value("assurance", "Assurance", 120, (device) => device.assurance),
  value("criticality", "Criticality", 100, (device) => device.criticality),
  helper.accessor("last_seen", { id: "last_seen", header: "Last seen", size: 90, cell: ({ row }) => <Time at={row.original.last_seen} /> }),
  helper.accessor("first_seen", { id: "first_seen", header: "First seen", size: 100, cell: ({ row }) => <Time at={row.original.first_seen} /> }),
  helper.accessor("state", { id: "state", header: "State", size: 90, cell: ({ row }) => <Mark tone={toneOf(row.original.state)}>{row.original.state}</Mark> }),
  value("hostname", "Hostname", 150, (device) => device.hostname),
  list("keys", "Identified by", 210, (device) => device.keys),
  list("mac", "Link address", 140, (device) => device.keys.filter((key) => key.startsWith("mac/")).map((key) => key.slice(4))),
  value("serial", "Serial", 130, (device) => device.serial),
  value("os", "System", 120, (device) => device.os),
  value("hardware", "Hardware", 110, (device) => device.hardware),
  value("mud-url", "MUD", 160, (device) => device["mud-url"]),
  list("labels", "Labels", 180, (device) => Object.entries(device.labels).map(([name, text]) => `${name}=${text}`)),
  helper.accessor("id", { id: "id", header: "Id", size: 180, cell: ({ row }) => <span className="mono">{row.original.id}</span> }),
]);

export type Column = (typeof all)[number];

/** What everybody begins with. */
export const SHOWN = ["name", "type", "owner", "site", "zone", "address", "model", "support", "exposure", "last_seen"];
/** Every list has it: it leads to the device. */
export const ALWAYS = "name";

const LABEL = "label.";
/** Columns that no order goes by. */
const UNORDERED = ["keys", "mac", "labels"];
/** Columns that a view cannot keep. */
const OURS = ["keys"];

/** All that can be chosen, with those of labels that are shown. */
export function choices(shown: string[]): Column[] {
  const labels = shown.filter((id) => id.startsWith(LABEL));
  return [...all, ...labels.map((id) => value(id, id.slice(LABEL.length), 130, (device) => labelOf(device, id.slice(LABEL.length))))];
}

/** These, in this order. */
export function columnsOf(shown: string[]): Column[] {
  const known = new Map(choices(shown).map((column) => [column.id, column]));
  const ids = shown.includes(ALWAYS) ? shown : [ALWAYS, ...shown];
  return ids.flatMap((id) => known.get(id) ?? []);
}

export function isOrdered(id: string): boolean {
  return !UNORDERED.includes(id) && !id.startsWith(LABEL);
}

export function keptInViews(shown: string[]): string[] {
  return shown.filter((id) => !OURS.includes(id));
}

/** A label as what a person decided, which it is. */
function labelOf(device: Device, name: string): Believed | null {
  const text = device.labels[name];
  return text === undefined ? null : { value: text, source: "a person", confidence: 100, decided: true, at: device.last_seen };
}
