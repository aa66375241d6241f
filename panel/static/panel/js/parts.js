/** Fresh parts of a page in place of old ones, with nothing taken out of anybody's hands. */

// What tells an element of the old part from others, the surest first.
const MARKS = ["id", "data-post", "data-about", "href", "aria-labelledby"];

/** Put the new part in place of the old one, unless somebody is busy in it. */
export function replacePart(old, fresh) {
  const markup = fresh.outerHTML;
  if (!old || old.dataset.shown === markup || isInHands(old)) return;
  const made = document.importNode(fresh, true);
  made.dataset.shown = markup;
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const wraps = [...old.querySelectorAll(".table-wrap")].map((wrap) => wrap.scrollLeft);
  for (const input of old.querySelectorAll("input")) {
    const same = isTouched(input) && counterpart(made, input);
    if (same) same.value = input.value;
  }
  old.replaceWith(made);
  made.querySelectorAll(".table-wrap").forEach((wrap, index) => {
    wrap.scrollLeft = wraps[index] ?? 0;
  });
  if (focused) focusAgain(made, focused);
}

function isTouched(input) {
  return input.value !== input.defaultValue;
}

/** Whether somebody types there, presses a button, reads figures, or has marked text to copy it. */
function isInHands(part) {
  const active = document.activeElement;
  if (part.contains(active) && active.localName === "input" && isTouched(active)) return true;
  if (part.querySelector("details[open]")) return true;
  const selection = window.getSelection();
  return part.matches(":active") || (!selection.isCollapsed && selection.containsNode(part, true));
}

function counterpart(part, element) {
  for (const mark of MARKS) {
    const value = element.getAttribute(mark);
    const selector = `${element.localName}[${mark}="${CSS.escape(value ?? "")}"]`;
    const found = value && part.querySelector(selector);
    if (found) return found;
  }
  return null;
}

/** Let whoever goes by keyboard stay where they were; at the part's begin, if that is gone. */
function focusAgain(part, element) {
  let target = counterpart(part, element);
  if (!target) {
    target = part;
    part.tabIndex = -1;
  }
  target.focus({ preventScroll: true });
}
