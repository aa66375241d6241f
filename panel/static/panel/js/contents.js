/** Looking through a backup: its folders, to download a file or to restore a part of it. */

import { busy, patiently } from "./api.js";
import { element, focusHeading, say, timeElement, unseen } from "./dom.js";
import { bytes, moment, refreshTimes } from "./format.js";

const LIMIT = 200;
// What a path of a bundle that can be restored begins with.
const RESTORABLE = /^wp-(content(\/|$)|config\.php$)/;

/** Fills the section `#contents`. */
export class Contents {
  /** `restore(wanted)` asks for a restore: of one path. */
  constructor(section, settings, { restore }) {
    this.section = section;
    this.settings = settings;
    this.restore = restore;
    section.querySelector("[data-contents-close]").addEventListener("click", () => {
      section.hidden = true;
    });
  }

  /** Show a folder of a backup. */
  async open(backup, path = "") {
    const address = `${this.settings.backup.replace(/\/0$/, `/${backup.id}`)}`;
    const query = new URLSearchParams({ path, limit: LIMIT });
    const found = await patiently(`${address}/contents?${query}`);
    const find = (name) => this.section.querySelector(`[data-contents${name}]`);
    say(find("-of"), `of ${moment(backup.created_at)}`);
    find("-crumbs").replaceChildren(...this.#crumbs(backup, path));
    find("-rows").replaceChildren(...found.entries.map((entry) => this.#row(backup, address, entry)));
    const rest = found.total - found.entries.length;
    find("-more").hidden = rest <= 0;
    say(find("-more"), `${rest} more are in this folder; the API lists all of them.`);
    this.section.hidden = false;
    refreshTimes(this.section);
    focusHeading(this.section);
  }

  #crumbs(backup, path) {
    const parts = path ? path.split("/") : [];
    const steps = ["", ...parts.map((_, index) => parts.slice(0, index + 1).join("/"))];
    return steps.flatMap((step, index) => {
      const button = this.#opener(backup, step, index ? parts[index - 1] : "All");
      return index ? [" / ", button] : [button];
    });
  }

  #opener(backup, path, text) {
    const button = element("button", { type: "button", className: "link-button" }, text);
    button.addEventListener("click", () => busy(button, () => this.open(backup, path)));
    return button;
  }

  #row(backup, address, entry) {
    const isFolder = entry.type === "folder";
    const name = isFolder && entry.path !== null ? this.#opener(backup, entry.path, `${entry.name}/`) : entry.name;
    const size = isFolder ? `${bytes(entry.size)} in ${entry.files} files` : bytes(entry.size);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, name, entry.link ? element("span", { className: "quiet" }, ` → ${entry.link}`) : null),
      element("td", { className: "number" }, size),
      element("td", {}, entry.modified_at ? timeElement(entry.modified_at) : "–"),
      element("td", { className: "row-buttons" }, ...this.#buttons(backup, address, entry)),
    );
  }

  #buttons(backup, address, entry) {
    if (entry.path === null) return [];
    const buttons = [];
    if (["file", "hardlink"].includes(entry.type)) {
      const href = `${address}/file?${new URLSearchParams({ path: entry.path })}`;
      buttons.push(element("a", { href, download: entry.name, className: "button-link" }, "Download", unseen(` ${entry.name}`)), " ");
    }
    if (RESTORABLE.test(entry.path)) {
      const button = element("button", { type: "button" }, "Restore", unseen(` ${entry.name}`));
      button.addEventListener("click", () => busy(button, () => this.restore({ backup, path: entry.path })));
      buttons.push(button);
    }
    return buttons;
  }
}
