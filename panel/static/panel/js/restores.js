/** Restores and proofs of a site: how they go, and taking a restore back. */

import { busy, call, hasSessionEnded, Refused } from "./api.js";
import { drawStages, whatRuns } from "./backup.js";
import { ask } from "./dialog.js";
import { element, focusHeading, notice, timeElement } from "./dom.js";
import { bytes, duration, moment, refreshTimes } from "./format.js";

const SHOWN = 3;
const MOST_WARNINGS = 20;
const ACTIVE_MS = 2000;
const IDLE_MS = 30000;
const NO_JOB = "00000000-0000-0000-0000-000000000000";
const TITLES = { restore: "Restore", verify: "Proof" };
const NAMES = 20;
const NAMED = 5;
const WHAT = { all: "files and database", files: "files", database: "database" };
const GROUPS = { created: "created", overwritten: "overwritten", deleted: "deleted", kept: "kept as they are", unchanged: "unchanged" };
const STOP_TEXT = {
  restore: "What is not yet in its place is removed: the site is then as it was before, or as was asked.",
  verify: "What was restored for trial is removed. The backup and the site stay as they are.",
};

/** Fills the section `#restores`. */
export class Restores {
  /** `changed()` is called when one has ended that was seen to run; `backupOf(test)` finds a backup
   * among the site's newest; `restore(wanted)` asks for another restore. */
  constructor(section, settings, { showLog, changed, backupOf, restore }) {
    this.section = section;
    this.settings = settings;
    this.showLog = showLog;
    this.changed = changed;
    this.backupOf = backupOf;
    this.restore = restore;
    this.jobs = [];
    this.active = new Set();
    this.others = new Map();
    this.drawn = "";
  }

  /** Ask again and again, often while something runs. */
  async start() {
    for (;;) {
      if (!document.hidden && !hasSessionEnded()) await this.load().catch(() => {});
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, this.active.size ? ACTIVE_MS : IDLE_MS);
      });
    }
  }

  /** Show the restore that was begun by this answer of the panel. */
  async begun(answer) {
    await this.#begun(answer, answer.warnings);
  }

  /** Begin a proof of a backup. */
  async prove(backup) {
    const answer = await call("POST", `${this.settings.backup.replace(/\/0$/, `/${backup.id}`)}/verify`, {});
    await this.#begun(answer);
  }

  /** Show what was begun: it was begun from far down the page. */
  async #begun(answer, warnings = []) {
    const words = [answer.message, ...warnings].join(". ");
    notice("done", words, { kind: warnings.length ? "fair" : "good" });
    await this.load();
    this.section.scrollIntoView({ block: "start" });
    focusHeading(this.section);
    this.wake?.();
  }

  async load() {
    const kinds = await Promise.all(Object.keys(TITLES).map((kind) => this.#newest(kind)));
    const jobs = kinds.flat().sort((one, other) => (one.queued_at < other.queued_at ? 1 : -1));
    const running = new Set(jobs.filter((job) => job.status === "running").map((job) => job.id));
    const ended = [...this.active].some((id) => !running.has(id));
    this.active = running;
    this.jobs = jobs;
    this.draw();
    if (await this.#learnSources()) this.draw();
    if (ended) await this.changed();
  }

  /** Show what is known, if it is other than what is shown. */
  draw() {
    const shown = this.jobs.slice(0, SHOWN);
    const known = shown.map((job) => [this.#source(job)?.id, this.#checkpoint(job)?.pinned_at]);
    const fresh = JSON.stringify([shown, known]);
    if (fresh === this.drawn) return;
    this.drawn = fresh;
    // Who is at a button stays at it while the bar beside it moves.
    const focused = document.activeElement?.dataset.key;
    const opened = [...this.section.querySelectorAll("details[open]")].map((one) => one.dataset.key);
    this.section.hidden = shown.length === 0;
    this.section.querySelector("[data-restores-list]").replaceChildren(...shown.map((job) => this.#item(job)));
    for (const one of this.section.querySelectorAll("details")) one.open = opened.includes(one.dataset.key);
    if (focused) this.section.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    refreshTimes(this.section);
  }

  #source(job) {
    const known = this.backupOf((backup) => backup.id === job.source_backup_id);
    return known ?? this.others.get(job.source_backup_id) ?? null;
  }

  /** Ask once for each backup that is another site's, or an old one. Returns whether any is new. */
  async #learnSources() {
    const ids = this.jobs.slice(0, SHOWN).filter((job) => !this.#source(job)).map((job) => job.source_backup_id);
    const unknown = [...new Set(ids)].filter((id) => id !== null && !this.others.has(id));
    await Promise.all(unknown.map((id) => this.#learn(id)));
    return unknown.length > 0;
  }

  async #learn(id) {
    try {
      this.others.set(id, await call("GET", this.settings.backup.replace(/\/0$/, `/${id}`)));
    } catch (error) {
      // Somebody may see a restore and not the site that the backup was of.
      if (!(error instanceof Refused)) throw error;
      this.others.set(id, null);
    }
  }

  #checkpoint(job) {
    return job.checkpoint_job_id && this.backupOf((backup) => backup.job_id === job.checkpoint_job_id);
  }

  async #newest(kind) {
    const query = new URLSearchParams({ site_id: this.settings.siteId, kind, limit: SHOWN });
    return (await call("GET", `${this.settings.jobs}?${query}`)).jobs;
  }

  #item(job) {
    const isRunning = job.status === "running";
    const title = titleOf(job, this.#source(job), this.settings.siteId);
    const head = element(
      "p",
      { className: "headline" },
      element("span", { className: `badge badge-${job.status}` }, job.stopping ? "stopping" : job.status),
      ` ${title}`,
      element("span", { className: "quiet" }, ` ${scopeOf(job)}`),
      job.finished_at ? element("span", { className: "quiet" }, " · ", timeElement(job.finished_at)) : null,
    );
    return element(
      "li",
      {},
      head,
      ...(isRunning ? progressOf(job, title) : []),
      job.error ? element("p", { className: "notice notice-bad" }, job.error) : null,
      job.plan ? planOf(job) : null,
      isRunning ? null : doneOf(job),
      this.#whatNext(job),
      element("p", { className: "buttons" }, ...this.#buttons(job, isRunning, title)),
    );
  }

  /** What somebody is to do who waits for the site to be as it was. */
  #whatNext(job) {
    const say = (sentence) => element("p", { className: "quiet" }, sentence);
    if (job.kind !== "restore" || job.status !== "completed") return null;
    if (job.parameters.dry_run) return say("Nothing was changed: this is what a restore would do.");
    if (job.parameters.target === "copy") return say("The site itself is as it was.");
    if (!job.checkpoint_job_id) return say("What was there before was not kept, so this cannot be undone.");
    const checkpoint = this.#checkpoint(job);
    if (checkpoint && !checkpoint.pinned_at) {
      return say("What was there before is among the backups, for as long as the rules keep it.");
    }
    return say("Look at the site now. If something is wrong, undo it: what was there before is kept until you say that it is fine.");
  }

  #buttons(job, isRunning, title) {
    const button = (text, work, className = "") => {
      const made = element("button", { type: "button", className, dataset: { key: `${job.id} ${text}` } }, text);
      made.addEventListener("click", () => busy(made, work));
      return made;
    };
    const order = async (method, url) => {
      const answer = await call(method, url.replace(NO_JOB, job.id), {});
      notice("done", answer.message, { kind: "good" });
      this.wake?.();
      return answer;
    };
    const buttons = [];
    const isUndoable = job.kind === "restore" && job.status === "completed" && job.checkpoint_job_id;
    if (isUndoable) {
      buttons.push(button("Undo", () => order("POST", this.settings.undo)));
      const checkpoint = this.#checkpoint(job);
      const confirm = async () => {
        await order("POST", this.settings.confirm);
        await this.changed();
      };
      if (!checkpoint || checkpoint.pinned_at) buttons.push(button("It is fine", confirm, "primary"));
    }
    const source = this.#source(job);
    if (job.status === "completed" && job.parameters.dry_run && source) {
      const [path = null] = job.parameters.paths;
      buttons.push(button("Restore …", () => this.restore({ backup: source, path, asked: job.parameters })));
    }
    if (["failed", "stopped"].includes(job.status)) {
      buttons.push(button("Try again", () => order("POST", this.settings.retry)));
    }
    const stop = async () => {
      if (await ask({ title: `Stop it? ${title}`, text: STOP_TEXT[job.kind], yes: "Stop it" })) {
        await order("DELETE", this.settings.job);
      }
    };
    if (isRunning && !job.stopping) buttons.push(button("Stop", stop));
    buttons.push(button("Log", async () => this.showLog(job.id)));
    return buttons;
  }
}

function titleOf(job, source, site) {
  const whose = source && source.site_id !== site ? ` of ${source.site_name}` : "";
  const of = source ? ` of the backup of ${moment(source.created_at)}${whose}` : "";
  if (job.parameters.dry_run) return `Dry run of a restore${of}`;
  return job.trigger === "undo" ? "Undo of a restore" : `${TITLES[job.kind]}${of}`;
}

/** What of the site, and where to. */
function scopeOf({ kind, parameters }) {
  if (kind !== "restore") return "";
  const parts = [...parameters.paths, ...parameters.tables];
  const more = parts.length > NAMED ? ` and ${parts.length - NAMED} more` : "";
  const what = parts.length ? `${parts.slice(0, NAMED).join(", ")}${more}` : WHAT[parameters.what];
  if (parameters.target !== "copy") return `${what}, in place`;
  const database = parameters.target_database ? ` and the database ${parameters.target_database}` : "";
  return `${what}, as a copy in ${parameters.target_path}${database}`;
}

function progressOf(job, title) {
  const bar = element("progress", { max: 100, value: job.progress });
  bar.setAttribute("aria-label", `Progress: ${title}`);
  const stages = element("ol", { className: "stages" });
  drawStages(stages, job.stages);
  const done = job.bytes_total ? `${bytes(job.bytes_processed)} of ${bytes(job.bytes_total)}` : null;
  const left = job.eta_seconds ? `about ${duration(job.eta_seconds)} left` : null;
  const figures = [done, left, job.stage_detail].filter(Boolean).join(" · ");
  return [
    element("p", {}, waitsFor(job) ?? whatRuns(job)),
    element("div", { className: "progress" }, bar, element("span", { className: "percent" }, `${job.progress} %`)),
    stages,
    element("p", { className: "figures" }, figures),
  ];
}

/** What an ended job did, stage by stage, and what is to be looked at or done by hand. */
function doneOf(job) {
  const details = job.stages.map((stage) => stage.detail).filter(Boolean);
  const warnings = job.warnings.slice(0, MOST_WARNINGS).map((sentence) => element("li", {}, sentence));
  if (job.warnings.length > MOST_WARNINGS) warnings.push(element("li", {}, "… The log has all of them."));
  return element(
    "div",
    {},
    details.length ? element("p", { className: "quiet" }, details.join(" · ")) : null,
    warnings.length ? element("ul", { className: "notice notice-fair" }, ...warnings) : null,
  );
}

function waitsFor(job) {
  const waits = job.state === "queued" && job.checkpoint_job_id;
  return waits ? "First what is there now is backed up, so that this can be undone." : null;
}

function planOf({ id, plan: { files, database } }) {
  const lists = Object.keys(GROUPS).filter((name) => files?.[name].count).map((name) => groupOf(id, name, files[name]));
  const needed = files ? element("li", {}, `${bytes(files.bytes_needed)} needed beside what is there`) : null;
  return element("ul", { className: "plan" }, ...lists, needed, database ? tablesOf(id, database) : null);
}

function tablesOf(job, { tables, dropped, dump_bytes: size }) {
  const rows = tables.reduce((sum, table) => sum + (table.rows ?? 0), 0);
  const names = [
    ...tables.map((table) => table.name),
    ...dropped.map((name) => `${name} (dropped)`),
  ];
  const summary = `${counted(tables.length, "table")} replaced (${counted(rows, "row")}, ${bytes(size)} of SQL), ${dropped.length} dropped`;
  return details(`${job} tables`, summary, names, names.length);
}

function counted(number, what) {
  return number === 1 ? `1 ${what}` : `${number} ${what}s`;
}

function groupOf(job, name, group) {
  const summary = `${counted(group.count, "file")} ${GROUPS[name]} (${bytes(group.bytes)})`;
  return details(`${job} ${name}`, summary, group.names, group.count);
}

function details(key, summary, names, count) {
  const shown = names.slice(0, NAMES);
  const more = count > shown.length ? [`and ${count - shown.length} more`] : [];
  return element(
    "li",
    {},
    element(
      "details",
      { dataset: { key: `${key} list` } },
      element("summary", { dataset: { key } }, summary),
      element("pre", {}, [...shown, ...more].join("\n")),
    ),
  );
}
