-- What of the past still counts for somebody who asks again, said once for everybody who asks.
-- Room: access.

-- The last decline of an account for a model that stands, or stood until an appeal that is open: neither a draft that was begun and
-- discarded since, nor an appeal that is left, makes it forgotten; an approval since does. Whoever asks while an appeal is open has to look.
create view standing_decline as
select d.account_id, d.model_id, max(d.declined_at) as declined_at
from (
    select account_id, model_id,
        case when state = 'declined' then closed_at else coalesce(appealed_decline_at, appealed_at) end as declined_at
    from application
    where state = 'declined' or appealed_at is not null and state <> 'approved') d
where not exists (
    select from application a
    where a.account_id = d.account_id and a.model_id = d.model_id and a.state = 'approved' and a.closed_at > d.declined_at)
group by d.account_id, d.model_id;

-- A grant whose approval was taken back within the minutes in which that is possible has never been: it is no revocation.
create view undone_grant as
select g.id
from access_grant g
join application a on a.id = g.application_id
where g.revoked_at is not null and (a.state <> 'approved' or a.closed_at > g.granted_at);

-- The order in which changes were announced does not hang on the clock.
alter table licence_change add column seq bigint generated always as identity;
create or replace view consent_due as
select g.id as grant_id, c.licence_sha256, c.form_sha256, greatest(c.grace_until, g.granted_at + (c.grace_until - c.announced_at)) as due_at
from access_grant g
join licence_change c on c.model_id = g.model_id
where not exists (
        select from licence_change later
        where later.model_id = c.model_id and (later.form_sha256 is null) = (c.form_sha256 is null) and later.seq > c.seq)
  and not exists (
        select from consent a
        where a.grant_id = g.id and (a.licence_sha256 = c.licence_sha256 or a.form_sha256 = c.form_sha256))
  and case when g.application_id is null then g.granted_at < c.announced_at
      else not exists (
        select from application p
        where p.id = g.application_id
          and (p.licence_sha256 = c.licence_sha256 or p.form_sha256 = c.form_sha256 or p.submitted_at >= c.announced_at))
      end;
