/** How a backup is shown, for each of its states. */

import { element, focusHeading, say, timeElement } from "./dom.js";
import { bytes, duration, refreshTimes } from "./format.js";

const STAGES = {
  backup_db: "Database",
  backup_files: "Files",
  create_bundle: "Bundle",
  upload_remote: "Upload",
  cleanup: "Clean-up",
  fetch_bundle: "Fetch",
  verify_bundle: "Check",
  restore_files: "Files",
  restore_db: "Database",
  prove_restore: "Trial restore",
};
const BUTTONS = {
  idle: ["start"],
  running: ["stop", "log"],
  completed: ["start", "log"],
  failed: ["retry", "start", "log"],
  stopped: ["start", "log"],
};
const START_LABELS = { idle: "Start backup", failed: "Start from the beginning" };
// Whether these are shown depends on more than the state.
const KEPT = ["reset", "download"];
const RATE_MS = 12000;

/** What a running job does, with its stage as people call it. */
export function whatRuns({ stage, message }) {
  return stage in STAGES ? `${message.replace(/: \w+$/, "")}: ${STAGES[stage]}` : message;
}

/** Show the stages of a job in a list, each with how it stands. */
export function drawStages(list, stages) {
  const marks = { completed: "✓", running: "…", failed: "✗", stopped: "–", pending: "" };
  stages.forEach((stage, index) => {
    const item = list.children[index] ?? list.appendChild(element("li"));
    item.dataset.status = stage.status;
    const words = stage.status === "pending" ? "" : ` ${marks[stage.status]}`;
    say(item, `${STAGES[stage.name] ?? stage.name}${words}`);
    item.title = stage.detail ?? stage.status;
    item.setAttribute("aria-label", `${STAGES[stage.name] ?? stage.name}: ${stage.status}`);
  });
}

/** Draws status objects into the section `#backup`. */
export class BackupView {
  constructor(section) {
    this.section = section;
    this.samples = [];
  }

  /** Show a status object. */
  show(status) {
    const { section } = this;
    section.dataset.state = status.status;
    const badge = this.#find("badge");
    badge.className = `badge badge-${status.status}`;
    say(badge, status.stopping ? "stopping" : status.status);
    this.#sayHeadline(status);
    const isRunning = status.status === "running";
    this.#find("progress").hidden = !isRunning;
    this.#find("bar").value = status.progress;
    say(this.#find("percent"), `${status.progress} %`);
    this.#drawStages(status);
    const figures = this.#find("figures");
    figures.hidden = !isRunning;
    if (isRunning) say(figures, this.#figuresOf(status));
    else this.samples = [];
    this.#showButtons(status);
  }

  /** Show what came of it: pairs of a term and what it is, or nothing. */
  showOutcome(pairs) {
    const outcome = this.#find("outcome");
    outcome.hidden = !pairs.length;
    const list = element("dl");
    for (const [term, value, className] of pairs) {
      list.append(element("dt", {}, term), element("dd", { className: className ?? "" }, value));
    }
    outcome.replaceChildren(list);
    refreshTimes(outcome);
  }

  /** The button of an action. */
  button(action) {
    return this.section.querySelector(`[data-action="${action}"]`);
  }

  #find(name) {
    return this.section.querySelector(`[data-${name}]`);
  }

  #sayHeadline(status) {
    const sentences = {
      idle: "No backup is running.",
      completed: `${status.message}.`,
      failed: "The backup failed.",
      stopped: "The backup was stopped; what it had done was removed.",
    };
    const stopping = "Stopping: what was written is being removed.";
    say(this.#find("headline"), sentences[status.status] ?? (status.stopping ? stopping : whatRuns(status)));
  }

  #drawStages(status) {
    const list = this.#find("stages");
    list.hidden = !status.stages.length || status.status === "idle";
    drawStages(list, status.stages);
  }

  #figuresOf(status) {
    const parts = [];
    const { bytes_processed: done, bytes_total: total } = status;
    if (total) parts.push(`${bytes(done)} of ${bytes(total)}`);
    else if (done) parts.push(bytes(done));
    const rate = this.#rate(status);
    if (rate) parts.push(`${bytes(Math.round(rate))}/s`);
    if (status.eta_seconds) parts.push(`about ${duration(status.eta_seconds)} left`);
    if (status.stage_detail) parts.push(status.stage_detail);
    return parts.join(" · ");
  }

  /** Bytes a second over the last moments of this stage; 0 while unknown. */
  #rate({ stage, job_id: job, bytes_processed: done }) {
    const now = performance.now();
    const fits = (sample) => sample.stage === stage && sample.job === job && now - sample.at < RATE_MS;
    this.samples = this.samples.filter(fits);
    this.samples.push({ stage, job, done, at: now });
    const first = this.samples[0];
    return now > first.at ? Math.max(0, ((done - first.done) * 1000) / (now - first.at)) : 0;
  }

  #showButtons(status) {
    const shown = new Set(BUTTONS[status.status]);
    const focused = document.activeElement;
    if (status.stopping) shown.delete("stop");
    for (const button of this.section.querySelectorAll("[data-action]")) {
      if (!KEPT.includes(button.dataset.action)) button.hidden = !shown.has(button.dataset.action);
    }
    if (focused?.hidden && this.section.contains(focused)) focusHeading(this.section);
    say(this.button("start"), START_LABELS[status.status] ?? "Start new backup");
    this.button("start").classList.toggle("primary", !shown.has("retry"));
  }
}

/** What to tell of a completed backup. */
export function completedOutcome(status, backup) {
  const took = (new Date(status.finished_at) - new Date(status.started_at)) / 1000;
  const pairs = [
    ["Finished", timeElement(status.finished_at)],
    ["Took", duration(took)],
  ];
  if (backup) {
    pairs.push(
      ["Size", bytes(backup.size_bytes)],
      ["SHA-256", backup.sha256, "checksum"],
      ["Stored at", `${backup.storage_provider}: ${backup.s3_path}`],
    );
  } else {
    pairs.push(["Bundle", "This backup was deleted since."]);
  }
  return pairs;
}

/** What to tell of a failed or stopped one. */
export function endedOutcome(status, job) {
  const pairs = [];
  if (job?.error_message) pairs.push(["What failed", job.error_message, "reason"]);
  else if (status.error) pairs.push(["What failed", status.error, "reason"]);
  if (job?.error_hint) pairs.push(["What to do", job.error_hint]);
  if (status.finished_at) pairs.push(["When", timeElement(status.finished_at)]);
  return pairs;
}
