//! A machine whose clock is a day off. To a client it is one whether its own clock is late or the portal's runs ahead: here the portal's,
//! which is in the test's hand, is set a day from the machine's.

use server::catalog::{self, Gate};
use server::clock::Clock;
use sqlx::PgPool;
use tests::{Puller, TestPortal};
use time::Duration;

use super::access::{grants, signs_in};
use super::publish;

/// Sets the portal's clock so far from this machine's.
fn set(portal: &TestPortal, ahead: Duration) {
    portal.wait(Clock::System.now() + ahead - portal.portal.clock.now());
}

/// Everything that has a time in it: a token, a sign-in by code, keys that take turns.
async fn all_is_well(db: PgPool, ahead: Duration) {
    let portal = TestPortal::start(db).await;
    set(&portal, ahead);
    let release = publish(&portal, "acme/gated", Gate::Application).await;
    let ada = portal.researcher("ada").await;
    grants(&portal, &ada).await;
    let machine = Puller::new(&portal.base).with_token(&ada.makes_token(&["download"]).await);
    machine.pulls(&release.name, &[]).await.well();
    release.is_whole_at(&machine);
    machine.verifies().await.well();
    let other = Puller::new(&portal.base);
    signs_in(&other, &ada).await;
    other.pulls(&release.name, &[]).await.well();
    other.verifies().await.well();

    // The key before is good for an hour more, and the release still bears its signature: as when a portal has much to sign.
    portal.portal.keys.rotate(portal.portal.clock.now(), Duration::hours(1)).unwrap();
    let third = Puller::new(&portal.base);
    signs_in(&third, &ada).await;
    for (machine, met) in [(&machine, "has vouched for it"), (&other, "has vouched for it"), (&third, "first contact")] {
        machine.pulls(&release.name, &[]).await.well().with(0, met);
    }
    machine.verifies().await.well();
    // When all is signed with the new one.
    assert!(catalog::prove_next(&portal.portal, &mut Vec::new()).await.unwrap());
    for machine in [&machine, &other, &third] {
        machine.pulls(&release.name, &["--repair"]).await.well();
        machine.verifies().await.well();
        release.is_whole_at(machine);
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_clock_that_is_a_day_late_stops_nothing(db: PgPool) {
    all_is_well(db, Duration::DAY).await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_clock_that_runs_a_day_ahead_stops_nothing(db: PgPool) {
    all_is_well(db, -Duration::DAY).await;
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn a_clock_that_is_a_week_off_is_named_where_it_decides(db: PgPool) {
    let portal = TestPortal::start(db).await;
    set(&portal, -Duration::WEEK);
    let release = publish(&portal, "acme/open", Gate::Open).await;
    let ada = Puller::new(&portal.base);
    ada.pulls(&release.name, &[]).await.well();
    portal.portal.keys.rotate(portal.portal.clock.now(), Duration::hours(1)).unwrap();
    let refused = ada.pulls(&release.name, &[]).await;
    refused.with(3, "which retired on").with(3, "this machine's clock says").with(3, &Clock::System.now().date().to_string());
    // What is there is proven still, whatever the time: verifying asks no clock.
    ada.verifies().await.well();
}
