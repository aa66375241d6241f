/** Choosing some of the tables that a backup holds. */

import { patiently, Refused } from "./api.js";
import { element, say } from "./dom.js";
import { bytes } from "./format.js";

// More than these are found by a part of their name; so are some where there are more than a few.
const SHOWN = 200;
const FEW = 10;
const NAMED = 5;

/** Fills a `<details>`, and asks for the tables once it is opened. */
export class TableChoice {
  /** `addressOf(backup)` is where its tables are asked for. */
  constructor(details, addressOf) {
    this.details = details;
    this.addressOf = addressOf;
    this.backup = null;
    this.tables = null;
    this.chosen = new Set();
    details.addEventListener("toggle", () => {
      if (details.open && this.tables === null) this.#load();
    });
    this.#find("search").addEventListener("input", () => this.#draw());
    this.#find("list").addEventListener("change", ({ target }) => {
      if (target.checked) this.chosen.add(target.value);
      else this.chosen.delete(target.value);
      this.#count();
    });
  }

  /** Be about the backup with this id, null for none yet, with these tables chosen. */
  begin(backup, chosen = []) {
    this.backup = backup;
    this.tables = null;
    this.chosen = new Set(chosen);
    this.#find("search").value = "";
    say(this.#find("count"), "");
    this.#draw();
    if (this.details.open) this.#load();
    this.details.open = this.details.open || chosen.length > 0;
  }

  #find(name) {
    return this.details.querySelector(`[data-tables-${name}]`);
  }

  async #load() {
    const backup = this.backup;
    if (backup === null) {
      say(this.#find("count"), "Choose a backup first.");
      return;
    }
    say(this.#find("count"), "Asking the node which there are …");
    try {
      const { tables } = await patiently(this.addressOf(backup));
      // Meanwhile somebody may have chosen another backup.
      if (backup !== this.backup) return;
      this.tables = tables.sort((one, other) => one.name.localeCompare(other.name, [], { numeric: true }));
      const names = new Set(tables.map((table) => table.name));
      this.chosen = new Set([...this.chosen].filter((name) => names.has(name)));
      this.#draw();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (backup === this.backup) say(this.#find("count"), `They are not known: ${error.message}`);
    }
  }

  #draw() {
    const all = this.tables ?? [];
    const words = this.#find("search").value.trim().toLowerCase();
    this.found = all.filter((table) => table.name.toLowerCase().includes(words));
    this.#find("filter").hidden = all.length <= FEW;
    this.#find("list").replaceChildren(...this.found.slice(0, SHOWN).map((table) => this.#row(table)));
    this.#find("list").hidden = this.found.length === 0;
    this.#count();
  }

  #row({ name, rows, size }) {
    const checked = this.chosen.has(name);
    const counted = rows === null ? null : `${rows.toLocaleString()} ${rows === 1 ? "row" : "rows"}`;
    const figures = [counted, size === null ? null : bytes(size)].filter(Boolean).join(", ");
    return element(
      "label",
      {},
      element("input", { type: "checkbox", value: name, checked }),
      ` ${name} `,
      element("span", { className: "quiet" }, figures),
    );
  }

  /** Say how many there are, and which are chosen: not all of them may be in sight. */
  #count() {
    const names = [...this.chosen];
    say(this.#find("chosen"), names.length ? `: ${names.length} chosen` : "");
    if (this.tables === null) return;
    say(this.#find("count"), [this.#foundWords(), chosenWords(names)].join(" "));
  }

  #foundWords() {
    if (!this.tables.length) return "This backup holds no tables.";
    const { length } = this.found;
    if (length > SHOWN) return `The first ${SHOWN} of ${length}; type a part of a name to find others.`;
    return length < this.tables.length ? `${length} of ${this.tables.length} tables.` : `${length} tables.`;
  }
}

function chosenWords(names) {
  if (!names.length) return "None is chosen, so all are restored.";
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  return `Only these are restored: ${names.slice(0, NAMED).join(", ")}${more}. The others stay as they are now.`;
}
