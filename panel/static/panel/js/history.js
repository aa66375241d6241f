/** The backups of a site: when, how large, whether proven; to download and to delete. */

import { busy, call, Refused } from "./api.js";
import { ask } from "./dialog.js";
import { element, focusHeading, notice, say, timeElement, unseen } from "./dom.js";
import { bytes, moment, refreshTimes } from "./format.js";

const PAGE = 20;
const SPARKLINE = { width: 120, height: 24 };
const SUSPECT =
  "It holds much less than the one before it, or a trial restore found that it is not what was " +
  "backed up. The earlier ones are kept.";
const PENDING_MS = 1000;
const PATIENCE_MS = 120000;

function addressOf(settings, backupId) {
  return settings.backup.replace(/\/0$/, `/${backupId}`);
}

/** Fetch a bundle with the browser's own download. */
export async function download(settings, backupId) {
  const answer = await call("GET", `${addressOf(settings, backupId)}/download`);
  const link = element("a", { href: answer.download_url, download: answer.filename, rel: "noreferrer" });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Fills the section `#history`. */
export class History {
  /** `showLog(job)` opens a log; `deleted()` is called when a backup is gone, `drawn()` when others
   * are shown than before; `work` has what else may be done with a good one: names, and functions
   * that take it. */
  constructor(section, settings, { showLog, deleted, drawn, work }) {
    this.section = section;
    this.settings = settings;
    this.showLog = showLog;
    this.deleted = deleted;
    this.onDrawn = drawn;
    this.work = work;
    this.drawn = "";
    this.wanted = PAGE;
    this.backups = [];
    section.querySelector("[data-history-more]").addEventListener("click", (event) => {
      this.wanted += PAGE;
      busy(event.currentTarget, () => this.load());
    });
  }

  /** Ask for the newest backups and show them. Returns them. */
  async load() {
    const query = new URLSearchParams({ skip: 0, limit: this.wanted });
    const { backups, total } = await call("GET", `${this.settings.backups}?${query}`);
    this.backups = backups;
    // Who is at a button of a row stays there as long as the rows are the same.
    const fresh = JSON.stringify([backups, total]);
    if (fresh === this.drawn) return backups;
    this.drawn = fresh;
    const find = (name) => this.section.querySelector(`[data-history${name}]`);
    say(find("-count"), String(total));
    find("-empty").hidden = total > 0;
    find("-help").hidden = !backups.some((backup) => backup.status === "SUCCESS");
    find("").hidden = total === 0;
    find("-more").hidden = backups.length >= total;
    find("-rows").replaceChildren(...backups.map((backup) => this.#row(backup)));
    this.#drawSizes(backups);
    refreshTimes(this.section);
    await this.onDrawn();
    return backups;
  }

  /** The backup that a job made, if it is among those shown. */
  madeBy(job) {
    return this.backups.find((backup) => backup.job_id === job) ?? null;
  }

  #row(backup) {
    const isGood = backup.status === "SUCCESS";
    const when = backup.created_at;
    const state = element(
      "td",
      { dataset: { label: "State" } },
      element("span", { className: "badges" }, ...this.#badges(backup, isGood)),
    );
    return element(
      "tr",
      { dataset: { backup: backup.id } },
      element("th", { scope: "row" }, timeElement(when)),
      state,
      element("td", { className: "number", dataset: { label: "Size" } }, isGood ? bytes(backup.size_bytes) : "–"),
      element("td", { className: "checksum", title: backup.sha256 }, backup.sha256 ? `${backup.sha256.slice(0, 16)}…` : "–"),
      element("td", { className: "place" }, backup.storage_provider),
      element("td", { className: "row-buttons" }, ...this.#buttons(backup, isGood)),
    );
  }

  /** How good a backup is, and what keeps it or takes it away. */
  #badges(backup, isGood) {
    const badge = (kind, word, title = "") => element("span", { className: `badge badge-${kind}`, title }, word);
    const found = [];
    if (!isGood) found.push(badge("failed", "failed"));
    else if (!backup.is_suspect && !backup.check_problem) found.push(badge("completed", "good"));
    if (backup.verified_at) found.push(badge("completed", "proven", `Restored for trial ${moment(backup.verified_at)}: all was as recorded.`));
    if (backup.is_suspect) found.push(badge("warning", "suspect", SUSPECT));
    if (backup.pinned_at) found.push(badge("idle", "pinned", backup.pin_note || `Pinned by ${backup.pinned_by ?? "Holdfast"}`));
    if (backup.check_problem) found.push(badge("failed", "not as recorded", backup.check_problem));
    if (backup.removing_since) found.push(badge("warning", "being removed", "It goes as soon as its storage has confirmed that the bundle is gone."));
    return found;
  }

  async #pin(backup) {
    const isPinned = Boolean(backup.pinned_at);
    await call(isPinned ? "DELETE" : "POST", `${addressOf(this.settings, backup.id)}/pin`, isPinned ? undefined : {});
    const when = moment(backup.created_at);
    notice("done", `The backup of ${when} is ${isPinned ? "no longer pinned" : "pinned: it stays until you unpin it"}.`, { kind: "good" });
    await this.load();
    focusHeading(this.section);
  }

  async #trust(backup) {
    const answer = await ask({
      title: `Is the backup of ${moment(backup.created_at)} right?`,
      text: "It holds much less than the one before it. Once it counts as good, older ones may go for it.",
      yes: "It is right",
    });
    if (!answer) return;
    await call("POST", `${addressOf(this.settings, backup.id)}/trust`, {});
    notice("done", "It counts as a good backup; later ones are held against it.", { kind: "good" });
    await this.load();
    focusHeading(this.section);
  }

  /** Mark what retention removes next: a map from a backup's id to the reason. */
  markGoing(going) {
    for (const row of this.section.querySelectorAll("[data-backup]")) {
      row.querySelector("[data-goes]")?.remove();
      const reason = going.get(Number(row.dataset.backup));
      if (!reason) continue;
      const badge = element("span", { className: "badge badge-warning", title: reason, dataset: { goes: "" } }, "goes next");
      row.querySelector(".badges").append(badge);
    }
  }

  #buttons(backup, isGood) {
    const about = unseen(` of ${moment(backup.created_at)}`);
    const button = (text, work) => {
      const made = element("button", { type: "button" }, text, about.cloneNode(true));
      made.addEventListener("click", () => busy(made, work));
      return made;
    };
    const buttons = [];
    if (isGood) {
      for (const [name, work] of Object.entries(this.work)) buttons.push(button(name, () => work(backup)), " ");
      buttons.push(button("Download", () => download(this.settings, backup.id)), " ");
    }
    if (isGood && !backup.removing_since) buttons.push(button(backup.pinned_at ? "Unpin" : "Pin", () => this.#pin(backup)), " ");
    if (backup.is_suspect && this.settings.mayManage) buttons.push(button("Trust", () => this.#trust(backup)), " ");
    if (backup.job_id) buttons.push(button("Log", async () => this.showLog(backup.job_id)), " ");
    if (this.settings.mayManage) buttons.push(button("Delete", () => this.#remove(backup, isGood)));
    return buttons;
  }

  async #remove(backup, isGood) {
    const answer = await ask({
      title: `Delete the backup of ${moment(backup.created_at)}?`,
      text: isGood
        ? `${backup.filename} (${bytes(backup.size_bytes)}) cannot be restored from here any more.`
        : "It failed, so there is no bundle; only its entry goes.",
      yes: "Delete it",
      choice: isGood ? `Remove the bundle from ${backup.storage_provider} as well` : null,
    });
    if (!answer) return;
    const url = `${addressOf(this.settings, backup.id)}?delete_remote=${answer.choice}`;
    let done = await call("DELETE", url);
    const began = performance.now();
    while (done.code === "pending") {
      if (performance.now() - began > PATIENCE_MS) {
        notice("done", null);
        throw new Refused(0, "pending", "The node does not answer. The bundle goes once the node is back.");
      }
      notice("done", "The node is removing the bundle …", { kind: "good" });
      await new Promise((resolve) => setTimeout(resolve, PENDING_MS));
      done = await call("GET", done.status_url);
    }
    notice("done", done.message, { kind: "good" });
    await this.load();
    focusHeading(this.section);
    await this.deleted();
  }

  #drawSizes(backups) {
    const sizes = backups.filter((backup) => backup.status === "SUCCESS").map((backup) => backup.size_bytes).reverse();
    const drawing = this.section.querySelector("[data-sparkline]");
    drawing.toggleAttribute("hidden", sizes.length < 2);
    if (sizes.length < 2) return;
    const highest = Math.max(...sizes, 1);
    const { width, height } = SPARKLINE;
    const points = sizes.map(
      (size, index) => `${(index * width) / (sizes.length - 1)},${height - 2 - (size / highest) * (height - 4)}`,
    );
    drawing.querySelector("polyline").setAttribute("points", points.join(" "));
    const newest = bytes(sizes[sizes.length - 1]);
    drawing.setAttribute("aria-label", `Sizes of the last ${sizes.length} good backups; the newest has ${newest}`);
  }
}
