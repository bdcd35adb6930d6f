-- A grant is for some uses and not for others, can be suspended, and can be given back; revoking it may take two people; and somebody
-- can be blocked, for a time and a reason, whatever grants they have.
-- Room: access.

alter table access_grant
    add column scopes text[] not null default array['download', 'playground', 'api'],
    add column suspended_at timestamptz,
    add column suspended_by uuid constraint access_grant_suspended_by_fk references account,
    add column suspend_reason text,
    add column revocation_proposed_at timestamptz,
    add column revocation_proposed_by uuid constraint access_grant_revocation_proposed_by_fk references account,
    add column revocation_reason text,
    add column attestation text,
    add constraint access_grant_scopes_ck check (cardinality(scopes) > 0 and scopes <@ array['download', 'playground', 'api']),
    add constraint access_grant_suspended_ck check ((suspended_at is null) = (suspend_reason is null)),
    add constraint access_grant_proposed_ck
        check ((revocation_proposed_at is null) = (revocation_reason is null) and (revocation_proposed_at is null) = (revocation_proposed_by is null)),
    -- Who gives a grant back says what they have done; `revoked_at` is then when.
    add constraint access_grant_attestation_ck check (attestation is null or revoked_at is not null);
create index access_grant_proposed_ix on access_grant (revocation_proposed_at) where revocation_proposed_at is not null and revoked_at is null;

create table block (
    id uuid constraint block_pk primary key,
    account_id uuid not null constraint block_account_fk references account,
    -- None: every model.
    model_id uuid constraint block_model_fk references model,
    reason text not null,
    set_by uuid not null constraint block_set_by_fk references account,
    set_at timestamptz not null,
    expires_at timestamptz not null,
    lifted_at timestamptz,
    lifted_by uuid constraint block_lifted_by_fk references account,
    constraint block_expiry_ck check (expires_at > set_at),
    constraint block_lifted_ck check ((lifted_at is null) = (lifted_by is null)),
    constraint block_not_self_ck check (set_by <> account_id)
);
create index block_account_ix on block (account_id, set_at desc);
create index block_standing_ix on block (account_id, expires_at) where lifted_at is null;

-- A grant with all that may stop it, said once for whoever asks. It says what is; what that is worth at a moment is decided in one place.
create view grant_standing as
select
    g.id, g.account_id, g.model_id, g.application_id, g.reason, g.granted_at, g.expires_at, g.scopes,
    g.suspended_at, g.suspended_by, g.suspend_reason,
    g.revocation_proposed_at, g.revocation_proposed_by, g.revocation_reason,
    g.revoked_at, g.revoke_reason, g.attestation,
    (select max(b.expires_at) from block b
     where b.account_id = g.account_id and (b.model_id is null or b.model_id = g.model_id) and b.lifted_at is null) as blocked_until
from access_grant g;

-- For a token and a file only a grant counts that nothing but time can stop. What else stops one is found out by asking step by step.
create or replace view permitted_file as
select
    t.secret_hash, t.id as token_id, t.name as token_name, t.scopes, t.created_at as token_created_at, t.expires_at as token_expires_at,
    t.last_used_at,
    a.id as account_id, a.email, a.name as account_name, a.role, a.email_verified_at, a.created_at as account_created_at,
    m.id as model_id, m.org, m.name as model_name, m.gate, m.licence_sha256, m.summary, m.created_at as model_created_at,
    g.id as grant_id, g.granted_at, g.expires_at as grant_expires_at,
    r.id as release_id, r.revision, r.notes, r.config_json, r.published_at,
    f.path, f.is_lfs, o.size_bytes, o.sha256, o.blake3, o.git_sha1,
    g.scopes as grant_scopes, g.blocked_until
from token t
join account a on a.id = t.account_id
cross join model m
join release r on r.model_id = m.id
join release_file f on f.release_id = r.id
join object o on o.sha256 = f.object_sha256
left join grant_standing g
    on g.account_id = a.id and g.model_id = m.id and g.revoked_at is null
    and g.suspended_at is null and g.revocation_proposed_at is null and 'download' = any(g.scopes)
where t.revoked_at is null and a.disabled_at is null and r.published_at is not null and r.yanked_at is null;
