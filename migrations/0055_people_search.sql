-- The search among accounts read every one of them. The words of name and address stand in an index, written by the database itself,
-- so that they go when the two are erased.
-- Room: accounts.

alter table account add column found_by tsvector not null
    generated always as (to_tsvector('simple', regexp_replace(name || ' ' || email, '[^[:alnum:]]+', ' ', 'g'))) stored;
create index account_found_by_ix on account using gin (found_by);
