/** Restores and proofs of a site: beginning them, how they go, and taking a restore back. */

import { busy, call } from "./api.js";
import { element, notice, timeElement } from "./dom.js";
import { bytes, refreshTimes } from "./format.js";

const SHOWN = 3;
const ACTIVE_MS = 2000;
const IDLE_MS = 30000;
const NO_JOB = "00000000-0000-0000-0000-000000000000";
const TITLES = { restore: "Restore", verify: "Proof" };
const GROUPS = ["created", "overwritten", "deleted", "kept", "unchanged"];
const NAMES = 20;

/** Ask what of a backup to restore, and where to. Returns the request's body, or null. */
export function askForRestore(backup, path = null) {
  const dialog = document.getElementById("restore");
  const form = dialog.querySelector("form");
  form.reset();
  const when = new Date(backup.created_at).toLocaleString();
  dialog.querySelector("[data-restore-what]").textContent = path ?? `the backup of ${when}`;
  dialog.querySelector("[data-restore-text]").textContent = path
    ? `As it was in the backup of ${when}. Nothing else of the site is touched.`
    : "Caches, logs and other things that backups leave out stay as they are.";
  dialog.querySelector("[data-restore-parts]").hidden = path !== null;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(bodyOf(dialog, form, backup, path)), { once: true });
  });
}

function bodyOf(dialog, form, backup, path) {
  if (dialog.returnValue === "no") return null;
  const wanted = new FormData(form);
  return {
    backup_id: backup.id,
    what: path ? "files" : wanted.get("what"),
    paths: path ? [path] : [],
    target: wanted.get("target"),
    checkpoint: wanted.has("checkpoint"),
    dry_run: dialog.returnValue === "plan",
  };
}

/** Fills the section `#restores`. */
export class Restores {
  /** `changed()` is called when one has ended that was seen to run. */
  constructor(section, settings, { showLog, changed }) {
    this.section = section;
    this.settings = settings;
    this.showLog = showLog;
    this.changed = changed;
    this.active = new Set();
    this.drawn = "";
  }

  /** Ask again and again, often while something runs. */
  async start() {
    for (;;) {
      await this.load().catch(() => {});
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, this.active.size ? ACTIVE_MS : IDLE_MS);
      });
    }
  }

  /** Begin what `askForRestore` returned. */
  async begin(body) {
    if (body === null) return;
    const answer = await call("POST", this.settings.restore, body);
    const words = [answer.message, ...answer.warnings].join(". ");
    notice("done", words, { kind: answer.warnings.length ? "fair" : "good" });
    this.wake?.();
  }

  /** Begin a proof of a backup. */
  async prove(backup) {
    const answer = await call("POST", `${this.settings.backup.replace(/\/0$/, `/${backup.id}`)}/verify`, {});
    notice("done", answer.message, { kind: "good" });
    this.wake?.();
  }

  async load() {
    const kinds = await Promise.all(Object.keys(TITLES).map((kind) => this.#newest(kind)));
    const jobs = kinds.flat().sort((one, other) => (one.queued_at < other.queued_at ? 1 : -1));
    const running = new Set(jobs.filter((job) => job.status === "running").map((job) => job.id));
    const ended = [...this.active].some((id) => !running.has(id));
    this.active = running;
    const fresh = JSON.stringify(jobs);
    if (fresh !== this.drawn) {
      this.drawn = fresh;
      this.section.hidden = jobs.length === 0;
      const shown = jobs.slice(0, SHOWN).map((job) => this.#item(job));
      this.section.querySelector("[data-restores-list]").replaceChildren(...shown);
      refreshTimes(this.section);
    }
    if (ended) await this.changed();
  }

  async #newest(kind) {
    const query = new URLSearchParams({ site_id: this.settings.siteId, kind, limit: SHOWN });
    return (await call("GET", `${this.settings.jobs}?${query}`)).jobs;
  }

  #item(job) {
    const isRunning = job.status === "running";
    const isDry = job.parameters.dry_run === true;
    const title = isDry ? "Dry run of a restore" : TITLES[job.kind];
    const head = element(
      "p",
      { className: "headline" },
      element("span", { className: `badge badge-${job.status}` }, job.status),
      ` ${title}: `,
      element("span", {}, waitsFor(job) ?? job.message),
      job.finished_at ? element("span", { className: "quiet" }, " ", timeElement(job.finished_at)) : null,
    );
    const bar = element("progress", { max: 100, value: job.progress });
    bar.setAttribute("aria-label", `Progress of the ${title.toLowerCase()}`);
    return element(
      "li",
      {},
      head,
      isRunning ? element("div", { className: "progress" }, bar, element("span", { className: "percent" }, `${job.progress} %`)) : null,
      job.stage_detail && isRunning ? element("p", { className: "quiet" }, job.stage_detail) : null,
      job.error ? element("p", { className: "notice notice-bad" }, job.error) : null,
      ...job.warnings.map((words) => element("p", { className: "notice notice-fair" }, words)),
      job.plan ? planOf(job.plan) : null,
      element("p", { className: "buttons" }, ...this.#buttons(job, isRunning)),
    );
  }

  #buttons(job, isRunning) {
    const button = (text, work) => {
      const made = element("button", { type: "button" }, text);
      made.addEventListener("click", () => busy(made, work));
      return made;
    };
    const order = async (method, url) => {
      const answer = await call(method, url.replace(NO_JOB, job.id), {});
      notice("done", answer.message, { kind: "good" });
      this.wake?.();
    };
    const buttons = [button("Log", async () => this.showLog(job.id))];
    if (isRunning) buttons.push(" ", button("Stop", () => order("DELETE", this.settings.job)));
    const canUndo = job.kind === "restore" && job.status === "completed" && job.checkpoint_job_id;
    if (canUndo) {
      buttons.push(" ", button("Undo", () => order("POST", this.settings.undo)));
      buttons.push(" ", button("It is fine", () => order("POST", this.settings.confirm)));
    }
    const canRetry = ["failed", "stopped"].includes(job.status);
    if (canRetry) buttons.push(" ", button("Try again", () => order("POST", this.settings.retry)));
    return buttons;
  }
}

function waitsFor(job) {
  const waits = job.state === "queued" && job.checkpoint_job_id;
  return waits ? "waits for its checkpoint, the backup of what is there now" : null;
}

function planOf({ files, database }) {
  const lists = GROUPS.filter((name) => files?.[name].count).map((name) => groupOf(name, files[name]));
  const needed = files ? element("li", {}, `${bytes(files.bytes_needed)} needed beside what is there`) : null;
  return element("ul", { className: "plan" }, ...lists, needed, database ? tablesOf(database) : null);
}

function tablesOf({ tables, dropped, dump_bytes: size }) {
  const rows = tables.reduce((sum, table) => sum + (table.rows ?? 0), 0);
  const names = [
    ...tables.map((table) => table.name),
    ...dropped.map((name) => `${name} (dropped)`),
  ];
  const summary = `${counted(tables.length, "table")} replaced (${counted(rows, "row")}, ${bytes(size)} of SQL), ${dropped.length} dropped`;
  return details(summary, names, names.length);
}

function counted(number, what) {
  return number === 1 ? `1 ${what}` : `${number} ${what}s`;
}

function groupOf(name, group) {
  return details(`${counted(group.count, "file")} ${name} (${bytes(group.bytes)})`, group.names, group.count);
}

function details(summary, names, count) {
  const shown = names.slice(0, NAMES);
  const more = count > shown.length ? [`and ${count - shown.length} more`] : [];
  return element(
    "li",
    {},
    element("details", {}, element("summary", {}, summary), element("pre", {}, [...shown, ...more].join("\n"))),
  );
}
