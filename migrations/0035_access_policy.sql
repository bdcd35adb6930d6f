-- What the owner of a gated model asks of access to it: a row where somebody has set it, the defaults where nobody has.
-- Room: access.

create table access_policy (
    model_id uuid constraint access_policy_pk primary key constraint access_policy_model_fk references model,
    revoke_needs_two boolean not null,
    trial_tokens integer not null,
    answer_days integer not null,
    reapply_days integer not null,
    changed_at timestamptz not null,
    constraint access_policy_trial_tokens_ck check (trial_tokens between 0 and 1000000),
    constraint access_policy_answer_days_ck check (answer_days between 1 and 90),
    constraint access_policy_reapply_days_ck check (reapply_days between 0 and 365)
);
