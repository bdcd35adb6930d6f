// Brings the text to begin with that belongs to the reason of a decline. Without this file it comes with the page that asks for words.
"use strict";

const reason = document.getElementById("reason");
const text = document.getElementById("text");
const brought = [...(reason?.options ?? [])].map((option) => option.dataset.words);

reason?.addEventListener("change", () => {
    // What somebody wrote is theirs.
    if (text.value.trim() !== "" && !brought.includes(text.value)) return;
    text.value = reason.selectedOptions[0]?.dataset.words ?? "";
});
