/** The page of one site: how its backup goes, live, and what may be done with it. */

import { busy, call, hasSessionEnded, part } from "./api.js";
import { BackupView, completedOutcome, endedOutcome } from "./backup.js";
import { ask } from "./dialog.js";
import { focusHeading, notice, pageSettings, say } from "./dom.js";
import { refreshTimes } from "./format.js";
import { download, History } from "./history.js";
import { Live } from "./live.js";
import { Contents } from "./contents.js";
import { LogView } from "./log.js";
import { Restores } from "./restores.js";
import { RestoreDialog } from "./restoring.js";
import { Retention } from "./retention.js";
import { bindSchedule } from "./schedule.js";

const ENDED = ["completed", "failed", "stopped"];
// How soon the history shows what others, or a schedule, did to it.
const HISTORY_MS = 30000;
const NO_JOB = "00000000-0000-0000-0000-000000000000";
const RESET_TEXT =
  "For a job that is stuck. It is given up at once, whatever it is doing and whether or not its " +
  "node answers, and the site can be backed up again. Its processes are killed, and its folders " +
  "and unfinished uploads removed, as soon as the node can do so. The backups that you have stay. " +
  "To end a job that works, stop it instead.";

const settings = pageSettings();
const section = document.getElementById("backup");
const connection = section.querySelector("[data-connection]");
const view = new BackupView(section);
const log = new LogView(document.querySelector("[data-log]"), settings.logs);
const restores = new Restores(document.getElementById("restores"), settings, {
  showLog: (job) => log.open(job, { isActive: restores.active.has(job) }),
  backupOf: (test) => history.backups.find(test) ?? null,
  restore: (wanted) => restore(wanted),
  async changed() {
    await history.load();
    restores.draw();
    await refreshHead();
  },
});
const restoring = new RestoreDialog(document.getElementById("restore"), settings);
const restore = async (wanted) => {
  const answer = await restoring.ask(wanted);
  if (answer !== null) await restores.begun(answer);
};
const contents = new Contents(document.getElementById("contents"), settings, { restore });
const history = new History(document.getElementById("history"), settings, {
  showLog: (job) => log.open(job, { isActive: job === current?.job_id && isActive(current) }),
  work: {
    Restore: (backup) => restore({ backup }),
    Browse: (backup) => contents.open(backup),
    Prove: (backup) => restores.prove(backup),
  },
  async drawn() {
    restores.draw();
    await retention.load();
  },
  async deleted() {
    outcomeOf = "";
    await show(current);
    await refreshHead();
  },
});
const retention = new Retention(document.getElementById("retention"), settings, {
  judged: (going) => history.markGoing(going),
});

let current = null;
let outcomeOf = "";

function isActive(status) {
  return status.status === "running";
}

async function show(status) {
  const known = current;
  current = status;
  view.show(status);
  view.button("reset").hidden = !settings.mayManage;
  showDownload();
  log.mark(status.job_id, isActive(status)).catch(() => {});
  if (known && isActive(status) && known.job_id !== status.job_id && !log.section.hidden) {
    await log.open(status.job_id, { isActive: true, scroll: false });
  }
  await showOutcome(status);
}

/** What came of the newest job, asked for once when it has ended. */
async function showOutcome(status) {
  const key = `${status.job_id} ${status.status}`;
  if (key === outcomeOf) return;
  const isNews = outcomeOf !== "";
  outcomeOf = key;
  try {
    if (isNews) await refreshHead();
    if (!ENDED.includes(status.status)) {
      view.showOutcome([]);
      return;
    }
    if (isNews) ["done", "refused"].forEach((key) => notice(key, null));
    const pairs = await outcomeOfEnded(status);
    // Meanwhile somebody may have begun another job.
    if (outcomeOf === key) view.showOutcome(pairs);
    showDownload();
  } catch {
    // Nothing came of it, so it is asked again with the next status.
    if (outcomeOf === key) outcomeOf = "";
  }
}

async function outcomeOfEnded(status) {
  await history.load();
  if (status.status === "completed") {
    return completedOutcome(status, history.madeBy(status.job_id));
  }
  return endedOutcome(status, await call("GET", settings.job.replace(NO_JOB, status.job_id)));
}

function showDownload() {
  const backup = current.status === "completed" ? history.madeBy(current.job_id) : null;
  view.button("download").hidden = backup === null;
}

/** Bring up to date what the server writes: how safe the site is, what it stores, its schedule. */
async function refreshHead({ isAsked = false } = {}) {
  const page = new DOMParser().parseFromString(await part(window.location.pathname), "text/html");
  for (const selector of [".site-head", "#schedule"]) {
    const [old, fresh] = [document, page].map((one) => one.querySelector(selector));
    // Nothing is taken out of the hands of somebody who goes by keyboard, unless they asked for it.
    const isInHands = old.contains(document.activeElement);
    if (!fresh || (isInHands && !isAsked)) continue;
    refreshTimes(fresh);
    old.replaceChildren(...document.importNode(fresh, true).childNodes);
    if (isInHands) focusHeading(old);
  }
}

const live = new Live({
  stream: settings.stream,
  poll: settings.status,
  show,
  tell(kind, sentence) {
    connection.dataset.kind = kind;
    say(connection, sentence);
  },
  isLast: (status) => ENDED.includes(status.status),
});

async function order(method, url) {
  try {
    const answer = await call(method, url, {});
    notice("done", answer.message, { kind: "good" });
    return answer;
  } finally {
    // If it was refused, the page may have been behind.
    await live.refresh();
  }
}

const ACTIONS = {
  start: () => order("POST", settings.start),
  retry: () => order("POST", settings.retry.replace(NO_JOB, current.job_id)),
  async stop() {
    const title = `Stop the backup of ${settings.site}?`;
    const text = "What it has done so far is removed. The backups that you have stay.";
    if (await ask({ title, text, yes: "Stop it" })) await order("POST", settings.stop);
  },
  async reset() {
    if (!(await ask({ title: `Reset ${settings.site}?`, text: RESET_TEXT, yes: "Reset it" }))) return;
    const { message, revoked, cleanup } = await order("POST", settings.reset);
    const done = cleanup.done
      ? `${revoked.length} tasks revoked, ${cleanup.dirs_removed} folders removed, ${cleanup.space_freed_mb} MB freed.`
      : (cleanup.note ?? "The node removes what is left when it is back.");
    notice("done", `${message}. ${done}`, { kind: "good" });
  },
  async download() {
    await download(settings, history.madeBy(current.job_id).id);
  },
  log: () => log.open(current.job_id, { isActive: isActive(current) }),
};

section.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) busy(button, ACTIONS[button.dataset.action]);
});

document.querySelector("[data-restore-other]")?.addEventListener("click", ({ currentTarget }) => {
  busy(currentTarget, () => restore({}));
});

bindSchedule(document.getElementById("schedule"), settings, () => refreshHead({ isAsked: true }));
live.start();
restores.start();
history
  .load()
  .catch((error) => notice("history", `The history could not be read: ${error.message}`));

async function openAddressedLog() {
  if (window.location.hash !== "#log") return;
  const status = await call("GET", settings.status).catch(() => null);
  if (status) await log.open(status.job_id, { isActive: isActive(status) });
}

openAddressedLog();
window.addEventListener("hashchange", openAddressedLog);
refreshTimes();
setInterval(refreshTimes, 5000);
setInterval(() => {
  if (!document.hidden && !hasSessionEnded()) history.load().then(showDownload).catch(() => {});
}, HISTORY_MS);
