//! The rules of access to a model: defaults, set by an admin, on the record.

use server::access::{Policy, policy};
use server::audit;
use sqlx::PgPool;
use tests::TestPortal;

use crate::gated::gated;

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_model_has_the_rules_its_admin_set_and_the_defaults_until_then(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let (tiny, other) = (gated(&portal, "tiny-opt").await, gated(&portal, "other").await);
    let root = portal.admin("root").await;
    let rules = async |model| policy::of(&mut portal.portal.db.acquire().await.unwrap(), model).await.unwrap().policy;
    assert_eq!(rules(tiny).await, Policy { revoke_needs_two: false, trial_tokens: 0, answer_days: 7, reapply_days: 14 });

    let page = format!("/admin/models/{tiny}");
    root.get(&page).await.says("Rules of access").says("name=\"answer_days\" value=\"7\"");
    let wrong = [("answer_days", "0"), ("reapply_days", "30"), ("trial_tokens", "many"), ("revoke_needs_two", "on")];
    let refused = root.post(&format!("{page}/policy"), &wrong).await;
    assert_eq!(refused.status, 422);
    refused
        .says("enter a whole number from 1 to 90")
        .says("enter a whole number from 0 to 1,000,000")
        .says("value=\"many\"")
        .says("value=\"30\"");

    let right = [("answer_days", "5"), ("reapply_days", "30"), ("trial_tokens", "400"), ("revoke_needs_two", "on")];
    for _ in 0..2 {
        let saved = root.post(&format!("{page}/policy"), &right).await;
        assert_eq!((saved.status, saved.location()), (303, page.as_str()));
    }
    assert_eq!(rules(tiny).await, Policy { revoke_needs_two: true, trial_tokens: 400, answer_days: 5, reapply_days: 30 });
    assert_eq!(rules(other).await, Policy::default(), "each model has its own");

    let of_model = audit::Filter { subjects: Some(vec![tiny.to_string()]), ..Default::default() };
    let events = audit::page(&mut portal.portal.db.acquire().await.unwrap(), &of_model, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "model.policy_changed").count(), 1, "saving the same again changes nothing");
}
