// Parts that screens are made of.

import { useEffect, useId, useRef, type ButtonHTMLAttributes, type ReactNode } from "react";
import type { Problem } from "../api/client";
import { ago, exact } from "../lib/time";
import { Icon, type IconName } from "./icons";
import { Shape, type Tone } from "./mark";

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & { look?: string; icon?: IconName };

export function Button({ look = "", icon, children, ...rest }: ButtonProps) {
  return (
    <button type="button" {...rest} className={`button ${look}`}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function IconButton({ icon, label, look = "plain", ...rest }: ButtonProps & { icon: IconName; label: string }) {
  return (
    <button type="button" {...rest} className={`button icon ${look}`} aria-label={label} title={label}>
      <Icon name={icon} />
    </button>
  );
}

/** A label and what is typed; `children` gets the id that ties them together. */
export function Field({ label, hint, children }: { label: string; hint?: ReactNode; children: (id: string, described?: string) => ReactNode }) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children(id, hint ? `${id}-hint` : undefined)}
      {hint && (
        <div className="hint" id={`${id}-hint`}>
          {hint}
        </div>
      )}
    </div>
  );
}

/** What a person should know; `alert`: now. */
export function Notice({ tone, title, children, alert }: { tone: Tone; title: string; children?: ReactNode; alert?: boolean }) {
  return (
    <div className={`notice ${tone}`} role={alert ? "alert" : undefined}>
      <Shape tone={tone} size={12} />
      <div>
        <p>
          <strong>{title}</strong>
        </p>
        {children}
      </div>
    </div>
  );
}

/** What went wrong, why, and what to do. */
export function ProblemNotice({ problem }: { problem: Problem }) {
  const title = problem.title.charAt(0).toUpperCase() + problem.title.slice(1);
  return (
    <Notice tone="bad" title={title} alert>
      {/* What points at a place in a text does so in letters of one width. */}
      <p className={problem.detail.includes("\n") ? "mono" : undefined}>{problem.detail}</p>
      {problem.help && <p>{problem.help}</p>}
      <p className="mono">{problem.code}</p>
    </Notice>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
  className?: string;
  /** Nothing in it has the focus at first: the key that is still down opens no file. */
  still?: boolean;
}

/** A question in front of everything else. Escape closes it. */
export function Dialog({ title, onClose, children, className, still }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const close = useRef(onClose);
  close.current = onClose;
  useEffect(() => {
    const dialog = ref.current;
    if (!dialog) return;
    const before = document.activeElement;
    if (!dialog.open) dialog.showModal();
    if (dialog.hasAttribute("tabindex")) dialog.focus();
    const cancel = (event: Event) => {
      // A file that was not chosen after all is none of its business.
      if (event.target !== dialog) return;
      event.preventDefault();
      close.current();
    };
    dialog.addEventListener("cancel", cancel);
    return () => {
      dialog.removeEventListener("cancel", cancel);
      dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} aria-label={title} className={className} tabIndex={still ? -1 : undefined}>
      {children}
    </dialog>
  );
}

/** When; the exact time is in its title. */
export function Time({ at }: { at: string }) {
  return (
    <time dateTime={at} title={exact(at)}>
      {ago(at)}
    </time>
  );
}

/** Opens a list of choices below a button. One that has `data-close` closes it. */
export function Menu({ label, icon, children, look }: { label: string; icon?: IconName; children: ReactNode; look?: string }) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const list = menu.current;
    const place = (event: Event) => {
      if ((event as ToggleEvent).newState !== "open" || !button.current || !list) return;
      const at = button.current.getBoundingClientRect();
      list.style.top = `${at.bottom + 4}px`;
      list.style.right = `${Math.max(8, innerWidth - at.right)}px`;
    };
    list?.addEventListener("beforetoggle", place);
    return () => list?.removeEventListener("beforetoggle", place);
  }, []);
  return (
    <>
      <button ref={button} type="button" className={`button ${look ?? ""}`} popoverTarget={id}>
        {icon && <Icon name={icon} />}
        {label}
      </button>
      <div ref={menu} id={id} popover="auto" className="menu" onClick={(event) => event.target instanceof Element && event.target.closest("[data-close]") && menu.current?.hidePopover()}>
        {children}
      </div>
    </>
  );
}
