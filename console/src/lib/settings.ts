// How this browser shows things. No setting is sent to the controller.

import { Store } from "./store";

export interface Settings {
  theme: "system" | "light" | "dark";
  density: "compact" | "comfortable";
  /** Columns of the inventory that are shown; `null`: those that everybody begins with. */
  columns: string[] | null;
}

const KEPT = "ringfence.settings";
const FIRST: Settings = { theme: "system", density: "compact", columns: null };

function kept(): Settings {
  try {
    return { ...FIRST, ...(JSON.parse(localStorage.getItem(KEPT) ?? "{}") as Partial<Settings>) };
  } catch {
    return FIRST;
  }
}

function show({ theme, density }: Settings) {
  const root = document.documentElement;
  if (theme === "system") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", theme);
  root.setAttribute("data-density", density);
}

export const settings = new Store<Settings>(kept());
show(settings.get());

export function change(some: Partial<Settings>) {
  const all = { ...settings.get(), ...some };
  try {
    localStorage.setItem(KEPT, JSON.stringify(all));
  } catch {
    // They last until the page is left.
  }
  show(all);
  settings.set(all);
}
