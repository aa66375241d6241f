/** Live progress: by a stream of events, and by asking every few seconds where streams fail. */

import { call, hasSessionEnded } from "./api.js";
import { notice } from "./dom.js";

const INTERVAL_SECONDS = 2;
// Events come at least every interval; a proxy that holds them back is found out by this.
const SILENCE_MS = 7000;
const POLL_MS = 3000;
const RETRY_MS = 15000;
const OVER = {
  403: "You may not see this any more: the right to it was taken away.",
  404: "What is shown here was removed.",
};

/**
 * Watches one thing. `show(data)` is called with each new state, `tell(kind, sentence)` with how
 * it is learnt: kinds are `live`, `polling`, `idle` and `lost`.
 *
 * `isLast(data)` says whether the stream ends after it. Then, and while no stream can be had, the
 * state is asked for; from `polling`, a stream is tried again from time to time.
 */
export class Live {
  constructor({ stream, poll, show, tell, isLast = () => false }) {
    Object.assign(this, { stream, poll, show, tell, isLast });
    this.events = null;
    this.timers = {};
    this.isPolling = false;
    // Which start it is, and how many looks there were: what comes of an old one counts no more.
    this.round = 0;
    this.looks = 0;
    this.shownLook = 0;
    this.isOver = false;
    document.addEventListener("visibilitychange", () => this.#wake());
    window.addEventListener("pagehide", () => this.stop());
    window.addEventListener("pageshow", (event) => event.persisted && this.start());
  }

  /** Begin with a stream. */
  start() {
    this.stop();
    if (!this.isOver) this.#open();
  }

  #open() {
    this.#close();
    if (hasSessionEnded()) return;
    const separator = this.stream.includes("?") ? "&" : "?";
    const events = new EventSource(`${this.stream}${separator}interval=${INTERVAL_SECONDS}`);
    this.events = events;
    events.onmessage = (event) => this.#received(events, JSON.parse(event.data));
    events.addEventListener("end", (event) => this.#ended(events, JSON.parse(event.data)));
    events.onerror = () => this.#failed(events);
    this.#expectEvents();
  }

  /** Watch no more. */
  stop() {
    this.round += 1;
    this.events?.close();
    this.events = null;
    this.isPolling = false;
    Object.values(this.timers).forEach(clearTimeout);
    this.timers = {};
  }

  /** Learn at once how things stand, since something was just done. */
  async refresh() {
    await this.#ask();
    if (!this.events) this.start();
  }

  #received(events, data) {
    if (events !== this.events) return;
    this.isPolling = false;
    clearTimeout(this.timers.poll);
    clearTimeout(this.timers.retry);
    this.tell("live", "Live");
    this.looks += 1;
    this.#showOf(this.looks, data);
    if (this.isLast(data)) this.#rest();
    else this.#expectEvents();
  }

  /** The stream does not know whether the session has ended or only this right; a request does. */
  async #ended(events, { detail }) {
    if (events !== this.events) return;
    this.stop();
    this.tell("lost", detail);
    if (await this.#ask()) this.#fallBack();
  }

  #failed(events) {
    if (events !== this.events) return;
    // The browser tries again by itself unless it was refused; this page asks in the meantime.
    if (events.readyState === EventSource.CLOSED) this.#close();
    this.#fallBack();
  }

  #close() {
    this.events?.close();
    this.events = null;
  }

  #expectEvents() {
    clearTimeout(this.timers.silence);
    this.timers.silence = setTimeout(() => {
      this.#close();
      this.#fallBack();
    }, SILENCE_MS);
  }

  /** Ask, and go on asking while streams are tried, until an event comes. */
  #fallBack() {
    if (hasSessionEnded()) return;
    clearTimeout(this.timers.silence);
    clearTimeout(this.timers.retry);
    this.timers.retry = setTimeout(() => this.#open(), RETRY_MS);
    if (this.isPolling) return;
    this.isPolling = true;
    this.#poll();
  }

  async #poll() {
    await this.#ask();
    if (this.isPolling && !hasSessionEnded()) {
      this.timers.poll = setTimeout(() => this.#poll(), POLL_MS);
    }
  }

  /** Nothing goes on: look whether somebody else has begun something. */
  #rest() {
    this.#close();
    clearTimeout(this.timers.silence);
    this.tell("idle", "Up to date");
    const { round } = this;
    this.timers.rest = setTimeout(async () => {
      const data = await this.#ask();
      if (round !== this.round || this.isOver) return;
      if (data && this.isLast(data)) this.#rest();
      else this.start();
    }, POLL_MS);
  }

  /** Show what a look found, unless what a later one found is shown already. */
  #showOf(look, data) {
    if (look < this.shownLook) return;
    this.shownLook = look;
    this.show(data);
  }

  async #ask() {
    this.looks += 1;
    const look = this.looks;
    try {
      const data = await call("GET", this.poll);
      this.isOver = false;
      if (this.isPolling) {
        this.tell("polling", `No live stream; asking every ${POLL_MS / 1000} s instead`);
      }
      this.#showOf(look, data);
      return data;
    } catch (error) {
      this.#refused(error);
      return null;
    }
  }

  #refused({ status, message }) {
    if (status === 401) {
      this.stop();
      this.tell("lost", "Signed out");
    } else if (status in OVER) {
      this.isOver = true;
      this.stop();
      this.tell("lost", OVER[status]);
      notice("over", OVER[status], { kind: "fair" });
    } else {
      this.tell("polling", `${message} Trying again every ${POLL_MS / 1000} s.`);
    }
  }

  #wake() {
    if (document.visibilityState === "visible" && this.isPolling) this.#open();
  }
}
