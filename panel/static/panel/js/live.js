/** Live progress: by a stream of events, and by asking every few seconds where streams fail. */

import { call, hasSessionEnded, sessionEnded } from "./api.js";

const INTERVAL_SECONDS = 2;
// Events come at least every interval; a proxy that holds them back is found out by this.
const SILENCE_MS = 7000;
const POLL_MS = 3000;
const RETRY_MS = 15000;

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
    document.addEventListener("visibilitychange", () => this.#wake());
    window.addEventListener("pagehide", () => this.stop());
    window.addEventListener("pageshow", (event) => event.persisted && this.start());
  }

  /** Begin with a stream. */
  start() {
    this.stop();
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
    if (!this.events && !hasSessionEnded()) this.start();
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

  #ended(events, { code, detail }) {
    if (events !== this.events) return;
    this.stop();
    if (code === "not_authenticated") sessionEnded();
    this.tell("lost", detail);
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

  #fallBack() {
    if (this.isPolling || hasSessionEnded()) return;
    this.isPolling = true;
    clearTimeout(this.timers.silence);
    this.#poll();
    this.timers.retry = setTimeout(() => this.start(), RETRY_MS);
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
      if (round !== this.round || hasSessionEnded()) return;
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
      if (this.isPolling) {
        this.tell("polling", `No live stream; asking every ${POLL_MS / 1000} s instead`);
      }
      this.#showOf(look, data);
      return data;
    } catch (error) {
      if (error.status === 401) this.tell("lost", "Signed out");
      else this.tell("polling", `${error.message} Trying again every ${POLL_MS / 1000} s.`);
      if ([401, 403, 404].includes(error.status)) {
        this.stop();
        if (error.status !== 401) this.tell("lost", error.message);
      }
      return null;
    }
  }

  #wake() {
    if (document.visibilityState === "visible" && this.isPolling) this.start();
  }
}
