// The boxes that a list is found with. What is typed is asked for with Enter; the controller says what of it is no field.

import { useState, type ReactNode } from "react";
import { Icon, type IconName } from "../../ui/icons";

interface Props {
  label: string;
  icon: IconName;
  value: string;
  onFind: (text: string) => void;
  placeholder: string;
  title: string;
  /** The one that `/` goes to. */
  main?: boolean;
  mono?: boolean;
  /** Shown while nothing is typed. */
  children?: ReactNode;
}

export function Find({ label, icon, value, onFind, placeholder, title, main, mono, children }: Props) {
  const [text, setText] = useState(value);
  const clear = () => {
    setText("");
    if (value) onFind("");
  };
  return (
    <form
      className={mono ? "selector mono" : "selector"}
      role="search"
      aria-label={label}
      onSubmit={(event) => {
        event.preventDefault();
        onFind(text.trim());
      }}
    >
      <Icon name={icon} />
      <input
        data-find={main || undefined}
        aria-label={label}
        autoComplete="off"
        spellCheck={false}
        placeholder={placeholder}
        title={title}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          if (text || value) clear();
          else event.currentTarget.blur();
        }}
      />
      {text ? (
        <button type="button" className="clear" aria-label={`Clear: ${label}`} onClick={clear}>
          <Icon name="close" size={12} />
        </button>
      ) : (
        children
      )}
    </form>
  );
}
