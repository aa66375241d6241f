// What Django's admin builds by script and leaves without a role that may have a name.
"use strict";
window.addEventListener("load", () => {
    // Its own listeners, which build the boxes, may come after this one.
    setTimeout(() => {
        for (const icon of document.querySelectorAll("span.search-label-icon[aria-label]")) {
            icon.setAttribute("role", "img");
        }
    });
});
