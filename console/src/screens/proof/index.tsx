// `/proof`: the journal, the newest entry first. `/proof/N`: one entry, judged here.

import { usePlace } from "../../lib/route";
import { EntryScreen } from "./entry";
import { Journal } from "./journal";
import "../../styles/proof.css";

export default function Proof() {
  const { parts } = usePlace();
  const number = parts[1];
  return number === undefined ? <Journal /> : <EntryScreen key={number} number={number} />;
}
