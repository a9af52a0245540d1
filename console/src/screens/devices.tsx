// `/devices`: all of them. `/devices/ID`: one.

import { lazy } from "react";
import { usePlace } from "../lib/route";
import { Inventory } from "./inventory";

const DeviceScreen = lazy(() => import("./device"));

export function Devices() {
  const { parts } = usePlace();
  return parts.length > 1 ? <DeviceScreen key={parts.slice(1).join("/")} /> : <Inventory />;
}
