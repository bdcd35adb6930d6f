-- A grant goes on beyond its end when its holder says what it was used for and a reviewer agrees. Near the end its holder is told, once
-- for each of a few days before it: which of them was last stands with the grant, and is forgotten when the end moves.
-- Room: access.

alter table access_grant
    add column renewed_at timestamptz,
    add column noticed_days smallint;

create table renewal (
    id uuid constraint renewal_pk primary key,
    grant_id uuid not null constraint renewal_grant_fk references access_grant,
    state text not null,
    summary text not null,
    publications text not null,
    months smallint not null,
    asked_at timestamptz not null,
    closed_at timestamptz,
    decided_by uuid constraint renewal_decided_by_fk references account,
    decision_text text,
    constraint renewal_state_ck check (state in ('open', 'approved', 'declined', 'withdrawn', 'lapsed')),
    constraint renewal_months_ck check (months between 1 and 12),
    constraint renewal_closed_ck check ((state = 'open') = (closed_at is null)),
    constraint renewal_decided_ck check ((state in ('approved', 'declined')) = (decided_by is not null))
);
-- Invariant: at most one open request a grant.
create unique index renewal_one_open_uq on renewal (grant_id) where state = 'open';
create index renewal_queue_ix on renewal (asked_at, id) where state = 'open';
create index renewal_grant_ix on renewal (grant_id, asked_at desc);

-- What somebody has had of a model, as the ledgers of downloads and playground say: for the page of their grant, and for whoever decides
-- about it. A view: the one place where they meet, because they are read together.
create view model_use as
select account_id, model_id, last_at as at, 'download' as kind, sent_bytes, 0::bigint as tokens, false as is_running, '' as via
from download
where account_id is not null
union all
select account_id, model_id, started_at, 'generation', 0, prompt_tokens::bigint + completion_tokens, finished_at is null, via
from generation;
