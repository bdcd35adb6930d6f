-- Whoever is blocked, was declined or lost access a short time ago, and erases the account, would be let in again under the same address as if
-- nothing had been. So of what keeps them out this is left until it ends: from what, why in one word, and a keyed hash of the address, whose key
-- is not in the database. No account, no name, no words. When an account proves that address, it becomes a block of that account, which
-- nobody has set.
-- Room: access.

create table kept_bar (
    id bigint generated always as identity constraint kept_bar_pk primary key,
    address_hash bytea not null,
    -- None: every model.
    model_id uuid constraint kept_bar_model_fk references model,
    why text not null,
    expires_at timestamptz not null,
    constraint kept_bar_hash_ck check (octet_length(address_hash) = 32),
    constraint kept_bar_why_ck check (why in ('blocked', 'declined', 'stopped'))
);
create index kept_bar_address_ix on kept_bar (address_hash);
create index kept_bar_expiry_ix on kept_bar (expires_at);

alter table block alter column set_by drop not null;
