// Where the person is. A screen is a path, and what it is asked for is its query: both can be sent to somebody, and Back works.

import type { AnchorHTMLAttributes, MouseEvent } from "react";
import { Store, useStore } from "./store";

export interface Place {
  /** Parts of the path, decoded: `["devices", "camera-7"]`. */
  parts: string[];
  query: URLSearchParams;
}

function here(): Place {
  const decode = (part: string) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  const parts = location.pathname.split("/").filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(location.search) };
}

const place = new Store<Place>(here());
addEventListener("popstate", () => place.set(here()));

export function usePlace(): Place {
  return useStore(place);
}

/** Goes to a path of the console. */
export function go(to: string, how: "push" | "replace" = "push") {
  if (to === location.pathname + location.search) return;
  if (how === "push") history.pushState(null, "", to);
  else history.replaceState(null, "", to);
  place.set(here());
}

/** Path of a device's screen. */
export function deviceAt(id: string): string {
  return `/devices/${encodeURIComponent(id)}`;
}

export function Link({ to, ...rest }: { to: string } & AnchorHTMLAttributes<HTMLAnchorElement>) {
  const click = (event: MouseEvent<HTMLAnchorElement>) => {
    rest.onClick?.(event);
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return <a {...rest} href={to} onClick={click} />;
}
