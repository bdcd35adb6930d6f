//! What is kept of somebody's applications and grants, for them: every column, those that come later among them. What reviewers write to
//! each other is theirs.

use serde_json::Value;
use sqlx::PgConnection;

use crate::error::Error;
use crate::ids::{AccountId, ApplicationId};

/// The applications of an account from behind `after` on, each with its sendings, attestations and the thread that both sides read.
pub async fn application_rows(
    db: &mut PgConnection,
    account: AccountId,
    after: Option<ApplicationId>,
    limit: i64,
) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(a) - 'checked' || jsonb_build_object(
               'sendings', (select coalesce(jsonb_agg(to_jsonb(s) - 'application_id' order by s.number), '[]')
                            from application_sending s where s.application_id = a.id),
               'attestations', (select coalesce(jsonb_agg(to_jsonb(t) - 'application_id' order by t.clause), '[]')
                                from attestation t where t.application_id = a.id),
               'thread', (select coalesce(jsonb_agg(to_jsonb(c) - 'application_id' order by c.id), '[]')
                          from application_comment c where c.application_id = a.id and c.lane = 'shared')) as "row!"
         from application a
         where a.account_id = $1 and ($2::uuid is null or a.id > $2)
         order by a.id
         limit $3"#,
        account.uuid(),
        after.map(ApplicationId::uuid),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Every grant an account ever had, each with the requests to renew it and the licences that were agreed to since.
pub async fn grant_rows(db: &mut PgConnection, account: AccountId) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select to_jsonb(g) || jsonb_build_object(
               'renewals', (select coalesce(jsonb_agg(to_jsonb(r) order by r.id), '[]') from renewal r where r.grant_id = g.id),
               'consents', (select coalesce(jsonb_agg(to_jsonb(c) - 'grant_id' order by c.consented_at, c.clause), '[]')
                            from consent c where c.grant_id = g.id)) as "row!"
         from access_grant g where account_id = $1 order by id"#,
        account.uuid(),
    );
    Ok(rows.fetch_all(db).await?)
}

/// Every block there ever was against an account.
pub async fn block_rows(db: &mut PgConnection, account: AccountId) -> Result<Vec<Value>, Error> {
    let rows = sqlx::query_scalar!(r#"select to_jsonb(b) as "row!" from block b where account_id = $1 order by id"#, account.uuid());
    Ok(rows.fetch_all(db).await?)
}
