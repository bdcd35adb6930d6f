-- Of a trial while an application waits, the tokens that a generation may make are set aside when it begins: two of the same moment
-- cannot both begin on the same rest. They count while it runs; when it has ended, what was made counts.
-- Room: playground.

alter table generation
    add column reserved_tokens integer not null default 0 constraint generation_reserved_ck check (reserved_tokens >= 0);
-- What runs now: what is set aside is counted there.
create index generation_running_ix on generation (account_id, model_id) where finished_at is null;
