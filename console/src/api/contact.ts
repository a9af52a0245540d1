// Whether the controller answers, and since when it does not: everything on the screen is as old as that.

import { Store } from "../lib/store";

export interface Contact {
  /** It does not answer. */
  lost: boolean;
  /** When it was heard last (ms). */
  at: number;
}

class Contacts extends Store<Contact> {
  heard() {
    const now = Date.now();
    const { lost, at } = this.get();
    // Screens need not hear of every answer.
    if (lost || now - at > 900) this.set({ lost: false, at: now });
  }

  lost() {
    if (!this.get().lost) this.set({ ...this.get(), lost: true });
  }
}

export const contact = new Contacts({ lost: false, at: Date.now() });
