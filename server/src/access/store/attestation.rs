//! What the database keeps of what was attested.

use sqlx::PgConnection;

use super::super::check::Attestation;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::ApplicationId;

/// Keeps what was attested, one record for each clause; what was attested at a sending before goes, and stays on the record by its hash.
pub async fn replace_attestations(tx: &mut PgConnection, id: ApplicationId, attestations: &[Attestation]) -> Result<(), Error> {
    let clauses: Vec<String> = attestations.iter().map(|attestation| attestation.clause.clone()).collect();
    let wordings: Vec<String> = attestations.iter().map(|attestation| attestation.wording.clone()).collect();
    let licences: Vec<Option<String>> = attestations.iter().map(|attestation| attestation.licence_sha256.clone()).collect();
    let times: Vec<Timestamp> = attestations.iter().map(|attestation| attestation.at).collect();
    sqlx::query!("delete from attestation where application_id = $1", id.uuid()).execute(&mut *tx).await?;
    sqlx::query!(
        "insert into attestation (application_id, clause, wording, licence_sha256, attested_at)
         select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[])",
        id.uuid(),
        &clauses,
        &wordings,
        &licences as _,
        &times,
    )
    .execute(tx)
    .await?;
    Ok(())
}
