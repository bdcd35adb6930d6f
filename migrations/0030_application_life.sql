-- The application's life: claimed, sent back with a request for changes, appealed, lapsed; its sendings, its thread.
-- Room: access.

alter table application add column version bigint not null default 1;
-- By when an answer is promised. What was sent before is promised a week.
alter table application add column due_at timestamptz;
update application set due_at = submitted_at + interval '7 days' where submitted_at is not null;
alter table application add column claimed_by uuid constraint application_claimed_by_fk references account;
alter table application add column claimed_at timestamptz;
-- What a reviewer asks to be changed, while that is asked.
alter table application add column changes_by uuid constraint application_changes_by_fk references account;
alter table application add column changes_at timestamptz;
alter table application add column changes_text text;
alter table application add column changes_fields text[];
alter table application add column appealed_at timestamptz;
alter table application add column appeal_text text;
alter table application add column appeal_against uuid constraint application_appeal_against_fk references account;
-- When the applicant was told that it is about to lapse.
alter table application add column lapse_told_at timestamptz;
-- Which points of the checklist a reviewer has ticked.
alter table application add column checked text[] not null default '{}';

alter table application drop constraint application_state_ck;
alter table application add constraint application_state_ck
    check (state in ('draft', 'submitted', 'changes_requested', 'approved', 'declined', 'withdrawn', 'lapsed'));
alter table application drop constraint application_submitted_ck;
alter table application add constraint application_submitted_ck
    check ((state = 'draft') = (submitted_at is null) or state in ('withdrawn', 'lapsed'));
alter table application drop constraint application_closed_ck;
alter table application add constraint application_closed_ck
    check ((state in ('approved', 'declined', 'withdrawn', 'lapsed')) = (closed_at is not null));
alter table application add constraint application_due_ck check ((submitted_at is null) = (due_at is null));
alter table application add constraint application_claimed_ck check ((claimed_by is null) = (claimed_at is null));
alter table application add constraint application_claim_not_self_ck check (claimed_by is null or claimed_by <> account_id);
alter table application add constraint application_changes_ck
    check ((state = 'changes_requested') = (changes_at is not null) and (changes_at is null) = (changes_by is null)
        and (changes_at is null) = (changes_text is null) and (changes_at is null) = (changes_fields is null));
alter table application add constraint application_appeal_ck
    check ((appealed_at is null) = (appeal_text is null) and (appealed_at is null) = (appeal_against is null));
alter table application add constraint application_appeal_by_another_ck
    check (appeal_against is null or (decided_by is distinct from appeal_against and claimed_by is distinct from appeal_against));

drop index application_one_open_uq;
-- Invariant: at most one open application per account and model.
create unique index application_one_open_uq on application (account_id, model_id)
    where state in ('draft', 'submitted', 'changes_requested');
-- The desk's views, each read in its order.
create index application_claimed_ix on application (claimed_by, submitted_at, id) where state = 'submitted';
create index application_overdue_ix on application (due_at, id) where state = 'submitted';
create index application_sent_back_ix on application (submitted_at, id) where state = 'changes_requested';
-- What the worker looks for.
create index application_lapse_ix on application (updated_at) where state in ('draft', 'changes_requested');

-- What was sent, each time: what a reviewer reads, and what differs from the time before. Never changed.
create table application_sending (
    application_id uuid not null constraint application_sending_application_fk references application,
    number integer not null constraint application_sending_number_ck check (number >= 1),
    answers jsonb not null,
    sent_at timestamptz not null,
    constraint application_sending_pk primary key (application_id, number)
);
insert into application_sending (application_id, number, answers, sent_at)
    select id, 1, answers, submitted_at from application where submitted_at is not null;

-- What the two sides write to each other about it, and reviewers among themselves.
create table application_comment (
    id uuid constraint application_comment_pk primary key,
    application_id uuid not null constraint application_comment_application_fk references application,
    author_id uuid not null constraint application_comment_author_fk references account,
    lane text not null constraint application_comment_lane_ck check (lane in ('shared', 'internal')),
    -- What it is besides a comment: a request for changes, or an appeal.
    kind text not null constraint application_comment_kind_ck check (kind in ('comment', 'changes', 'appeal')),
    fields text[] not null default '{}',
    body text not null,
    written_at timestamptz not null
);
create index application_comment_application_ix on application_comment (application_id, id);

-- What a reviewer may find an application by: its title and organisation, who sent it. Written when it is sent.
alter table application add column found_by tsvector;
update application a
    set found_by = to_tsvector('simple', regexp_replace(
        concat_ws(' ', a.answers->>'title', a.answers->>'organisation', p.name, p.email), '[^[:alnum:]]+', ' ', 'g'))
    from account p where p.id = a.account_id and a.submitted_at is not null;
create index application_found_by_ix on application using gin (found_by);
