//! What is found, closed and cleared of somebody who is to be forgotten. That there was an application, when, and who decided how, stays.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ApplicationId, GrantId, RenewalId};

/// The applications, grants and renewals of an account, each as it is printed.
pub async fn printed_ids(db: &mut PgConnection, account: AccountId) -> Result<Vec<String>, Error> {
    let rows = sqlx::query!(
        r#"select 1 as "kind!", id as "id!" from application where account_id = $1
         union all
         select 2, id from access_grant where account_id = $1
         union all
         select 3, r.id from renewal r join access_grant g on g.id = r.grant_id where g.account_id = $1
         order by 1, 2"#,
        account.uuid(),
    )
    .fetch_all(db)
    .await?;
    let printed = rows.into_iter().map(|row| match row.kind {
        1 => ApplicationId::from(row.id).to_string(),
        2 => GrantId::from(row.id).to_string(),
        _ => RenewalId::from(row.id).to_string(),
    });
    Ok(printed.collect())
}

/// The applications of an account that are open.
pub async fn open_application_ids(db: &mut PgConnection, account: AccountId) -> Result<Vec<ApplicationId>, Error> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id: ApplicationId" from application
         where account_id = $1 and state in ('draft', 'submitted', 'changes_requested')
         order by id"#,
        account.uuid()
    );
    Ok(ids.fetch_all(db).await?)
}

/// The open cases that an account sees to.
pub async fn claimed_ids(db: &mut PgConnection, account: AccountId) -> Result<Vec<ApplicationId>, Error> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id: ApplicationId" from application where claimed_by = $1 and state = 'submitted' order by id"#,
        account.uuid()
    );
    Ok(ids.fetch_all(db).await?)
}

/// Locks the applications of an account, and the cases that it sees to.
pub async fn lock_cases_of(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    let cases = sqlx::query!(
        r#"select id from application where account_id = $1 or claimed_by = $1 and state = 'submitted' order by id for update of application"#,
        account.uuid()
    );
    cases.fetch_all(tx).await?;
    Ok(())
}

/// Locks the grants of an account.
pub async fn lock_grants_of(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    let grants =
        sqlx::query!(r#"select id from access_grant where account_id = $1 order by id for update of access_grant"#, account.uuid());
    grants.fetch_all(tx).await?;
    Ok(())
}

/// The grants of an account that nobody has ended and whose time is not over.
pub async fn grant_ids_in_force(db: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<Vec<GrantId>, Error> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id: GrantId" from access_grant
         where account_id = $1 and revoked_at is null and expires_at > $2
         order by id"#,
        account.uuid(),
        now,
    );
    Ok(ids.fetch_all(db).await?)
}

/// Clears the answers of an account's applications, and what was said about them.
pub async fn forget_applications(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!(
        "update application
         set answers = '{}', found_by = null, checked = '{}', decision_text = left(decision_text, 0), appeal_text = left(appeal_text, 0),
             changes_text = left(changes_text, 0)
         where account_id = $1",
        account.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Clears the answers as they were sent.
pub async fn forget_sendings(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!(
        "update application_sending s set answers = '{}' from application a where a.id = s.application_id and a.account_id = $1",
        account.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Clears the comments that an account wrote anywhere, and all comments about its applications.
pub async fn forget_comments(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!(
        "update application_comment c set body = ''
         where c.author_id = $1 or c.application_id in (select id from application where account_id = $1)",
        account.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Clears why an account was given access, why it was stopped, and how it ended.
pub async fn forget_grants(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!(
        "update access_grant
         set reason = '', suspend_reason = left(suspend_reason, 0), revocation_reason = left(revocation_reason, 0),
             revoke_reason = left(revoke_reason, 0), attestation = left(attestation, 0)
         where account_id = $1",
        account.uuid(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Closes an account's open requests for a renewal, and clears what it said in all of them, and what was answered.
pub async fn forget_renewals(tx: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update renewal r
         set summary = '', publications = '', decision_text = left(decision_text, 0),
             state = case when state = 'open' then 'withdrawn' else state end, closed_at = coalesce(closed_at, $2)
         from access_grant g
         where g.id = r.grant_id and g.account_id = $1",
        account.uuid(),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Clears why an account was blocked. The block stands as long as it did.
pub async fn forget_blocks(tx: &mut PgConnection, account: AccountId) -> Result<(), Error> {
    sqlx::query!("update block set reason = '' where account_id = $1", account.uuid()).execute(tx).await?;
    Ok(())
}
