-- Owners of access tokens are told some days before one ends: which notice was last stands with the token. Room: accounts.

alter table token add column noticed_days smallint;
create index token_ending_ix on token (expires_at) where revoked_at is null;
