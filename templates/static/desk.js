// The reviewer's desk by keyboard, and who else has a case on the screen. Every page works without this file.
"use strict";

const desk = document.querySelector("[data-desk]");
const rows = [...document.querySelectorAll("tr[data-case]")];
const keys = document.getElementById("keys");
let at = -1;
let gone = 0;

function move(by) {
    if (rows.length === 0) return;
    at = Math.min(Math.max(at + by, 0), rows.length - 1);
    rows[at].querySelector("th a").focus();
    rows[at].scrollIntoView({ block: "nearest" });
}

// The row that has the focus, however it got there.
function here() {
    const row = document.activeElement?.closest("tr[data-case]");
    if (row) at = rows.indexOf(row);
    return at >= 0 ? rows[at] : null;
}

// Claims the row, or opens it at what the key is for: only claiming is done at once, because it is undone as quickly.
function act(key) {
    const row = here();
    if (!row) return;
    const claim = key === "c" && row.querySelector("button[form=claim]");
    if (claim) claim.click();
    else location.href = `${row.dataset.case}#key-${key}`;
}

// Brings somebody to a control: a decision is never made by a key alone.
function reach(key) {
    const control = key === "m" ? document.getElementById("comment") : document.querySelector(`[data-key="${key}"]`);
    if (!control) return;
    const details = control.closest("details");
    if (details) details.open = true;
    control.scrollIntoView({ block: "center" });
    (control.tagName === "SUMMARY" ? details.querySelector("textarea") : control).focus();
}

const writes = (element) => element.matches("textarea, select, input:not([type=checkbox])") || element.isContentEditable;

document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || writes(event.target) || keys.open) return;
    const after_g = performance.now() - gone < 1500;
    gone = 0;
    switch (event.key) {
        case "j": here(); move(1); break;
        case "k": here(); move(-1); break;
        case "x": here()?.querySelector("input[type=checkbox]")?.click(); break;
        case "c": case "m": case "r": case "a": case "d": case "u": rows.length > 0 ? act(event.key) : reach(event.key); break;
        case "g": gone = performance.now(); return;
        case "q": if (after_g) location.href = "/review"; else return; break;
        case "?": keys.showModal(); break;
        default: return;
    }
    event.preventDefault();
});

// Says every half minute that the case is still looked at, and hears who else does and whether it changed.
async function look() {
    if (document.hidden) return;
    const body = new URLSearchParams({ csrf: desk.dataset.csrf });
    const answer = await fetch(desk.dataset.seen, { method: "POST", body, headers: { accept: "application/json" } }).catch(() => null);
    if (!answer?.ok) return;
    const { others, version, comments } = await answer.json();
    const looking = document.getElementById("looking");
    looking.hidden = others.length === 0;
    looking.textContent = others.length === 0 ? "" : `${others.join(", ")} ${others.length === 1 ? "is" : "are"} looking at this, too.`;
    document.getElementById("stale").hidden = `${version} ${comments}` === `${desk.dataset.version} ${desk.dataset.comments}`;
}

if (desk?.dataset.seen) setInterval(look, 30_000);

// One box for all of the page.
const head = document.querySelector("[data-select-all]");
const boxes = [...document.querySelectorAll("tr[data-case] input[type=checkbox]")];
if (head && boxes.length > 1) {
    const all = Object.assign(document.createElement("input"), { type: "checkbox", ariaLabel: head.dataset.selectAll });
    const shows = () => {
        const chosen = boxes.filter((box) => box.checked).length;
        all.checked = chosen === boxes.length;
        all.indeterminate = chosen > 0 && chosen < boxes.length;
    };
    all.addEventListener("change", () => boxes.forEach((box) => { box.checked = all.checked; }));
    boxes.forEach((box) => box.addEventListener("change", shows));
    head.replaceChildren(all);
    shows();
}

const asked = location.hash.match(/^#key-([cmradu])$/);
if (asked) reach(asked[1]);
