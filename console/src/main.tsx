import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/kit.css";
import "./styles/shell.css";
import "./styles/inventory.css";
import "./lib/settings";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { live } from "./api/live";
import { App } from "./app";
import { Fault } from "./ui/fault";

live.follow();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Fault>
        <App />
      </Fault>
    </StrictMode>,
  );
}
