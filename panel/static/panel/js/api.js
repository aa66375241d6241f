/** Requests to the panel's own JSON routes, with the session of whoever looks at the page. */

import { notice, pageSettings } from "./dom.js";
import { setClock } from "./format.js";

const PENDING_MS = 1000;
const PATIENCE_MS = 120000;

/**
 * What the panel refused or could not do, in its own words. `status` 0: it was not reached.
 * `fields` has sentences by the name of the field that they are about.
 */
export class Refused extends Error {
  constructor(status, code, detail, fields = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

/** Make a request and return the parsed body; raises `Refused`. */
export async function call(method, url, body = undefined) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") {
    headers["X-CSRFToken"] = document.querySelector("[data-csrf] [name=csrfmiddlewaretoken]").value;
    headers["Content-Type"] = "application/json";
  }
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const answer = await reach(url, { method, headers, body: sent, cache: "no-store" });
  return answer.status === 204 ? null : answer.json();
}

/** Ask, and again at the address that a slow node's answer will be at. */
export async function patiently(url) {
  let answer = await call("GET", url);
  const began = performance.now();
  while (answer.code === "pending") {
    if (performance.now() - began > PATIENCE_MS) {
      throw new Refused(0, "pending", "The node does not answer. Try again once it is back.");
    }
    await new Promise((resolve) => setTimeout(resolve, PENDING_MS));
    answer = await call("GET", answer.status_url);
  }
  return answer;
}

/** Fetch a part of a page as text; raises `Refused`. */
export async function part(url) {
  const answer = await reach(url, { headers: { Accept: "text/html" }, cache: "no-store" });
  return answer.text();
}

async function reach(url, options) {
  let answer;
  try {
    answer = await fetch(url, { ...options, redirect: "error", credentials: "same-origin" });
  } catch {
    throw new Refused(0, "unreachable", "The panel does not answer. Is your connection up?");
  }
  const panelMs = Date.parse(answer.headers.get("Date"));
  if (panelMs) setClock(panelMs);
  if (answer.ok) return answer;
  const found = await answer.json().catch(() => ({}));
  const detail = found.detail ?? `The panel answered ${answer.status}.`;
  if (answer.status === 401) sessionEnded();
  throw new Refused(answer.status, found.code ?? "error", detail, found.errors);
}

/** Say that nobody is signed in any more, and lead back to this page. */
export function sessionEnded() {
  const next = encodeURIComponent(window.location.pathname + window.location.search);
  const href = `${pageSettings().signIn}?next=${next}`;
  const sentence = "Your session has ended, so this page shows nothing new.";
  notice("session", sentence, { kind: "fair", link: { href, text: "Sign in again" } });
  document.body.dataset.session = "ended";
}

/** Whether the session is known to have ended. */
export function hasSessionEnded() {
  return document.body.dataset.session === "ended";
}

/**
 * Do what a button asks, once at a time, and show what is refused. Returns whether it was done.
 *
 * What was refused before is forgotten at the start: at the end, it may be the refusal of another
 * button, pressed meanwhile.
 */
export async function busy(button, work) {
  if (button.getAttribute("aria-disabled") === "true") return false;
  button.setAttribute("aria-disabled", "true");
  notice("refused", null);
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status !== 401) notice("refused", error.message);
    return false;
  } finally {
    button.removeAttribute("aria-disabled");
  }
}
