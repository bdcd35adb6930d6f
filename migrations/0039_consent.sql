-- Who has access to a model whose licence changes in a way that matters is asked to agree to the new text, and has some days for it;
-- after that their access rests until they have. Records of what was agreed to are one for each clause, as with an application.
-- Room: access.

create table licence_change (
    model_id uuid not null constraint licence_change_model_fk references model,
    licence_sha256 text not null constraint licence_change_licence_fk references licence,
    announced_by uuid not null constraint licence_change_announced_by_fk references account,
    announced_at timestamptz not null,
    grace_until timestamptz not null,
    constraint licence_change_pk primary key (model_id, licence_sha256),
    constraint licence_change_grace_ck check (grace_until >= announced_at)
);

create table consent (
    grant_id uuid not null constraint consent_grant_fk references access_grant,
    licence_sha256 text not null constraint consent_licence_fk references licence,
    clause text not null,
    wording text not null,
    consented_at timestamptz not null,
    constraint consent_pk primary key (grant_id, licence_sha256, clause)
);

-- The last change of its model's licence counts for a grant, if its holder has not agreed to that text: with the application, if it pins
-- it; before the change was announced, if nothing is pinned; or since. Who has their grant only since then has as many days as everybody.
create or replace view grant_standing as
select
    g.id, g.account_id, g.model_id, g.application_id, g.reason, g.granted_at, g.expires_at, g.scopes,
    g.suspended_at, g.suspended_by, g.suspend_reason,
    g.revocation_proposed_at, g.revocation_proposed_by, g.revocation_reason,
    g.revoked_at, g.revoke_reason, g.attestation,
    (select max(b.expires_at) from block b
     where b.account_id = g.account_id and (b.model_id is null or b.model_id = g.model_id) and b.lifted_at is null) as blocked_until,
    (select greatest(c.grace_until, g.granted_at + (c.grace_until - c.announced_at))
     from licence_change c
     where c.model_id = g.model_id
       and not exists (select from licence_change later where later.model_id = c.model_id and later.announced_at > c.announced_at)
       and not exists (select from consent a where a.grant_id = g.id and a.licence_sha256 = c.licence_sha256)
       and case when g.application_id is null then g.granted_at < c.announced_at
           else not exists (
               select from application p
               where p.id = g.application_id and (p.licence_sha256 = c.licence_sha256 or p.submitted_at >= c.announced_at))
           end) as consent_due_at
from access_grant g;

create or replace view permitted_file as
select
    t.secret_hash, t.id as token_id, t.name as token_name, t.scopes, t.created_at as token_created_at, t.expires_at as token_expires_at,
    t.last_used_at,
    a.id as account_id, a.email, a.name as account_name, a.role, a.email_verified_at, a.created_at as account_created_at,
    m.id as model_id, m.org, m.name as model_name, m.gate, m.licence_sha256, m.summary, m.created_at as model_created_at,
    g.id as grant_id, g.granted_at, g.expires_at as grant_expires_at,
    r.id as release_id, r.revision, r.notes, r.config_json, r.published_at,
    f.path, f.is_lfs, o.size_bytes, o.sha256, o.blake3, o.git_sha1,
    g.scopes as grant_scopes, g.blocked_until, g.consent_due_at
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
