-- What holders agreed to changes in two ways: the text of the licence, or the clauses of the form. Either is announced, and asked for, by one
-- mechanism. The tables keep their names, so that what wrote to them before still can.
-- Room: access.

alter table licence_change
    drop constraint licence_change_pk,
    alter column licence_sha256 drop not null,
    add column form_sha256 text constraint licence_change_form_fk references form,
    add constraint licence_change_one_ck check (num_nonnulls(licence_sha256, form_sha256) = 1);
-- A text is announced once. A form may come back after another one, and is announced anew.
create unique index licence_change_licence_uq on licence_change (model_id, licence_sha256);

alter table consent
    drop constraint consent_pk,
    alter column licence_sha256 drop not null,
    add column form_sha256 text constraint consent_form_fk references form,
    add constraint consent_one_ck check (num_nonnulls(licence_sha256, form_sha256) = 1);
create unique index consent_licence_uq on consent (grant_id, licence_sha256, clause);
create unique index consent_form_uq on consent (grant_id, form_sha256, clause);

-- What the holder of a grant has not agreed to: the last change of the licence, and the last of the form, each unless their application
-- pins it, or was sent since it was announced, or they have agreed since; of a grant without an application, unless it was given since.
-- Who has their grant only since then has as many days as everybody.
create view consent_due as
select g.id as grant_id, c.licence_sha256, c.form_sha256, greatest(c.grace_until, g.granted_at + (c.grace_until - c.announced_at)) as due_at
from access_grant g
join licence_change c on c.model_id = g.model_id
where not exists (
        select from licence_change later
        where later.model_id = c.model_id and (later.form_sha256 is null) = (c.form_sha256 is null) and later.announced_at > c.announced_at)
  and not exists (
        select from consent a
        where a.grant_id = g.id and (a.licence_sha256 = c.licence_sha256 or a.form_sha256 = c.form_sha256))
  and case when g.application_id is null then g.granted_at < c.announced_at
      else not exists (
        select from application p
        where p.id = g.application_id
          and (p.licence_sha256 = c.licence_sha256 or p.form_sha256 = c.form_sha256 or p.submitted_at >= c.announced_at))
      end;

create or replace view grant_standing as
select
    g.id, g.account_id, g.model_id, g.application_id, g.reason, g.granted_at, g.expires_at, g.scopes,
    g.suspended_at, g.suspended_by, g.suspend_reason,
    g.revocation_proposed_at, g.revocation_proposed_by, g.revocation_reason,
    g.revoked_at, g.revoke_reason, g.attestation,
    (select max(b.expires_at) from block b
     where b.account_id = g.account_id and (b.model_id is null or b.model_id = g.model_id) and b.lifted_at is null) as blocked_until,
    (select min(d.due_at) from consent_due d where d.grant_id = g.id) as consent_due_at
from access_grant g;
