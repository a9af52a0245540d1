// Who is signed in. The token is kept for this tab alone and sent as `Authorization`, never as a cookie: another site cannot make
// the browser send it. It ends with the tab, by signing out, or when the controller says so.

import { Store } from "../lib/store";

const KEPT = "ringfence.session";

export interface Session {
  token: string | null;
  operator: string | null;
  login: string | null;
  mustChange: boolean;
  /** It was there, and the controller knows it no more. */
  expired: boolean;
}

const NOBODY: Session = { token: null, operator: null, login: null, mustChange: false, expired: false };

function kept(): Session {
  try {
    const text = sessionStorage.getItem(KEPT);
    return text ? { ...NOBODY, ...(JSON.parse(text) as Partial<Session>) } : NOBODY;
  } catch {
    return NOBODY;
  }
}

class Sessions extends Store<Session> {
  begun(token: string, operator: string, login: string, mustChange: boolean) {
    this.keep({ token, operator, login, mustChange, expired: false });
  }

  /** The controller does not know this token: unless there is another one by now, nobody is signed in. */
  ended(token: string) {
    const now = this.get();
    if (now.token === token) this.keep({ ...now, token: null, expired: true });
  }

  mustChange() {
    this.keep({ ...this.get(), mustChange: true });
  }

  out() {
    this.keep(NOBODY);
  }

  private keep(session: Session) {
    try {
      if (session.token) sessionStorage.setItem(KEPT, JSON.stringify(session));
      else sessionStorage.removeItem(KEPT);
    } catch {
      // It lasts until the page is left.
    }
    this.set(session);
  }
}

export const session = new Sessions(kept());
