// A screen that cannot be drawn takes nothing else with it, and says what happened.

import { Component, type ReactNode } from "react";
import { Button, Notice } from "./kit";

export class Fault extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <div className="empty">
        <Notice tone="bad" title="This screen cannot be shown" alert>
          <p>{String(this.state.error)}</p>
          <p>The controller is not concerned. Load the page again; a new version of the console may have come with the controller.</p>
        </Notice>
        <Button onClick={() => location.reload()}>Load again</Button>
      </div>
    );
  }
}
