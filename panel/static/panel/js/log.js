/** The log of one job, which grows while it is looked at. */

import { call } from "./api.js";
import { element, say } from "./dom.js";
import { moment } from "./format.js";

const FOLLOW_MS = 2000;
const PAGE = 1000;

/** Shows `section` with the log of whichever job was asked for. */
export class LogView {
  constructor(section, url) {
    this.section = section;
    this.url = url;
    this.lines = section.querySelector("[data-log-lines]");
    this.follow = section.querySelector("[data-follow]");
    this.job = null;
    this.shown = 0;
    this.isActive = false;
    this.timer = null;
  }

  /** Show the log of a job; `isActive` says whether more will come. */
  async open(job, { isActive = false, scroll = true } = {}) {
    this.section.hidden = false;
    if (scroll) this.section.scrollIntoView({ block: "nearest" });
    if (job !== this.job) {
      this.job = job;
      this.shown = 0;
      this.lines.replaceChildren();
      say(this.section.querySelector("[data-log-job]"), job ? `of job ${job}` : "");
    }
    this.isActive = isActive;
    await this.#load();
  }

  /** Learn that the job is active, or has ended: then the last lines are fetched once more. */
  async mark(job, isActive) {
    if (this.section.hidden || job !== this.job || isActive === this.isActive) return;
    this.isActive = isActive;
    await this.#load();
  }

  async #load() {
    clearTimeout(this.timer);
    const { job } = this;
    if (!job) {
      this.section.querySelector("[data-log-empty]").hidden = false;
      return;
    }
    let total = 0;
    do {
      const query = new URLSearchParams({ job_id: job, skip: this.shown, limit: PAGE });
      const page = await call("GET", `${this.url}?${query}`).catch(() => null);
      if (job !== this.job) return;
      if (page === null) break;
      this.#add(page.logs);
      total = page.total;
      if (!page.logs.length) break;
    } while (this.shown < total);
    this.section.querySelector("[data-log-empty]").hidden = this.shown > 0;
    if (this.isActive && this.follow.checked) {
      this.timer = setTimeout(() => this.#load(), FOLLOW_MS);
    } else if (this.isActive) {
      this.follow.addEventListener("change", () => this.#load(), { once: true });
    }
  }

  #add(logs) {
    const rows = logs.map((line) =>
      element(
        "li",
        { dataset: { level: line.level } },
        element("time", { dateTime: line.created_at, title: line.created_at }, moment(line.created_at)),
        ` ${line.stage ? `${line.stage}: ` : ""}${line.message}`,
      ),
    );
    this.lines.append(...rows);
    this.shown += rows.length;
    if (rows.length && this.follow.checked) this.lines.scrollTop = this.lines.scrollHeight;
  }
}
