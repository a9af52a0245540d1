// The frame: who is signed in, where they are, whether what they see is of now.

import { Suspense, useEffect, useRef, useState } from "react";
import { ask } from "./api/client";
import { contact } from "./api/contact";
import { live } from "./api/live";
import { session } from "./api/session";
import { watch } from "./lib/idle";
import { useKeys, type Key } from "./lib/keys";
import { useMyself } from "./lib/may";
import { deviceAt, go, Link, usePlace } from "./lib/route";
import { change, settings } from "./lib/settings";
import { useStore } from "./lib/store";
import { clock } from "./lib/time";
import { Fault } from "./ui/fault";
import { Icon, Ring } from "./ui/icons";
import { Button, Dialog } from "./ui/kit";
import { Mark } from "./ui/mark";
import { Palette, type Command } from "./ui/palette";
import { FURTHER, Missing, SCREENS } from "./screens";
import { inventoryAt } from "./screens/inventory/query";
import { SignIn } from "./screens/signin";

export function App() {
  const { token, mustChange, operator } = useStore(session);
  if (!token || mustChange) return <SignIn />;
  // Another person begins with nothing of the one before.
  return <Shell key={operator} />;
}

function Shell() {
  const place = usePlace();
  const [open, setOpen] = useState<"palette" | "help" | null>(null);
  const main = useRef<HTMLElement>(null);
  const screen = place.parts.length === 0 ? SCREENS[0] : [...SCREENS, ...FURTHER].find((screen) => screen.at === place.parts[0]);

  useEffect(watch, []);
  useEffect(() => {
    if (place.parts.length === 0 && SCREENS[0]) go(`/${SCREENS[0].at}`, "replace");
  }, [place]);
  useEffect(() => {
    document.title = screen ? `${place.parts[1] ?? screen.name} · Ringfence` : "Ringfence";
  }, [screen, place]);

  const find = () => {
    const box = document.querySelector<HTMLInputElement>("[data-find]");
    if (box) {
      box.focus();
      box.select();
    } else {
      setOpen("palette");
    }
  };
  const keys: Key[] = [
    { keys: "/", what: "Find", run: find },
    { keys: "Ctrl K", what: "Command palette", run: () => setOpen("palette") },
    ...SCREENS.map((screen) => ({ keys: screen.keys, what: `Go to ${screen.name}`, run: () => go(`/${screen.at}`) })),
    { keys: "?", what: "This help", run: () => setOpen("help") },
  ];
  useKeys(keys);

  const commands: Command[] = [
    ...[...SCREENS, ...FURTHER].map((screen) => ({ what: `Go to ${screen.name}`, where: screen.keys, icon: screen.icon, run: () => go(`/${screen.at}`) })),
    { what: "Theme: as the system", run: () => change({ theme: "system" }) },
    { what: "Theme: light", run: () => change({ theme: "light" }) },
    { what: "Theme: dark", run: () => change({ theme: "dark" }) },
    { what: "Density: compact", run: () => change({ density: "compact" }) },
    { what: "Density: comfortable", run: () => change({ density: "comfortable" }) },
    { what: "Keyboard help", where: "?", run: () => setOpen("help") },
    { what: "Sign out", icon: "out", run: signOut },
  ];
  const search = (text: string): Command[] => [
    { what: text, where: "open the device with this id", icon: "devices", run: () => go(deviceAt(text)) },
    { what: text, where: "find these words in the inventory", icon: "search", run: () => go(inventoryAt({ q: text })) },
  ];

  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the screen
      </a>
      <nav className="rail" aria-label="Screens">
        <div className="brand">
          <Ring /> Ringfence
        </div>
        {SCREENS.map((screen) => (
          <Link key={screen.at} className="at" to={`/${screen.at}`} aria-current={(place.parts[0] === screen.at || FURTHER.some(({ at, below }) => at === place.parts[0] && below === screen.at)) ? "page" : undefined}>
            <Icon name={screen.icon} /> {screen.name}
            {screen.Badge && <screen.Badge />}
            <kbd aria-hidden="true">{screen.keys}</kbd>
          </Link>
        ))}
        <div className="foot">
          <Button look="plain" icon="search" onClick={() => setOpen("palette")} aria-keyshortcuts="Control+K">
            <span className="name">Commands</span> <kbd>Ctrl K</kbd>
          </Button>
          <Standing />
          <Who onHelp={() => setOpen("help")} />
        </div>
      </nav>
      <Banner />
      <main className="screen" id="main" ref={main} tabIndex={-1}>
        <Fault key={place.parts[0]}>
          <Suspense fallback={<p className="hidden">Loading…</p>}>{screen ? <screen.Screen /> : <Missing />}</Suspense>
        </Fault>
      </main>
      {open === "palette" && <Palette commands={commands} search={search} onClose={() => setOpen(null)} />}
      {open === "help" && <Help keys={keys} onClose={() => setOpen(null)} />}
    </div>
  );
}

function signOut() {
  // The controller forgets it too; where it cannot be asked, the session ends half an hour later.
  void ask("post", "/v1/logout", {})
    .catch(() => undefined)
    .finally(() => session.out());
}

/** Whether what is shown is of now. */
function Standing() {
  const { state } = useStore(live);
  const [tone, word] = state === "live" ? (["good", "Live"] as const) : state === "lost" ? (["note", "Not live"] as const) : (["none", "Connecting"] as const);
  return (
    <div className="standing" role="status">
      <Mark tone={tone}>
        <span>{word}</span>
      </Mark>
    </div>
  );
}

function Banner() {
  const { state } = useStore(live);
  const { lost, at } = useStore(contact);
  // A line that breaks and stands again at once is nobody's business.
  const [late, setLate] = useState(false);
  const away = lost || state === "lost";
  useEffect(() => {
    if (!away) return setLate(false);
    const timer = setTimeout(() => setLate(true), 1_500);
    return () => clearTimeout(timer);
  }, [away]);
  if (!late) return null;
  return (
    <div className="banner" role="alert">
      <Icon name="lost" />
      <span>
        <strong>{lost ? "The controller does not answer." : "Changes are not arriving."}</strong> What you see is as of {clock(at)}; trying again. Sites go on enforcing.
      </span>
    </div>
  );
}

function Who({ onHelp }: { onHelp: () => void }) {
  const { login, operator } = useStore(session);
  const { theme } = useStore(settings);
  const me = useMyself();
  const [open, setOpen] = useState(false);
  const name = login ?? operator ?? "?";
  return (
    <>
      <button type="button" className="who" onClick={() => setOpen(true)}>
        <span className="round" aria-hidden="true">
          {name.slice(0, 2)}
        </span>
        <span className="name cut">
          {name}
          <small className="cut">{me ? me.roles.join(", ") || "no role" : "…"}</small>
        </span>
        <span className="hidden">account and settings</span>
      </button>
      {open && (
        <Dialog title="Account and settings" onClose={() => setOpen(false)}>
          <div className="inside">
            <h1>{name}</h1>
            <dl className="facts">
              <dt>Known as</dt>
              <dd className="mono">{me?.actor ?? operator}</dd>
              <dt>Roles</dt>
              <dd>{me?.roles.join(", ") ?? "…"}</dd>
              <dt>Sites</dt>
              <dd>{me ? (me.sites?.join(", ") ?? "all") : "…"}</dd>
            </dl>
            <fieldset className="choices">
              <legend>Theme</legend>
              {(["system", "light", "dark"] as const).map((one) => (
                <label key={one}>
                  <input type="radio" name="theme" checked={theme === one} onChange={() => change({ theme: one })} /> {one === "system" ? "As the system" : one === "light" ? "Light" : "Dark"}
                </label>
              ))}
            </fieldset>
            <div className="actions">
              <a className="button plain" href="/licences.txt" target="_blank" rel="noreferrer">
                Licences
              </a>
              <Button
                onClick={() => {
                  setOpen(false);
                  onHelp();
                }}
              >
                Keyboard help
              </Button>
              <Button icon="out" onClick={signOut}>
                Sign out
              </Button>
            </div>
          </div>
        </Dialog>
      )}
    </>
  );
}

/** Keys of lists; those of the frame come from [`useKeys`]. */
const LIST_KEYS: [string, string][] = [
  ["↑ ↓", "One row up or down; above the first row, the columns"],
  ["← →", "From column to column, above the first row; Enter orders by it"],
  ["PgUp PgDn Home End", "Further"],
  ["Enter", "Open"],
  ["Space", "Choose"],
  ["Esc", "Choose nothing; close"],
];

function Help({ keys, onClose }: { keys: Key[]; onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <div className="inside">
        <h1>Keyboard</h1>
        <dl className="help">
          {[...keys.map((key) => [key.keys, key.what] as const), ...LIST_KEYS].map(([key, what]) => (
            <div key={key} className="line">
              <dt>
                {key.split(" ").map((one) => (
                  <kbd key={one}>{one}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <div className="actions">
          <Button onClick={onClose} autoFocus>
            Close
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
