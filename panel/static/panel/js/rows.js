/** Buttons and small forms in lists, which all do the same: post, say what came of it, go on. */

import { busy, call } from "./api.js";
import { notice } from "./dom.js";

/** Let `[data-post]` buttons and `[data-scale]` forms below `root` work; `after` runs when done. */
export function bindRows(root, after = () => {}) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-post]");
    if (button) post(button, button.dataset.post, {}, after);
  });
  root.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-scale]");
    if (!form) return;
    event.preventDefault();
    const field = form.elements.concurrency;
    const wanted = { concurrency: Number(field.value) };
    post(form.querySelector("button"), form.dataset.scale, wanted, async () => {
      field.defaultValue = wanted.concurrency;
      await after();
    });
  });
}

async function post(button, url, body, after) {
  await busy(button, async () => {
    const answer = await call("POST", url, body);
    notice("done", answer.message ?? `Done: ${button.dataset.about}`, { kind: "good" });
    await after();
  });
}
