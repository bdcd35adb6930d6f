//! What happens to an application between the two ends: claimed, sent back, talked about, appealed, undone, left alone.

use reqwest::Method;
use serde_json::json;
use server::access;
use server::mail;
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};
use time::Duration;

use crate::apply_and_review::case_of;
use crate::gated::{answers, applies_for, gated, relicense};

async fn sends_again(person: &Person, changes: &[(&str, &str)]) -> Page {
    let mut fields = answers(person, "/demo/tiny-opt").await;
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push(((*name).to_owned(), (*value).to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    person.post("/demo/tiny-opt/apply", &fields).await
}

pub fn version_of(page: &Page) -> String {
    let (_, rest) = page.text.split_once("data-version=\"").unwrap_or_else(|| panic!("no version: {}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

/// Lets the outbox send what is due.
async fn mails_leave(portal: &TestPortal) {
    while mail::send_next(&portal.portal.db, &portal.portal.mailer, &portal.portal.clock).await.unwrap() {}
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_reviewer_asks_for_changes_and_sees_what_changed(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    portal.wait(Duration::hours(1));
    let later = applies_for(&bob, "/demo/tiny-opt").await;
    ada.get(&application).await.says("You are first in the queue");
    bob.get(&later)
        .await
        .says("One application was sent before yours")
        .says("Too few decisions yet")
        .says("An ORCID")
        .says("promised by 9 March 2026");

    let page = grace.post(&format!("{case}/changes"), &[("text", "  "), ("field_months", "on")]).await;
    assert_eq!(page.status, 422);
    page.says("say what should be changed");
    let request = [("text", "Why so long?\nSix months are usual."), ("field_months", "on"), ("field_nonsense", "on")];
    assert_eq!(grace.post(&format!("{case}/changes"), &request).await.status, 303);
    let mail = &portal.mails_to(&ada.email, "changes_requested").await[0];
    assert!(mail.contains("> Why so long?\n> Six months are usual.") && mail.contains("1 April 2026"), "{mail}");
    ada.get(&application).await.says("Changes asked for").says("Why so long?").says("For how many months").says("Change it");
    grace.get("/review?view=applicant").await.says("ada");
    grace.get("/review").await.says("bob");
    let blocked = grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await;
    assert_eq!(blocked.status, 409);
    blocked.says("it is the applicant&#39;s turn");

    portal.wait(Duration::days(3));
    ada.get("/demo/tiny-opt/apply").await.says("The reviewer asks about this").says("Send it again");
    // What is written meanwhile is nobody's to read until it is sent.
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &[("title", "half a thought")]).await.status, 303);
    assert!(!grace.get(&case).await.text.contains("half a thought"));
    let refused = sends_again(&ada, &[("months", "99")]).await;
    assert_eq!(refused.status, 422);
    refused.says("1 answer needs another look").says("A reviewer asks for changes").says("Why so long?");
    assert_eq!(sends_again(&ada, &[("months", "4"), ("title", "Negation, again")]).await.status, 303);
    ada.get(&application).await.says("Sent again. You kept your place in the queue.");
    assert_eq!(portal.mails_to(&grace.email, "application_resubmitted").await.len(), 1);
    assert_eq!(portal.mails_to(&grace.email, "application_to_review").await.len(), 2, "nobody is called twice for one application");
    let page = grace.get(&case).await;
    page.says("What has changed since it was last sent").says("6 months").says("4 months").says("Negation, again");
    let queue = grace.get("/review").await;
    assert!(queue.text.find(">ada<") < queue.text.find(">bob<"), "the place in the queue is kept");
    queue.says("3 days").says("7 days left");
    grace.get("/review?view=mine").await.says("ada");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn clauses_stay_as_they_were_ticked_unless_the_licence_has_changed(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let model = gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    assert_eq!(grace.post(&format!("{case}/changes"), &[("text", "Why so long?")]).await.status, 303);
    let ticked = |page: &Page| -> Vec<bool> {
        let boxes = page.text.split("name=\"agree_").skip(1).map(|tick| tick.split('>').next().unwrap().contains("checked"));
        boxes.collect()
    };
    let page = ada.get("/demo/tiny-opt/apply").await;
    page.says("The clauses stay as you ticked them; by sending it again you confirm them.");
    assert!(ticked(&page).len() > 5 && ticked(&page).into_iter().all(|is_ticked| is_ticked), "{}", page.text);

    relicense(&portal, Some(model), "Another licence.", portal.portal.clock.now()).await;
    let page = ada.get("/demo/tiny-opt/apply").await;
    page.says("The licence has changed since you sent it: read it, and agree to the clauses again.").says("Another licence.");
    assert!(!page.text.contains("stay as you ticked them") && !ticked(&page).contains(&true), "{}", page.text);
    assert_eq!(sends_again(&ada, &[]).await.status, 303);

    // A draft, too.
    let bob = portal.researcher("bob").await;
    let written = answers(&bob, "/demo/tiny-opt").await;
    let written: Vec<(&str, &str)> = written.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(bob.post("/demo/tiny-opt/apply/draft", &written).await.status, 303);
    assert!(ticked(&bob.get("/demo/tiny-opt/apply").await).into_iter().all(|is_ticked| is_ticked));
    relicense(&portal, Some(model), "One more.", portal.portal.clock.now()).await;
    let page = bob.get("/demo/tiny-opt/apply").await;
    page.says("The licence has changed since you ticked the clauses: read it, and agree to them again.").says("This is your draft");
    assert!(!ticked(&page).contains(&true), "{}", page.text);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_case_is_claimed_taken_over_and_given_back(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);

    assert_eq!(grace.post(&format!("{case}/claim"), &[]).await.status, 303);
    grace.get(&case).await.says("You claimed this");
    barbara.get(&case).await.says("grace claimed this").says("Take it over").says("grace is looking at this, too");
    let page = barbara.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await;
    assert_eq!(page.status, 409);
    page.says("take it over first");
    assert_eq!(barbara.post(&format!("{case}/release"), &[]).await.status, 409, "it is not hers to give back");
    barbara.get("/review?view=unclaimed").await.says("Nobody is waiting");

    assert_eq!(barbara.post(&format!("{case}/claim"), &[]).await.status, 303);
    grace.get("/review?view=mine").await.says("You have no applications");
    assert_eq!(barbara.post(&format!("{case}/release"), &[]).await.status, 303);
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn whoever_decides_on_a_page_that_is_old_is_told_to_look_again(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&ada, "/demo/tiny-opt").await);
    let seen = version_of(&grace.get(&case).await);
    assert_eq!(grace.post(&format!("{case}/claim"), &[]).await.status, 303);
    let page = grace.post(&format!("{case}/approve"), &[("until", "2026-06-01"), ("note", "Well <put>."), ("version", &seen)]).await;
    assert_eq!(page.status, 409);
    page.says("changed while you were looking at it").says("What happened last: Claimed by grace");
    page.says("\nWell &#60;put&#62;.</textarea>").says("value=\"2026-06-01\"");
    let now = version_of(&page);
    assert_ne!(now, seen, "the page that comes back is of today");
    let told = grace.post(&format!("{case}/seen"), &[]).await.json();
    assert_eq!(told["version"].to_string(), now);
    let barbara = portal.reviewer("barbara").await;
    assert_eq!(barbara.post(&format!("{case}/claim"), &[]).await.status, 303);
    let page = grace.post(&format!("{case}/decline"), &[("reason", "other"), ("text", "Two lines\nof mine"), ("version", &now)]).await;
    assert_eq!(page.status, 409);
    page.says("Taken over by barbara").says("What you wrote, to copy it").says("<p>Two lines</p><p>of mine</p>");
    assert_eq!(grace.post(&format!("{case}/claim"), &[("version", &now)]).await.status, 409);
    let now = version_of(&barbara.get(&case).await);
    assert_eq!(barbara.post(&format!("{case}/approve"), &[("until", "2026-06-01"), ("version", &now)]).await.status, 303);
    barbara.get(&case).await.says("See, suspend or revoke it");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_others_wrote_meanwhile_is_read_before_a_decision(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    let decides = async |verb: &str, read: &str| {
        let fields = [("until", "2026-06-01"), ("note", "Well put."), ("reason", "other"), ("text", "Sorry."), ("comments", read)];
        grace.post(&format!("{case}/{verb}"), &fields).await
    };
    let writes = async |person: &Person, path: &str, lane: &str, text: &str| {
        assert_eq!(person.post(&format!("{path}/comment"), &[("lane", lane), ("text", text)]).await.status, 303);
    };
    grace.get(&case).await.says("name=\"comments\" value=\"0\"").says("data-comments=\"0\"");
    writes(&grace, &case, "internal", "Looks sound.").await;
    let bulk = grace.post("/review/bulk", &[("action", "decline"), ("id", case.rsplit('/').next().unwrap())]).await;
    writes(&barbara, &case, "internal", "I know this group: ask them for the contract.").await;
    for verb in ["approve", "decline", "changes"] {
        let page = decides(verb, "0").await;
        assert_eq!(page.status, 409, "{verb}");
        page.says("Barbara wrote an internal comment while you were looking at this application; read it, then decide.");
        page.says("What happened last: Internal comment written by barbara").says("ask them for the contract");
        page.says("name=\"comments\" value=\"2\"");
    }
    assert_eq!(grace.post(&format!("{case}/seen"), &[]).await.json()["comments"], 2);
    decides("approve", "nonsense").await.says("Barbara wrote an internal comment");
    writes(&ada, &application, "shared", "The contract is signed.").await;
    decides("decline", "2").await.says("Ada wrote a comment while you were looking");

    // Several at once are no way around it; nor are programs that say what they have seen.
    let id = case.rsplit('/').next().unwrap();
    let (_, rest) = bulk.text.split_once(&format!("name=\"comments_{id}\" value=\"")).unwrap_or_else(|| panic!("{}", bulk.text));
    let read = (format!("comments_{id}"), rest.split('"').next().unwrap().to_owned());
    assert_eq!(read.1, "1");
    let fields = [("action", "decline"), ("id", id), ("reason", "other"), ("text", "Sorry."), (read.0.as_str(), read.1.as_str())];
    grace.post("/review/bulk/do", &fields).await.says("Skipped").says("barbara wrote an internal comment");

    // One's own words are read; whoever says nothing of what they saw is asked for nothing.
    writes(&grace, &case, "internal", "Thank you.").await;
    assert_eq!(decides("approve", "3").await.status, 303);
}

/// The steps of the first timeline on the page, without their moments.
fn steps(page: &Page) -> Vec<String> {
    let (_, rest) = page.text.split_once("<ol class=\"timeline\">").unwrap_or_else(|| panic!("no timeline: {}", page.text));
    let steps = rest.split("</ol>").next().unwrap().split("</li>").filter_map(|one| one.split_once('>').map(|(_, step)| step));
    steps.map(|step| step.split("<br>").next().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_happened_to_an_application_stays_told_on_both_sides(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let root = portal.admin("root").await;
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    let acts = async |who: &Person, path: String, fields: &[(&str, &str)]| {
        portal.wait(Duration::minutes(1));
        let page = who.post(&path, fields).await;
        assert_eq!(page.status, 303, "{path}: {}", page.text);
    };
    acts(&grace, format!("{case}/claim"), &[]).await;
    acts(&barbara, format!("{case}/claim"), &[]).await;
    acts(&barbara, format!("{case}/changes"), &[("text", "Why so long?")]).await;
    portal.wait(Duration::minutes(1));
    assert_eq!(sends_again(&ada, &[("months", "4")]).await.status, 303);
    let decline = [("reason", "purpose_unclear"), ("text", "Which data?")];
    acts(&barbara, format!("{case}/decline"), &decline).await;
    acts(&barbara, format!("{case}/undo"), &[]).await;
    acts(&barbara, format!("{case}/decline"), &decline).await;
    acts(&ada, format!("{application}/appeal"), &[("text", "The data are public.")]).await;

    let told = steps(&ada.get(&application).await);
    let past = ["Begun", "Sent", "Changes asked for", "Sent again", "Declined", "You appealed"];
    assert_eq!(told[..past.len()], past, "{told:?}");
    let told = [
        "Sent by ada",
        "Claimed by grace",
        "Taken over by barbara",
        "Changes asked for by barbara",
        "Sent again by ada",
        "Declined by barbara",
        "Decision taken back by barbara",
        "Declined by barbara",
        "Appealed by ada",
    ];
    let page = grace.get(&case).await;
    assert_eq!(steps(&page), told);
    assert!(!page.text.contains("/admin/audit"), "the record itself is the admins' to search");
    root.get(&case).await.says(&format!("/admin/audit?subject={}", case.replace("/review/", "")));
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_sent_after_the_session_has_ended_is_kept_to_be_sent_again(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    let case = case_of(&applies_for(&bob, "/demo/tiny-opt").await);
    for person in [&ada, &grace] {
        assert_eq!(person.post("/sign-out", &[]).await.status, 303);
    }
    let draft = [("title", "Half a thought & \"more\"")];
    let page = ada.post("/demo/tiny-opt/apply/draft", &draft).await;
    assert_eq!(page.status, 401);
    page.says("You have been signed out")
        .says("action=\"/demo/tiny-opt/apply/draft\"")
        .says("name=\"title\" value=\"Half a thought &#38; &#34;more&#34;\"")
        .says("<p>Half a thought &#38; &#34;more&#34;</p>")
        .says("/sign-in?then=%2Fdemo%2Ftiny%2Dopt%2Fapply\"");
    assert_eq!(ada.signs_in().await.status, 303);
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &draft).await.status, 303);
    ada.get("/demo/tiny-opt/apply").await.says("Half a thought");

    let decline = [("reason", "other"), ("text", "Too vague\nby far"), ("preview", "yes")];
    let page = grace.post(&format!("{case}/decline"), &decline).await;
    assert_eq!(page.status, 401);
    page.says("<p>Too vague</p><p>by far</p>").says("name=\"preview\" value=\"yes\"");
    page.says(&format!("/sign-in?then={}", case.replace('/', "%2F").replace('_', "%5F")));
    // What another site sends is not made a form of ours, and what is typed on the pages of an account is not shown again.
    let foreign = grace.request(Method::POST, &format!("{case}/decline")).header("accept", "text/html").form(&decline);
    let page = Page::of(foreign.send().await.unwrap()).await;
    assert!(page.status == 401 && !page.text.contains("Too vague"), "{}", page.text);
    let page = grace.post("/account/password", &[("current", Person::PASSWORD), ("password", "a secret of mine")]).await;
    assert!(page.status == 401 && !page.text.contains("secret of mine") && !page.text.contains(Person::PASSWORD), "{}", page.text);
    page.says("/sign-in?then=%2Faccount\"");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_decision_is_taken_back_before_its_mail_leaves_and_not_after(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);

    let preview = grace.post(&format!("{case}/approve"), &[("until", "2026-06-01"), ("note", "Good luck!"), ("preview", "yes")]).await;
    preview.says("Preview of the mail").says("Good luck!").says("until 1 June 2026").says("Nothing has been decided yet");
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 303);
    ada.get("/demo/tiny-opt/apply").await.says("You have access to demo/tiny-opt");
    mails_leave(&portal).await;
    grace.get(&case).await.says("Take it back").says("2 March 2026, 09:10 UTC");
    assert_eq!(barbara.post(&format!("{case}/undo"), &[]).await.status, 403, "only who decided");
    assert_eq!(grace.post(&format!("{case}/undo"), &[]).await.status, 303);
    assert!(portal.mails_to(&ada.email, "access_granted").await.is_empty(), "nobody was told");
    ada.get("/demo/tiny-opt/apply").await.says("You have applied for demo/tiny-opt");
    ada.get(&application).await.says("In review");

    assert_eq!(grace.post(&format!("{case}/decline"), &[("reason", "duplicate"), ("text", "See the other.")]).await.status, 303);
    portal.wait(Duration::minutes(10));
    mails_leave(&portal).await;
    let page = grace.post(&format!("{case}/undo"), &[]).await;
    assert_eq!(page.status, 409);
    page.says("more than ten minutes ago");
    assert!(!grace.get(&case).await.text.contains("Take it back"));
    ada.get(&application).await.says("Declined");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn an_appeal_goes_to_another_reviewer_once(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace, barbara) = (portal.researcher("ada").await, portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    assert_eq!(grace.post(&format!("{case}/decline"), &[("reason", "purpose_unclear"), ("text", "Which data?")]).await.status, 303);
    ada.get("/demo/tiny-opt/apply").await.says("You may apply again from").says("appeal");
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &[("title", "anew")]).await.status, 409, "not yet");

    let page = ada.post(&format!("{application}/appeal"), &[("text", " ")]).await;
    assert_eq!(page.status, 422);
    page.says("say what was overlooked");
    assert_eq!(ada.post(&format!("{application}/appeal"), &[("text", "See page 3 of the summary.")]).await.status, 303);
    assert_eq!(portal.mails_to(&grace.email, "application_to_review").await.len(), 1, "the appeal is not hers");
    assert_eq!(portal.mails_to(&barbara.email, "application_to_review").await.len(), 2);
    let receipt = &portal.mails_to(&ada.email, "appeal_received").await[0];
    assert!(receipt.contains("Another reviewer decides") && receipt.contains("9 March 2026"), "{receipt}");
    let calls = portal.mails_to(&barbara.email, "application_to_review").await;
    assert_eq!(calls.iter().filter(|mail| mail.contains("has appealed")).count(), 1, "{calls:?}");
    grace.get(&case).await.says("This appeal is against your decision");
    assert_eq!(grace.post(&format!("{case}/claim"), &[]).await.status, 403);
    assert_eq!(grace.post(&format!("{case}/approve"), &[("until", "2026-06-01")]).await.status, 403);
    barbara.get(&case).await.says("See page 3 of the summary.").says("Against the decline by grace");
    // What it is against stays to be read on both sides.
    for page in [barbara.get(&case).await, ada.get(&application).await] {
        page.says("Which data?").says(">Declined<").says("Reason: The purpose is not clear");
    }
    let program = ada.with_token(&ada.makes_token(&["apply"]).await);
    let thread = &program.fetch(&format!("/api/v1{application}")).await.json()["thread"];
    let [decline, appeal] = &thread.as_array().unwrap()[..] else { panic!("{thread}") };
    assert_eq!((&decline["kind"], &decline["author"], &decline["text"]), (&json!("decline"), &json!("A reviewer"), &json!("Which data?")));
    assert_eq!((&decline["fields"], &appeal["kind"]), (&json!(["purpose_unclear"]), &json!("appeal")));
    let again = [("reason", "purpose_unclear"), ("text", "Which data?"), ("preview", "yes")];
    barbara.post(&format!("{case}/decline"), &again).await.says("This is the result of your appeal").says("stays declined");
    let yes = [("until", "2026-06-01"), ("preview", "yes")];
    barbara.post(&format!("{case}/approve"), &yes).await.says("This is the result of your appeal: another reviewer has approved");
    assert_eq!(barbara.post(&format!("{case}/decline"), &again[..2]).await.status, 303);
    let [first, second] = &portal.mails_to(&ada.email, "application_declined").await[..] else { panic!("one for each decision") };
    let (first, second) = if first.contains("result of your appeal") { (second, first) } else { (first, second) };
    assert!(first.contains("you can appeal until") && !second.contains("you can appeal until"), "{second}");
    let page = ada.post(&format!("{application}/appeal"), &[("text", "Once more.")]).await;
    assert_eq!(page.status, 409);
    page.says("its decision stands");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn the_two_sides_talk_and_reviewers_among_themselves(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, eve, grace) = (portal.researcher("ada").await, portal.researcher("eve").await, portal.reviewer("grace").await);
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    assert_eq!(ada.post(&format!("{application}/comment"), &[("text", "")]).await.status, 422);
    assert_eq!(ada.post(&format!("{application}/comment"), &[("text", "Is <b>this</b> enough?")]).await.status, 303);
    assert_eq!(eve.post(&format!("{application}/comment"), &[("text", "Me too")]).await.status, 404);
    grace.get(&case).await.says("Is &#60;b&#62;this&#60;/b&#62; enough?").says("Unanswered comment");
    assert_eq!(grace.post(&format!("{case}/comment"), &[("lane", "internal"), ("text", "Looks thin.")]).await.status, 303);
    grace.get("/review").await.says("Unanswered comment");
    assert_eq!(grace.post(&format!("{case}/comment"), &[("lane", "shared"), ("text", "Which data do you use?")]).await.status, 303);
    assert_eq!(grace.post(&format!("{case}/comment"), &[("lane", "both"), ("text", "x")]).await.status, 422);
    for page in ["/review", &case] {
        assert!(!grace.get(page).await.text.contains("Unanswered comment"), "{page}: it is the applicant's turn to write");
    }
    let page = ada.get(&application).await;
    page.says("Which data do you use?").says("A reviewer");
    assert!(!page.text.contains("Looks thin.") && !page.text.contains("Grace"), "who reviews and what they think is theirs");
    grace.get(&case).await.says("Looks thin.").says("Reviewers only");
    assert_eq!(portal.mails_to(&ada.email, "comment_written").await.len(), 1, "of what she may read");

    assert_eq!(ada.post(&format!("{application}/withdraw"), &[]).await.status, 303);
    assert_eq!(ada.post(&format!("{application}/comment"), &[("text", "Wait")]).await.status, 409);
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_comment_reaches_every_reviewer_until_one_has_claimed_the_application(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.reviewer("ada").await, portal.reviewer("grace").await);
    let (barbara, carol) = (portal.reviewer("barbara").await, portal.reviewer("carol").await);
    assert_eq!(
        carol.post("/account/mail", &[("reviews", "each"), ("comments", "never"), ("tokens", "each"), ("releases", "each")]).await.status,
        303
    );
    let application = applies_for(&ada, "/demo/tiny-opt").await;
    let case = case_of(&application);
    let writes = async |text: &str| assert_eq!(ada.post(&format!("{application}/comment"), &[("text", text)]).await.status, 303);
    let heard = async || {
        let mut counts = Vec::new();
        for person in [&ada, &grace, &barbara, &carol] {
            counts.push(portal.mails_to(&person.email, "comment_written").await.len());
        }
        counts
    };

    writes("I forgot the name of our cluster.").await;
    assert_eq!(heard().await, [0, 1, 1, 0], "nobody has claimed it: not oneself, and not who wants no such mail");
    assert_eq!(grace.post(&format!("{case}/claim"), &[]).await.status, 303);
    writes("It is called Holly.").await;
    assert_eq!(heard().await, [0, 2, 1, 0], "who has claimed it, alone");
    assert_eq!(grace.post(&format!("{case}/decline"), &[("reason", "purpose_unclear"), ("text", "Which data?")]).await.status, 303);
    assert_eq!(ada.post(&format!("{application}/appeal"), &[("text", "See page 3 of the summary.")]).await.status, 303);
    writes("And page 4.").await;
    assert_eq!(heard().await, [0, 2, 2, 0], "not whom the appeal is against");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_left_alone_lapses_after_a_notice(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, bob, grace) = (portal.researcher("ada").await, portal.researcher("bob").await, portal.reviewer("grace").await);
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &[("title", "half a thought")]).await.status, 303);
    let sent = applies_for(&bob, "/demo/tiny-opt").await;
    assert_eq!(grace.post(&format!("{}/changes", case_of(&sent)), &[("text", "Which data?")]).await.status, 303);

    let sweep = async || access::sweep_applications(&portal.portal).await.unwrap();
    portal.wait(Duration::days(22));
    sweep().await;
    assert!(portal.mails_to(&bob.email, "application_lapsing").await.is_empty(), "not yet");
    portal.wait(Duration::days(1));
    sweep().await;
    sweep().await;
    let mails = portal.mails_to(&bob.email, "application_lapsing").await;
    assert!(mails.len() == 1 && mails[0].contains("1 April 2026"), "once: {mails:?}");
    portal.wait(Duration::days(7));
    sweep().await;
    bob.signs_in().await;
    bob.get(&sent).await.says("Lapsed").says("Apply again");
    assert_eq!(portal.mails_to(&bob.email, "application_lapsed").await.len(), 1);

    portal.wait(Duration::days(53));
    sweep().await;
    assert_eq!(portal.mails_to(&ada.email, "application_lapsing").await.len(), 1);
    // Whoever takes it up again has their time again.
    ada.signs_in().await;
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &[("title", "a whole thought")]).await.status, 303);
    portal.wait(Duration::days(89));
    sweep().await;
    ada.signs_in().await;
    ada.get("/demo/tiny-opt/apply").await.says("a whole thought").says("This is your draft");
    portal.wait(Duration::days(1));
    sweep().await;
    ada.get("/demo/tiny-opt/apply").await.says("copied from").says("a whole thought");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_draft_is_kept_while_it_is_written_and_never_over_another_window(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let ada = portal.researcher("ada").await;
    let keep = async |title: &str, version: Option<&str>| {
        let csrf = ada.csrf().await;
        let mut fields = vec![("title", title), ("csrf", csrf.as_str())];
        fields.extend(version.map(|version| ("version", version)));
        let request = ada.request(Method::POST, "/demo/tiny-opt/apply/draft").header("accept", "application/json").form(&fields);
        Page::of(request.send().await.unwrap()).await
    };
    let first = keep("one", None).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let version = first.json()["version"].to_string();
    let second = keep("two", Some(&version)).await;
    assert_eq!(second.status, 200);
    let project = second.json()["sections"].as_array().unwrap().iter().find(|section| section["id"] == "project").cloned();
    assert_eq!(project, Some(json!({ "id": "project", "answered": 1, "needed": 7 })));
    let page = keep("written in an old window", Some(&version)).await;
    assert_eq!(page.status, 409);
    assert_eq!(page.header("content-type"), "application/problem+json");
    ada.get("/demo/tiny-opt/apply").await.says("value=\"two\"");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_an_old_window_sends_is_kept_on_its_page_and_not_written_over_what_is_newer(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let ada = portal.researcher("ada").await;
    let shown = |page: &Page| {
        let (_, rest) = page.text.split_once("name=\"version\" value=\"").unwrap_or_else(|| panic!("no version: {}", page.text));
        rest.split('"').next().unwrap().to_owned()
    };
    // Two windows, both opened before there was anything.
    let old = shown(&ada.get("/demo/tiny-opt/apply").await);
    let newer = [("title", "written in the newer window"), ("version", old.as_str())];
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &newer).await.status, 303);
    let mut fields = answers(&ada, "/demo/tiny-opt").await;
    fields.push(("version".into(), old.clone()));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for path in ["/demo/tiny-opt/apply", "/demo/tiny-opt/apply/draft"] {
        let page = ada.post(path, &fields).await;
        assert_eq!(page.status, 409);
        page.says("changed in another window").says("value=\"Negation in language models\"");
        assert!(!page.text.contains("data-autosave"), "nothing is written over by itself");
        ada.get("/demo/tiny-opt/apply").await.says("value=\"written in the newer window\"");
    }
    // A program is refused alike, and nothing of it is saved.
    let mine = ada.with_token(&ada.makes_token(&["apply"]).await);
    let body = json!({ "version": 1, "answers": { "title": "by a program" } });
    let page = Page::of(mine.request(Method::POST, "/api/v1/models/demo/tiny-opt/application").json(&body).send().await.unwrap()).await;
    assert_eq!((page.status, &page.json()["code"]), (409, &json!("stale")));
    ada.get("/demo/tiny-opt/apply").await.says("value=\"written in the newer window\"");
    // Sent once more from the page that says so, it counts; and a second click changes nothing.
    let seen = shown(&ada.post("/demo/tiny-opt/apply", &fields).await);
    let again: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| if *name == "version" { (*name, seen.as_str()) } else { (*name, *value) }).collect();
    let sent = ada.post("/demo/tiny-opt/apply", &again).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    assert_eq!(ada.post("/demo/tiny-opt/apply", &again).await.location(), sent.location());
    ada.get(sent.location()).await.says("Negation in language models");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn several_are_seen_to_at_once_and_each_has_its_result(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (grace, barbara) = (portal.reviewer("grace").await, portal.reviewer("barbara").await);
    let mut ids = Vec::new();
    for name in ["ada", "bob", "cyd"] {
        let person = portal.researcher(name).await;
        ids.push(applies_for(&person, "/demo/tiny-opt").await.replace("/applications/", ""));
    }
    let own = applies_for(&grace, "/demo/tiny-opt").await.replace("/applications/", "");
    assert_eq!(barbara.post(&format!("/review/{}/claim", ids[1]), &[]).await.status, 303);

    let all: Vec<(&str, &str)> = ids.iter().chain([&own]).map(|id| ("id", id.as_str())).chain([("action", "approve")]).collect();
    let preview = grace.post("/review/bulk", &all).await;
    preview
        .says("Nothing has been done yet")
        .says("gets access until 29 August 2026")
        .says("take it over first")
        .says("own access")
        .says("Approve 2");
    grace.get("/review?view=decided").await.says("Nothing has been decided yet");
    let done = grace.post("/review/bulk/do", &all).await;
    done.says("2 of 4 done");
    grace.get("/review?view=decided").await.says("ada").says("cyd");
    let again = grace.post("/review/bulk/do", &all).await;
    again.says("0 of 4 done");

    let page = grace.post("/review/bulk", &[("action", "claim"), ("view", "overdue"), ("q", "")]).await;
    assert_eq!((page.status, page.location()), (303, "/review?view=overdue"), "back to where it was");
    grace.get(page.location()).await.says("Select at least one application first.");
    assert_eq!(grace.get("/review/bulk").await.location(), "/review");
    let decline = [("id", ids[1].as_str()), ("action", "decline"), ("reason", "")];
    let page = barbara.post("/review/bulk/do", &decline).await;
    assert_eq!(page.status, 422);
    page.says("choose one of the reasons");
    barbara
        .post("/review/bulk/do", &[("id", ids[1].as_str()), ("action", "decline"), ("reason", "duplicate"), ("text", "See the other.")])
        .await
        .says("1 of 1 done");
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_reviewer_finds_what_was_sent_by_any_of_its_words(db: PgPool) {
    let portal = TestPortal::start(db).await;
    gated(&portal, "tiny-opt").await;
    let (ada, grace) = (portal.researcher("ada").await, portal.reviewer("grace").await);
    assert_eq!(ada.post("/demo/tiny-opt/apply/draft", &[("title", "Negation in secret")]).await.status, 303);
    grace.get("/review?q=negation").await.says("No application matches");
    applies_for(&ada, "/demo/tiny-opt").await;
    for q in ["negation", "NEG", "turin%20nega", "ada%40university.edu", "ada"] {
        grace.get(&format!("/review?q={q}")).await.says("Negation in language models");
    }
    for q in ["zebra", "%27%26%7C%21", "gation"] {
        grace.get(&format!("/review?q={q}")).await.says("No application matches");
    }
    assert_eq!(grace.get("/review?view=nonsense").await.status, 404);
    portal.wait(Duration::days(8));
    let grace = portal.reviewer("hedy").await;
    grace.get("/review?view=overdue").await.says("Overdue by 1 day");
}
