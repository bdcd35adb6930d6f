-- What was generated for whom: counts only, never the text.
-- Room: playground.

create table generation (
    id uuid constraint generation_pk primary key,
    account_id uuid not null constraint generation_account_fk references account,
    model_id uuid not null constraint generation_model_fk references model,
    release_id uuid not null constraint generation_release_fk references release,
    via text not null,
    prompt_tokens integer not null,
    completion_tokens integer not null default 0,
    started_at timestamptz not null,
    finished_at timestamptz,
    finish_reason text,
    constraint generation_via_ck check (via in ('page', 'api')),
    constraint generation_reason_ck check (finish_reason in ('stop', 'length', 'cancelled', 'failed', 'interrupted'))
);
create index generation_account_ix on generation (account_id, started_at desc);
