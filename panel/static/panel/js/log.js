/** The log of one job, which grows while it is looked at. */

import { call, hasSessionEnded } from "./api.js";
import { element, say } from "./dom.js";
import { moment } from "./format.js";

const FOLLOW_MS = 2000;
const PAGE = 1000;
// So near to its end, a log counts as being at it.
const END_PIXELS = 24;

/** Shows `section` with the log of whichever job was asked for. */
export class LogView {
  constructor(section, url) {
    this.section = section;
    this.url = url;
    this.lines = section.querySelector("[data-log-lines]");
    this.scroller = section.querySelector("[data-log-scroll]");
    this.follow = section.querySelector("[data-follow]");
    this.job = null;
    this.shown = 0;
    this.isActive = false;
    this.timer = null;
    this.loading = Promise.resolve();
    this.follow.addEventListener("change", () => this.#toEnd());
    this.scroller.addEventListener("scroll", () => {
      this.follow.checked = this.#isAtEnd();
    });
  }

  /** Show the log of a job; `isActive` says whether more will come. */
  async open(job, { isActive = false, scroll = true } = {}) {
    this.section.hidden = false;
    if (job !== this.job) {
      this.job = job;
      this.shown = 0;
      this.lines.replaceChildren();
      this.follow.checked = true;
      say(this.section.querySelector("[data-log-job]"), job ? `of job ${job}` : "");
    }
    this.isActive = isActive;
    await this.#load();
    if (scroll) this.section.scrollIntoView({ block: "nearest" });
  }

  /** Learn that the job is active, or has ended: then the last lines are fetched once more. */
  async mark(job, isActive) {
    if (this.section.hidden || job !== this.job || isActive === this.isActive) return;
    this.isActive = isActive;
    await this.#load();
  }

  /** Fetch what is new, after whatever is being fetched: no line is to be there twice. */
  #load() {
    clearTimeout(this.timer);
    this.loading = this.loading.then(() => this.#fetch(this.job));
    return this.loading;
  }

  async #fetch(job) {
    let problem = "";
    try {
      if (job) await this.#fetchPages(job);
    } catch (error) {
      problem = `The log could not be read: ${error.message}`;
    }
    if (job !== this.job) return;
    const empty = this.section.querySelector("[data-log-empty]");
    empty.hidden = !problem && this.shown > 0;
    say(empty, problem || "Nothing was logged yet.");
    clearTimeout(this.timer);
    if (this.isActive && !hasSessionEnded()) this.timer = setTimeout(() => this.#load(), FOLLOW_MS);
  }

  async #fetchPages(job) {
    let page;
    do {
      const query = new URLSearchParams({ job_id: job, skip: this.shown, limit: PAGE });
      page = await call("GET", `${this.url}?${query}`);
      if (job !== this.job) return;
      this.#add(page.logs);
    } while (page.logs.length && this.shown < page.total);
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
    if (rows.length) this.#toEnd();
  }

  #toEnd() {
    if (this.follow.checked) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < END_PIXELS;
  }
}
