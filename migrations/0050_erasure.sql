-- Somebody may ask to be forgotten. Their account stays as a pseudonym, so that decisions and grants still say that somebody was behind them.
-- Room: accounts.

alter table account add column erased_at timestamptz;
-- Erased means closed, without a way in, and under an address that nobody can have (RFC 2606).
alter table account add constraint account_erased_ck check (
    (erased_at is null) = (email not like '%@erased.invalid')
    and (erased_at is null or (disabled_at is not null and password_hash is null))
);
create index account_erased_ix on account (erased_at) where erased_at is not null;
