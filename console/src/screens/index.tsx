// What there is to see. The first one comes with the frame; the others are loaded when they are shown.

import { lazy, type ComponentType } from "react";
import type { IconName } from "../ui/icons";
import { Link } from "../lib/route";
import { Badge } from "../ui/badge";
import { Devices } from "./devices";

export interface Screen {
  /** First part of the path. */
  at: string;
  name: string;
  keys?: string;
  icon: IconName;
  Screen: ComponentType;
  /** How much there is to do. */
  Badge?: ComponentType;
}

export const SCREENS: (Screen & { keys: string })[] = [
  { at: "devices", name: "Inventory", keys: "g i", icon: "devices", Screen: Devices },
  { at: "waiting", name: "Waiting", keys: "g w", icon: "waiting", Screen: lazy(() => import("./waiting")), Badge },
  { at: "reach", name: "Reach", keys: "g r", icon: "reach", Screen: lazy(() => import("./reach")) },
  { at: "exceptions", name: "Exceptions", keys: "g e", icon: "exceptions", Screen: lazy(() => import("./exceptions")) },
  { at: "proof", name: "Proof", keys: "g p", icon: "proof", Screen: lazy(() => import("./proof")) },
];

/** What is reached from another one. */
export const FURTHER: (Screen & { below: string })[] = [{ at: "import", below: "devices", name: "Import", icon: "up", Screen: lazy(() => import("./import")) }];

export function Missing() {
  return (
    <div className="empty">
      <h1>There is no such screen</h1>
      <p>The address may be of another version of the console.</p>
      <Link className="button" to="/">
        Go to the inventory
      </Link>
    </div>
  );
}
