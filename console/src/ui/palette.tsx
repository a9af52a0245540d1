// Everything that can be done, found by typing: Ctrl K.

import { useId, useState } from "react";
import { Dialog } from "./kit";
import { Icon, type IconName } from "./icons";

export interface Command {
  what: string;
  where?: string | undefined;
  icon?: IconName;
  run: () => void;
}

export function Palette({ commands, search, onClose }: { commands: Command[]; search: (text: string) => Command[]; onClose: () => void }) {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const id = useId();
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = commands.filter((command) => {
    const name = `${command.what} ${command.where ?? ""}`.toLowerCase();
    return words.every((word) => name.includes(word));
  });
  const found = [...fits, ...(text.trim() ? search(text.trim()) : [])];
  const chosen = Math.min(at, found.length - 1);
  const run = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    command.run();
  };
  return (
    <Dialog title="Command palette" onClose={onClose} className="palette">
      <div className="find">
        <Icon name="search" />
        <input
          role="combobox"
          aria-label="Command or device"
          aria-expanded="true"
          aria-controls={id}
          aria-activedescendant={found.length > 0 ? `${id}-${chosen}` : undefined}
          autoFocus
          autoComplete="off"
          spellCheck={false}
          placeholder="Go to, do, or find a device…"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setAt(0);
          }}
          onKeyDown={(event) => {
            const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
            if (step) {
              event.preventDefault();
              setAt((chosen + step + found.length) % Math.max(1, found.length));
            }
            if (event.key === "Enter") {
              event.preventDefault();
              run(found[chosen]);
            }
          }}
        />
        <kbd>Esc</kbd>
      </div>
      <ul id={id} role="listbox" aria-label="Commands">
        {found.map((command, index) => (
          <li key={`${command.what}${command.where ?? ""}`} id={`${id}-${index}`} role="option" aria-selected={index === chosen} onMouseMove={() => setAt(index)} onClick={() => run(command)}>
            {command.icon && <Icon name={command.icon} />}
            <span className="cut">{command.what}</span>
            {command.where && <span className="where">{command.where}</span>}
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
