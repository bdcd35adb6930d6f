// Every page of the portal in every state that differs, the unhappy ones among them: each is looked at (browser.mjs says for what).

import assert from "node:assert/strict";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { assertCalm, launch, look, lookedAt, personIn } from "./browser.mjs";
import { GATED_MODEL, OPEN_MODEL, PASSWORD, addPerson, agree, apply, inDays, signIn } from "./people.mjs";
import { Portal, ROOT, linkIn } from "./portal.mjs";

// Names as long as they may be, with nowhere to break.
const LONG_MODEL = `laboratory-of-unabbreviated-names/${"opt-".repeat(23)}175b`;
const LONG_PERSON = ["Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh", `${"unabbreviated".repeat(4)}@${"institute-".repeat(4)}of.example`];
let portal, browser, admin, grace;

before(async () => {
  [portal, browser] = [await Portal.start(), await launch()];
});
after(async () => {
  await browser?.close();
  await portal?.stop();
});

// Goes to a page and looks at it.
async function visit(page, path, name, status = 200) {
  assert.equal((await page.goto(path)).status(), status, path);
  await look(page, name);
}

async function known(email, name) {
  await addPerson(portal, email, name, "researcher");
  const page = await personIn(browser, portal.base);
  await signIn(page, email);
  return page;
}

// Grace opens the newest application of `name`.
async function openCase(name) {
  await grace.goto(`/review?q=${encodeURIComponent(name)}`);
  await grace.getByRole("link", { name }).first().click();
  await grace.getByRole("heading", { level: 1, name }).waitFor();
}

test("a portal in which nothing has happened yet", async () => {
  admin = await personIn(browser, portal.base);
  await visit(admin, portal.adminLink, "admin-link");
  await admin.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await admin.getByRole("button", { name: "Sign out" }).waitFor();
  for (const [path, name] of [
    ["/account", "account-without-password"],
    ["/account/tokens", "tokens-empty"],
    ["/account/downloads", "downloads-empty"],
    ["/account/mail", "mail-choice"],
    ["/account/data", "account-data"],
    ["/account/erase", "account-erase"],
    ["/applications", "applications-empty"],
    ["/review", "review-empty"],
    ["/admin/people?q=nobody", "admin-people-nobody"],
    ["/admin/audit?subject=nothing", "admin-record-nothing"],
    ["/admin/grants", "admin-grants-empty"],
    ["/admin/mail", "admin-mail-empty"],
    ["/admin/mail?state=given_up&q=nobody", "admin-mail-none-found"],
    ["/admin/usage", "admin-usage-empty"],
    ["/admin/store", "admin-store-never-read"],
    ["/admin/statistics", "admin-statistics-empty"],
    ["/admin/usage/generations", "admin-generations-empty"],
  ]) {
    await visit(admin, path, name);
  }
  assertCalm(admin);
});

test("what a visitor sees", async () => {
  const visitor = await personIn(browser, portal.base);
  for (const [path, name] of [
    ["/", "start"],
    ["/models", "models"],
    ["/models?q=no-such-model", "models-none-found"],
    [`/${OPEN_MODEL}`, "model-open"],
    [`/${GATED_MODEL}`, "model-gated"],
    [`/${GATED_MODEL}/files`, "files"],
    [`/${GATED_MODEL}/licence`, "licence"],
    ["/turnaround", "turnaround-empty"],
    ["/playground", "playground-signed-out"],
    ["/sign-in", "sign-in"],
    ["/sign-up", "sign-up"],
    ["/forgot", "forgot"],
  ]) {
    await visit(visitor, path, name);
  }
  for (const [path, name, status] of [
    ["/no-such-page", "not-found", 404],
    ["/verify?key=worn-out", "link-worn-out", 409],
  ]) {
    await visit(visitor, path, name, status);
  }

  await visitor.goto("/sign-in");
  await visitor.getByLabel("E-mail address").fill("nobody@canal.example");
  await visitor.getByLabel("Password").fill("not the password");
  await visitor.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await visitor.getByRole("alert").waitFor();
  await look(visitor, "sign-in-failed");
  assertCalm(visitor, /404|409|422/);
});

test("the way in, by mail", async () => {
  const eve = await personIn(browser, portal.base);
  const [name, email] = LONG_PERSON;
  await eve.goto("/sign-up");
  await eve.getByLabel("Name").fill(name);
  await eve.getByLabel("E-mail address").fill("eve@localhost@nowhere");
  await eve.evaluate(() => (document.querySelector("main form").noValidate = true));
  await eve.getByRole("button", { name: "Sign up" }).click();
  await eve.locator("[aria-invalid=true]").first().waitFor();
  await look(eve, "sign-up-faults");
  await eve.getByLabel("E-mail address").fill(email);
  await eve.getByRole("button", { name: "Sign up" }).click();
  await eve.getByRole("heading", { name: "Check your mail" }).waitFor();
  await look(eve, "check-mail");
  await visit(eve, linkIn(await portal.mailTo(email, /confirm/i)), "choose-password");
  await eve.getByLabel("Password").fill(PASSWORD);
  await eve.getByRole("button", { name: "Save and sign in" }).click();
  await eve.getByRole("button", { name: "Sign out" }).waitFor();
  await visit(eve, "/account", "account-long-name");
  await eve.getByRole("button", { name: "Sign out" }).click();

  await eve.goto("/forgot");
  await eve.getByLabel("E-mail address").fill(email);
  await eve.getByRole("button", { name: "Send the link" }).click();
  await eve.getByRole("status").waitFor();
  await look(eve, "forgot-sent");
  await visit(eve, linkIn(await portal.mailTo(email, /new password/i)), "reset-password");
  assertCalm(eve, /422/);
});

test("an application that is declined, with the other reviewer too late", async () => {
  await addPerson(portal, "grace@lab.example", "Grace Hopper", "reviewer");
  grace = await personIn(browser, portal.base);
  await signIn(grace, "grace@lab.example");
  const ada = await known("ada@canal.example", "Ada Lovelace");
  await apply(ada, GATED_MODEL);
  const application = new URL(ada.url()).pathname;
  await visit(grace, "/review", "review-queue");
  await openCase("Ada Lovelace");
  await look(grace, "case");
  await grace.getByRole("button", { name: "Decline" }).click();
  await grace.locator("[aria-invalid=true]").first().waitFor();
  await look(grace, "case-faults");

  const late = await personIn(browser, portal.base, { storageState: await grace.context().storageState() });
  await late.goto(grace.url().replace(/\/decline$/, ""));
  await grace.getByLabel("Reason", { exact: true }).selectOption({ index: 1 });
  await grace.getByLabel("Message to the applicant").fill("Please say which corpus you compare with, and how you will tell verse by heart from verse by luck.");
  await grace.getByRole("button", { name: "Decline" }).click();
  await grace.getByRole("status").waitFor();
  await late.getByLabel("Access ends on").fill(inDays(60));
  await late.getByRole("button", { name: "Approve" }).click();
  await late.getByRole("button", { name: "Approve" }).waitFor({ state: "detached" });
  await look(late, "decided-by-another");
  assert.match(await late.getByRole("main").innerText(), /nothing was changed/);
  assertCalm(late, /409/);
  await late.context().close();

  await openCase("Ada Lovelace");
  await look(grace, "case-declined");
  await visit(ada, application, "application-declined");
  await visit(ada, `/${GATED_MODEL}`, "model-declined");
  await visit(ada, `/${GATED_MODEL}/apply`, "apply-again");
  await visit(ada, "/review", "not-hers", 404);
  assertCalm(ada, /404/);
});

test("an application that is sent back, changed, declined, and appealed", async () => {
  await addPerson(portal, "barbara@lab.example", "Barbara Liskov", "reviewer");
  const barbara = await personIn(browser, portal.base);
  await signIn(barbara, "barbara@lab.example");
  const bob = await known("bob@uni.edu", "Bob Wier");
  await apply(bob, GATED_MODEL);
  const application = new URL(bob.url()).pathname;
  await look(bob, "application-waiting");
  await visit(grace, "/review?view=mine", "review-mine-empty");
  await visit(grace, "/review?q=wier", "review-search");
  await openCase("Bob Wier");
  await grace.getByRole("button", { name: "Claim it" }).click();
  await grace.getByText("You claimed this").waitFor();
  await barbara.goto(new URL(grace.url()).pathname);
  await barbara.getByText("Grace Hopper is looking at this, too.").waitFor();
  await look(barbara, "case-of-another");
  await grace.locator("summary").filter({ hasText: "Ask for changes" }).click();
  await grace.getByRole("button", { name: "Send it back" }).click();
  await grace.locator("[aria-invalid=true]").first().waitFor();
  await look(grace, "case-changes-fault");
  await grace.getByLabel("What should be changed").fill("Six months are long for this.\nWhich corpus do you compare with?");
  for (const field of ["For how many months", "Research summary"]) await grace.getByRole("checkbox", { name: field }).check();
  await grace.getByRole("button", { name: "Send it back" }).click();
  await grace.getByRole("status").first().waitFor();
  await look(grace, "case-sent-back");

  await visit(bob, application, "application-sent-back");
  await bob.getByLabel("Write to the reviewers").fill("We compare with the Gutenberg corpus; is that enough?");
  await bob.getByRole("button", { name: "Send", exact: true }).click();
  await bob.getByText("is that enough?").waitFor();
  await visit(bob, `/${GATED_MODEL}/apply`, "apply-sent-back");
  await bob.getByLabel(/^For how many months/).fill("4");
  await bob.getByText("Draft saved on").waitFor();
  await agree(bob);
  await bob.getByRole("button", { name: "Send it again" }).click();
  await bob.getByRole("heading", { name: /Application for/ }).waitFor();

  await openCase("Bob Wier");
  await grace.getByLabel("Comment").fill("Looks sound now; the corpus is public.");
  await grace.getByRole("button", { name: "To reviewers only" }).click();
  await grace.getByText("Reviewers only", { exact: true }).waitFor();
  await grace.getByLabel("Reason", { exact: true }).selectOption({ index: 2 });
  await grace.getByRole("button", { name: "Preview the mail" }).last().click();
  await grace.getByText("Nothing has been decided yet.").waitFor();
  await look(grace, "case-changed-and-preview");
  await grace.getByRole("button", { name: "Decline", exact: true }).click();
  await grace.getByRole("button", { name: "Take it back" }).waitFor();
  await look(grace, "case-undo");
  await bob.goto(application);
  await bob.getByText("Appeal to another reviewer").click();
  await look(bob, "application-appeal");
  await bob.getByLabel("What was overlooked").fill("My profile page names the department.");
  await bob.getByRole("button", { name: "Appeal" }).click();
  await bob.getByText("You appealed").waitFor();
  await visit(grace, "/review?view=decided", "review-decided");
  await openCase("Bob Wier");
  await look(grace, "case-appeal-against-her");
  await barbara.goto("/review");
  await barbara.getByRole("checkbox", { name: "Bob Wier" }).check();
  await barbara.getByRole("button", { name: "Approve…" }).click();
  await look(barbara, "bulk-preview");
  await barbara.getByRole("button", { name: "Approve 1" }).click();
  await barbara.getByText("1 of 1 done").waitFor();
  await look(barbara, "bulk-done");
  assertCalm(grace, /422/);
  await barbara.context().close();
  await bob.context().close();
});

test("a draft, and an application that is withdrawn", async () => {
  const cora = await known("cora@canal.example", "Cora");
  await visit(cora, `/${GATED_MODEL}/resolve/main/config.json`, "access-refused", 403);
  await visit(cora, "/playground", "playground");
  await cora.goto(`/${GATED_MODEL}/apply`);
  await cora.getByRole("button", { name: "Save draft" }).click();
  await cora.goto("/applications");
  await cora.getByRole("link", { name: GATED_MODEL }).last().click();
  await look(cora, "application-draft");
  await apply(cora, GATED_MODEL);
  await cora.locator("summary").filter({ hasText: "Withdraw" }).click();
  await look(cora, "application-withdrawing");
  await cora.getByRole("button", { name: "Yes, withdraw it" }).click();
  await cora.getByText("Withdrawn").first().waitFor();
  await look(cora, "application-withdrawn");
  assertCalm(cora, /403/);
});

test("access that is revoked", async () => {
  const bob = await known("bob@canal.example", "Bob");
  await apply(bob, GATED_MODEL);
  const application = new URL(bob.url()).pathname;
  await openCase("Bob");
  await grace.getByLabel("Access ends on").fill(inDays(60));
  const uses = grace.getByRole("group", { name: "Access is for" }).getByRole("checkbox");
  assert.equal(await uses.count(), 3);
  for (const use of await uses.all()) await use.uncheck();
  await grace.getByRole("button", { name: "Approve" }).click();
  await grace.getByText("choose at least one use").waitFor();
  await look(grace, "case-no-scopes");
  await grace.getByRole("checkbox", { name: "Try it in the playground" }).check();
  await grace.getByRole("button", { name: "Approve" }).click();
  await grace.getByRole("status").waitFor();
  await visit(bob, application, "application-approved-in-part");
  await openCase("Bob");
  await look(grace, "case-approved");
  await grace.getByLabel("Reason for revoking").fill("The project has ended before its time, as its leader wrote to us.");
  await grace.getByRole("button", { name: "Revoke access" }).click();
  await grace.getByRole("status").waitFor();
  await openCase("Bob");
  await look(grace, "case-revoked");
  await visit(bob, application, "application-revoked");
  await visit(bob, `/${GATED_MODEL}`, "model-revoked");
  assertCalm(bob);
  assertCalm(grace, /409|422/);
});

test("access that has expired", async () => {
  const dora = await known("dora@canal.example", "Dora");
  await portal.sluice(["grant", "add", "dora@canal.example", GATED_MODEL, "--reason", "replication, agreed by mail"]);
  await visit(dora, "/applications", "applications-granted");
  await visit(dora, `/${GATED_MODEL}`, "model-granted");
  await portal.letDaysPass("dora@canal.example", 91);
  await visit(dora, "/applications", "applications-expired");
  await visit(dora, `/${GATED_MODEL}`, "model-expired");

  await dora.goto("/account/tokens");
  await dora.getByRole("textbox", { name: "Name" }).fill("laptop");
  for (const scope of ["download", "api"]) await dora.getByRole("checkbox", { name: new RegExp(`^${scope}`) }).uncheck();
  await dora.getByRole("button", { name: "Make token" }).click();
  await dora.locator(".error").first().waitFor();
  await look(dora, "tokens-faults");
  await dora.getByRole("checkbox", { name: /^download/ }).check();
  await dora.getByRole("button", { name: "Make token" }).click();
  await dora.getByLabel("The token").waitFor();
  await look(dora, "tokens-made");
  await visit(dora, "/account/sessions", "sessions");
  assertCalm(dora, /422/);
});

test("long names, and the admin's pages when something has happened", async () => {
  await portal.sluice(["publish", join(ROOT, "deploy/demo/opt-verse-6m"), LONG_MODEL, "--gate", "application"]);
  await visit(admin, `/${LONG_MODEL}`, "model-long-name");
  await visit(admin, `/${LONG_MODEL}/files`, "files-long-name");
  await visit(admin, `/${LONG_MODEL}/apply`, "apply-long-name");
  await portal.sluice(["grant", "add", LONG_PERSON[1], LONG_MODEL, "--reason", "replication, agreed by mail"]);
  await admin.goto("/playground");
  await admin.getByLabel("Model", { exact: true }).selectOption(OPEN_MODEL);
  await admin.getByLabel("Your text").fill("The keeper of the lock");
  await admin.getByLabel("Most tokens to add").fill("8");
  await admin.getByRole("button", { name: "Continue the text" }).click();
  await admin.getByRole("status").filter({ hasText: /\d+ tokens? added/ }).waitFor();
  await admin.request.get(`/${OPEN_MODEL}/resolve/main/config.json`);
  for (const [path, name] of [
    ["/models", "models-long-name"],
    ["/account/downloads", "downloads"],
    ["/admin", "admin"],
    ["/admin/people", "admin-people"],
    ["/admin/models", "admin-models"],
    ["/admin/grants", "admin-grants"],
    ["/admin/audit", "admin-record"],
    ["/admin/audit?kind=account.made", "admin-record-kind"],
    ["/admin/mail", "admin-mail"],
    ["/account/downloads?state=part&model=no-such", "downloads-none-match"],
    ["/admin/usage", "admin-usage"],
    ["/admin/usage?who=nobody&from=2026-01-01", "admin-usage-none-match"],
    ["/admin/usage/generations", "admin-generations"],
    ["/admin/statistics", "admin-statistics"],
    ["/admin/jobs", "admin-jobs"],
    ["/admin/statistics?by=week", "admin-statistics-weeks"],
    ["/admin/statistics/waits?by=week", "admin-statistics-figure"],
  ]) {
    await visit(admin, path, name);
  }
  await admin.goto("/admin/models");
  const gate = admin.getByRole("combobox", { name: `Gate of ${GATED_MODEL}`, exact: true });
  await gate.selectOption("Open to all");
  await admin.locator("tr", { has: gate }).getByRole("button", { name: "Change" }).click();
  await look(admin, "admin-opening");
  await admin.getByLabel("The name of the model, to confirm").fill("another");
  await admin.getByRole("button", { name: "Open it to all" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-opening-fault");
  await portal.sluice(["scrub", "--rate", "0"]);
  await visit(admin, "/admin/store", "admin-store");
  await admin.goto("/admin/mail");
  await admin.getByRole("link", { name: /password/i }).first().click();
  await look(admin, "admin-mail-read");
  await admin.goto("/admin/grants");
  await admin.getByRole("link", { name: /^Suspend or revoke/ }).first().click();
  await look(admin, "admin-grant");
  await admin.getByRole("button", { name: "Suspend access" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-grant-faults");
  await admin.getByLabel("Reason for suspending").fill("A token of theirs was seen in a public repository.");
  await admin.getByRole("button", { name: "Suspend access" }).click();
  await admin.getByRole("status").waitFor();
  await look(admin, "admin-grant-suspended");
  await admin.getByRole("heading", { level: 1 }).getByRole("link").first().click();
  await look(admin, "admin-person");
  await admin.getByLabel("From").selectOption(LONG_MODEL);
  await admin.getByRole("button", { name: "Block" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-person-faults");
  await admin.getByLabel("Reason").fill("Answered a reviewer's questions with insults, and was told to stop.");
  await admin.getByRole("button", { name: "Block" }).click();
  await admin.getByRole("status").waitFor();
  await look(admin, "admin-person-blocked");
  await admin.getByRole("link", { name: "Erase this person" }).click();
  await look(admin, "admin-person-erase");
  await admin.getByRole("button", { name: "Erase this person" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-person-erase-faults");
  assertCalm(admin, /422/);
});

test("a release is yanked, and comes back", async () => {
  await admin.goto("/admin/models");
  await admin.getByRole("link", { name: `Releases of ${LONG_MODEL}` }).click();
  await look(admin, "admin-model");
  await admin.getByRole("main").getByRole("table").getByRole("link").first().click();
  await admin.getByRole("button", { name: "Yank this release" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-release-faults");
  await admin.getByLabel("Reason").fill("One shard was corrupt as published; the digests of the others are right.");
  await admin.getByRole("button", { name: "Yank this release" }).click();
  await admin.getByRole("status").filter({ hasText: "Yanked" }).waitFor();
  await look(admin, "admin-model-yanked");
  await visit(admin, `/${LONG_MODEL}`, "model-yanked");
  await visit(admin, `/${LONG_MODEL}/files`, "files-yanked");
  await admin.goto("/admin/models");
  await admin.getByRole("link", { name: `Releases of ${LONG_MODEL}` }).click();
  await admin.getByRole("main").getByRole("table").getByRole("link").first().click();
  await look(admin, "admin-release-yanked");
  await admin.getByRole("button", { name: "Restore it" }).click();
  await admin.getByRole("status").filter({ hasText: "Restored" }).waitFor();
  assertCalm(admin, /422/);
});

test("a draft is looked at, published and discarded", async () => {
  const weights = join(portal.folder, "next");
  await cp(join(ROOT, "deploy/demo/opt-verse-6m"), weights, { recursive: true });
  await writeFile(join(weights, "README.md"), "# Next\n\nThe next release.");
  for (const model of [LONG_MODEL, "lab/not-yet"]) await portal.sluice(["publish", weights, model, "--draft"]);
  await visit(admin, "/admin/models", "admin-models-draft");
  await admin.getByRole("link", { name: `Releases of ${LONG_MODEL}` }).click();
  await look(admin, "admin-model-draft");
  await admin.getByRole("row", { name: /draft/ }).getByRole("link").click();
  await admin.getByText("in 9 files").click();
  await admin.getByLabel("Tag").fill("not a tag");
  await admin.getByRole("button", { name: "Publish this draft" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-draft-faults");
  await admin.getByLabel("Tag").fill("v2.0");
  await admin.getByRole("button", { name: "Publish this draft" }).click();
  await admin.getByRole("status").filter({ hasText: "Published" }).waitFor();
  await look(admin, "admin-model-published");
  await admin.goto("/admin/models");
  await admin.getByRole("link", { name: "Releases of lab/not-yet" }).click();
  await admin.getByRole("main").getByRole("table").getByRole("link").first().click();
  await look(admin, "admin-draft");
  await admin.getByRole("button", { name: "Discard this draft" }).click();
  await admin.getByRole("status").filter({ hasText: "Discarded" }).waitFor();
  await look(admin, "admin-model-empty");
  assertCalm(admin, /422/);
});

test("a grant near its end: asked about, renewed, its licence changed, and given back", async () => {
  const nina = await known("nina@canal.example", "Nina");
  await portal.sluice(["grant", "add", "nina@canal.example", GATED_MODEL, "--days", "40", "--reason", "replication, agreed by mail"]);
  await nina.goto("/applications");
  await nina.getByRole("link", { name: /^See your access/ }).first().click();
  await look(nina, "grant");
  const grant = new URL(nina.url()).pathname;
  await nina.getByLabel("What you used it for").fill("Too little.");
  await nina.getByRole("button", { name: "Ask for a renewal" }).click();
  await nina.locator("[aria-invalid=true]").first().waitFor();
  await look(nina, "grant-faults");
  await nina.getByLabel("What you used it for").fill("We counted how many lines of verse each model repeats, and found that the small ones repeat few. A second round follows.");
  await nina.getByLabel("Publications").fill("Verse by heart, https://doi.org/10.1000/182\nA note on counting lines");
  await nina.getByRole("button", { name: "Ask for a renewal" }).click();
  await nina.getByRole("status").waitFor();
  await look(nina, "grant-renewal-waits");

  await visit(grace, "/review/grants", "stopped-empty");
  await visit(grace, "/review/renewals", "renewals");
  await grace.getByRole("link", { name: "Nina" }).click();
  await look(grace, "renewal");
  await grace.getByRole("button", { name: "Decline the renewal" }).click();
  await grace.locator("[aria-invalid=true]").first().waitFor();
  await look(grace, "renewal-faults");
  await grace.getByRole("button", { name: "Renew access" }).click();
  await grace.getByRole("status").waitFor();
  await look(grace, "renewal-approved");
  await visit(grace, "/review/renewals", "renewals-empty");
  await visit(nina, grant, "grant-renewed");

  await admin.goto("/admin/models");
  await admin.getByRole("link", { name: `Releases of ${GATED_MODEL}`, exact: true }).click();
  await admin.getByLabel("Tokens to try it with").fill("many");
  await admin.getByRole("button", { name: "Save the rules" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-rules-faults");
  await admin.getByLabel("Tokens to try it with").fill("200");
  await admin.getByRole("checkbox", { name: /Revoking takes two people/ }).check();
  await admin.getByRole("button", { name: "Save the rules" }).click();
  await admin.getByRole("status").waitFor();
  await admin.getByLabel("Days to agree").fill("0");
  await admin.getByRole("button", { name: "Ask holders to agree" }).click();
  await admin.getByRole("status").waitFor();
  await look(admin, "admin-rules");
  await visit(nina, `/${GATED_MODEL}`, "model-consent-needed");
  await visit(nina, grant, "grant-consent-needed");
  await nina.getByRole("link", { name: "Read and agree" }).click();
  await look(nina, "consent");
  await nina.getByRole("checkbox").first().check();
  await nina.getByRole("button", { name: "Agree", exact: true }).click();
  await nina.locator("[aria-invalid=true]").first().waitFor();
  await look(nina, "consent-faults");
  for (const box of await nina.getByRole("checkbox").all()) await box.check();
  await nina.getByRole("button", { name: "Agree", exact: true }).click();
  await nina.getByRole("status").waitFor();
  await visit(nina, `${grant}/consent`, "consent-given");

  await admin.goto(grant.replace("/grants/", "/admin/grants/"));
  await look(admin, "admin-grant-two");
  await admin.getByLabel("Reason for revoking").fill("The weights were seen on a public server.");
  await admin.getByRole("button", { name: "Propose to revoke" }).click();
  await admin.getByRole("status").waitFor();
  await look(admin, "admin-grant-proposed");
  await visit(grace, grant.replace("/grants/", "/admin/grants/"), "grant-to-confirm");
  await grace.getByRole("button", { name: "Reject the proposal" }).click();
  await grace.getByRole("status").waitFor();

  const tom = await known("tom@canal.example", "Tom");
  await apply(tom, GATED_MODEL);
  await visit(tom, `/${GATED_MODEL}`, "model-trial");
  await visit(tom, "/playground", "playground-trial");

  await nina.goto(grant);
  await nina.getByRole("button", { name: "Close my access" }).click();
  await nina.locator("[aria-invalid=true]").waitFor();
  await look(nina, "grant-close-faults");
  await nina.getByRole("checkbox", { name: /I have deleted every copy/ }).check();
  await nina.getByRole("button", { name: "Close my access" }).click();
  await nina.getByRole("status").waitFor();
  await look(nina, "grant-closed");
  assertCalm(nina, /422/);
  assertCalm(admin, /422/);
  assertCalm(grace, /409|422/);
  assertCalm(tom);
});

test("the form of a model is edited, compared and published", async () => {
  await admin.goto("/admin/models");
  await admin.getByRole("link", { name: `Form of ${LONG_MODEL}` }).click();
  await look(admin, "admin-form");
  const form = new URL(admin.url()).pathname;
  await admin.getByRole("button", { name: "Edit a copy" }).click();
  await admin.getByRole("status").filter({ hasText: "This is your draft" }).waitFor();
  await look(admin, "admin-form-draft");
  await visit(admin, `${form}/compare`, "admin-form-no-change");
  await visit(admin, `${form}/new/questions?section=project`, "admin-form-new-question");
  await admin.getByRole("button", { name: "Save in the draft" }).click();
  await admin.locator("[aria-invalid=true]").first().waitFor();
  await look(admin, "admin-form-question-faults");
  await admin.getByLabel("Label").fill("How many people work in your group, those without a contract and visitors of more than a month included?");
  await admin.getByLabel("Kind of answer").selectOption("choice");
  await admin.getByLabel("For a list: its values").fill("Up to 5\nmany: More than that");
  await admin.getByLabel("Required").selectOption("when");
  await admin.getByLabel("Which answer", { exact: true }).selectOption("role");
  await admin.getByLabel("Is one of").fill("academic, postdoc");
  await look(admin, "admin-form-question-choice");
  await admin.getByRole("button", { name: "Save in the draft" }).click();
  await admin.getByRole("status").filter({ hasText: "Saved in the draft" }).waitFor();
  await admin.getByRole("button", { name: "Remove Department or group" }).click();
  await admin.getByRole("button", { name: "Up In plain words" }).click();
  // Steps on a draft that is not as it was seen.
  const late = () => admin.evaluate(() => document.querySelectorAll("[name=edition]").forEach((input) => (input.value = "0")));
  await late();
  await admin.getByRole("button", { name: "Down In plain words" }).click();
  await admin.getByRole("alert").filter({ hasText: "Not done" }).waitFor();
  await look(admin, "admin-form-refused");
  await admin.getByRole("link", { name: "Edit In plain words" }).click();
  await late();
  await admin.getByRole("button", { name: "Save in the draft" }).click();
  await admin.getByRole("alert").filter({ hasText: "Not saved" }).waitFor();
  await look(admin, "admin-form-question-late");
  await visit(admin, `${form}/questions/role`, "admin-form-question");
  await admin.getByLabel("For a list: its values").fill("wizard: Wizard");
  await admin.getByRole("button", { name: "Save in the draft" }).click();
  await admin.getByRole("heading", { name: "What has to be fixed before publishing" }).waitFor();
  await look(admin, "admin-form-in-the-way");
  await visit(admin, `${form}/compare`, "admin-form-compare-in-the-way");
  await visit(admin, `${form}/sections/you`, "admin-form-section");
  await visit(admin, `${form}/new/clauses`, "admin-form-new-clause");
  await visit(admin, `${form}/preview`, "admin-form-preview");
  await visit(admin, `${form}/json`, "admin-form-json");
  await admin.getByLabel("JSON").fill("{}");
  await admin.getByRole("button", { name: "Replace the draft" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-form-json-faults");
  await admin.goto(`${form}/questions/role`);
  await admin.getByLabel("For a list: its values").fill("academic: Academic staff\ngraduate_student: Graduate student\nundergraduate: Undergraduate student\npostdoc: Postdoctoral researcher");
  await admin.getByRole("button", { name: "Save in the draft" }).click();
  const iris = await known("iris@canal.example", "Iris");
  await apply(iris, LONG_MODEL);
  await grace.goto(new URL(iris.url()).pathname.replace("/applications/", "/review/"));
  await grace.getByLabel("Access ends on").fill(inDays(60));
  await grace.getByRole("button", { name: "Approve" }).click();
  await grace.getByRole("status").waitFor();
  await admin.goto(`${form}/clauses/site-adult`);
  await admin.getByLabel("Wording").fill("I am at least 18 years old, or of age where I live, whichever comes later.");
  await admin.getByRole("button", { name: "Save in the draft" }).click();
  await admin.getByRole("status").filter({ hasText: "Saved in the draft" }).waitFor();
  await visit(admin, `${form}/compare`, "admin-form-compare");
  await admin.getByRole("checkbox", { name: /The change of the clauses matters/ }).check();
  await admin.getByLabel("Days to agree").fill("soon");
  await admin.getByRole("button", { name: "Publish version 1" }).click();
  await admin.locator("[aria-invalid=true]").waitFor();
  await look(admin, "admin-form-compare-faults");
  await admin.getByLabel("Days to agree").fill("14");
  await late();
  await admin.getByRole("button", { name: "Publish version 1" }).click();
  await admin.getByRole("alert").filter({ hasText: "Not published" }).waitFor();
  await look(admin, "admin-form-compare-late");
  await admin.getByRole("button", { name: "Publish version 1" }).click();
  await admin.getByRole("status").filter({ hasText: "Published" }).waitFor();
  await look(admin, "admin-form-published");
  await visit(admin, `${form}/versions/0`, "admin-form-version");
  await visit(iris, "/applications", "applications-to-agree");
  await iris.getByRole("link", { name: "See your access" }).first().click();
  await look(iris, "grant-clauses-changed");
  await iris.getByRole("link", { name: "Read and agree" }).click();
  await look(iris, "consent-clauses");
  await iris.getByRole("checkbox").check();
  await iris.getByRole("button", { name: "Agree", exact: true }).click();
  await iris.getByRole("status").waitFor();
  assertCalm(iris);
  assertCalm(admin, /409|422/);
});

test("the interface for programs, told", async () => {
  const reader = await personIn(browser, portal.base);
  await visit(reader, "/api/docs", "api");
  const tags = await reader.locator(".contents h3 a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  assert.ok(tags.length > 5, `${tags}`);
  for (const path of tags) await visit(reader, path, `api-${path.split("/").at(-1)}`);
  await visit(reader, "/api/docs/nothing", "api-nothing", 404);
  // Each operation has an address of its own.
  await reader.goto("/api/docs");
  await reader.getByRole("link", { name: "Make a token" }).click();
  await reader.waitForURL(/\/api\/docs\/account#make_token$/);
  const { y } = await reader.getByRole("heading", { name: "Make a token" }).boundingBox();
  assert.ok(y >= 0 && y < 200, `the operation stands at the top: ${y}`);
  assertCalm(reader, /404/);
});

// What `hf auth login` asks for, and the page it would have somebody open.
async function deviceCodes() {
  const form = new URLSearchParams({ client_id: "26be6b09-91c5-47da-9861-d2d2bb7a7e36", scope: "download api" });
  return (await fetch(`${portal.base}/oauth/device`, { method: "POST", body: form })).json();
}

test("a program is signed in from a browser", async () => {
  await addPerson(portal, "hedy@lab.example", "Hedy Lamarr", "researcher");
  const hedy = await personIn(browser, portal.base);
  const { verification_uri_complete: link, user_code: code } = await deviceCodes();
  await hedy.goto(link);
  await hedy.getByLabel("E-mail address").fill("hedy@lab.example");
  await hedy.getByLabel("Password").fill(PASSWORD);
  await hedy.getByRole("main").getByRole("button", { name: "Sign in" }).click();
  await hedy.getByText(code).waitFor();
  await look(hedy, "device-confirm");
  await hedy.getByRole("button", { name: "Deny" }).click();
  await hedy.getByRole("status").filter({ hasText: "Denied" }).waitFor();

  await visit(hedy, "/device", "device");
  await hedy.getByLabel("Code").fill("wdjb mjht");
  await hedy.getByRole("button", { name: "Go on" }).click();
  await hedy.locator("[aria-invalid=true]").waitFor();
  await look(hedy, "device-unknown");
  await hedy.getByLabel("Code").fill((await deviceCodes()).user_code.toLowerCase());
  await hedy.keyboard.press("Enter");
  await hedy.getByRole("button", { name: "Approve" }).click();
  await hedy.getByRole("status").filter({ hasText: "Approved" }).waitFor();
  await look(hedy, "device-approved");
  assertCalm(hedy, /422/);
});

// The paths that answer programs alone.
const FOR_PROGRAMS = [/\.(csv|jsonl|json|\{ending\})$/, /^\/(\.well-known|audit)\//, /\/proof\//, /^\/(v1|static)\//, /^\/api\/(?!docs)/, /^\/(healthz|readyz|robots\.txt|metrics|tokenize|detokenize|tokenizer_info)$/, /\/(resolve|raw)\//];
// What a reload leads elsewhere: back to the queue.
const LEADS_AWAY = ["/review/bulk", "/review/bulk/do"];

test("no page was left out", async () => {
  const table = await readFile(join(ROOT, "tests/journeys/who_may.rs"), "utf8");
  const patterns = [...new Set([...table.matchAll(/^ {4}\("GET", "([^"]+)"/gm)].map(([, pattern]) => pattern))];
  const pages = patterns.filter((pattern) => !LEADS_AWAY.includes(pattern) && !FOR_PROGRAMS.some((programs) => programs.test(pattern)));
  assert.ok(pages.length > 25, `${pages}`);
  // A path belongs to the pattern that says most of it: `/admin/people` is no model.
  const byWords = pages.toSorted((one, other) => other.replace(/\{[^}]*\}/g, "").length - one.replace(/\{[^}]*\}/g, "").length);
  const matches = (pattern) => new RegExp(`^${pattern.replace(/\{[^}]*\}/g, "[^/]+")}$`);
  const seen = new Set([...lookedAt].map((path) => byWords.find((pattern) => matches(pattern).test(path))));
  assert.deepEqual(pages.filter((pattern) => !seen.has(pattern)), [], "pages that nobody has looked at");
});
